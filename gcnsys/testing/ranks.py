"""Ranks as threads over a real gloo group, for tests that need several in milliseconds.

They share torch's random generator and current device: a body that draws numbers owns its
generator.
"""

import itertools
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar, cast

from torch._C._distributed_c10d import HashStore, PrefixStore
from torch.distributed import ProcessGroup, ProcessGroupGloo

from gcnsys.runtime.comm import Comm

T = TypeVar("T")


def run_ranks(num_ranks: int, body: Callable[[Comm], T], *, timeout: float = 60.0) -> list[T]:
    """Run ``body`` on every rank of a group; return the results by rank.

    Args:
        num_ranks: how many threads.
        body: called once a rank with its end of the group; all ranks make the same collective calls.
        timeout: seconds after which a rank that still waits counts as stuck.

    Raises:
        RuntimeError: a rank raised; the first one to do so is the cause.
        TimeoutError: a rank is still waiting, usually for a collective that a peer never called.
    """
    store = HashStore()
    results: dict[int, T] = {}
    failures: list[tuple[int, BaseException]] = []

    def run(rank: int) -> None:
        try:
            patience = timedelta(seconds=timeout)

            def group(name: str) -> ProcessGroup:
                gloo = ProcessGroupGloo(PrefixStore(name, store), rank, num_ranks, patience)
                made = cast(ProcessGroup, gloo)
                # A rank with nobody to talk to would be gone before the others have connected to it.
                made.barrier().wait()
                return made

            number = itertools.count()
            comm = Comm(group("ranks"), another=lambda _: group(f"more-{next(number)}"), timeout=timeout)
            results[rank] = body(comm)
        except BaseException as error:
            failures.append((rank, error))

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(num_ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout)
    if failures:
        rank, cause = failures[0]
        raise RuntimeError(f"rank {rank} of {num_ranks} failed: {cause}") from cause
    if len(results) < num_ranks:
        raise TimeoutError(f"only ranks {sorted(results)} of {num_ranks} finished within {timeout} s")
    return [results[rank] for rank in range(num_ranks)]
