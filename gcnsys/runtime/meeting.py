"""Ranks that were started together find out that they were.

A launcher keeps one store for all its attempts, and nothing tells one attempt from another on every
machine: restarts are counted by each launcher for itself. So the ranks greet each other. Each has a word of
its own; rank 0 answers every word with the token of this attempt, and when all have heard it, it is theirs.
A rank of an earlier attempt cannot have heard it.
"""

import time
import uuid

from torch._C._distributed_c10d import Store

from gcnsys.errors import PeerError

_PAUSE = 0.05
"""Seconds between looks at the store."""


def meet(store: Store, rank: int, size: int, patience: float) -> str:
    """The token of this attempt, the same on all its ranks and on no others.

    Args:
        store: the launcher's.
        rank: of this process.
        size: how many ranks there are.
        patience: seconds to wait for the others.

    Raises:
        PeerError: they did not come.
    """
    until = time.monotonic() + patience
    return _host(store, size, until) if rank == 0 else _guest(store, rank, until)


def _host(store: Store, size: int, until: float) -> str:
    token, words = uuid.uuid4().hex, dict[int, str]()
    while missing := [rank for rank in range(1, size) if not store.check([f"ready/{token}/{rank}"])]:
        for rank in missing:
            word = _read(store, f"hello/{rank}")
            if word is not None and words.get(rank) != word:
                words[rank] = word
                store.set(f"welcome/{word}", token)
        _wait(until, f"rank {missing[0]}")
    store.set(f"go/{token}", "1")
    return token


def _guest(store: Store, rank: int, until: float) -> str:
    word, token = uuid.uuid4().hex, None
    store.set(f"hello/{rank}", word)
    while token is None or not store.check([f"go/{token}"]):
        heard = _read(store, f"welcome/{word}")
        if heard is not None and heard != token:  # by another rank 0, perhaps, if the first one is gone
            token = heard
            store.set(f"ready/{token}/{rank}", "1")
        _wait(until, "rank 0, or one that it waits for,")
    return token


def _read(store: Store, key: str) -> str | None:
    return str(store.get(key), "utf-8") if store.check([key]) else None


def _wait(until: float, whom: str) -> None:
    if time.monotonic() > until:
        raise PeerError(f"{whom} did not come to start; see what it said, or give a longer --startup-timeout")
    time.sleep(_PAUSE)
