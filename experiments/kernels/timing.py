"""Timing peers side by side: every round times each of them once, so that a busy moment hits all."""

import time
from collections.abc import Callable, Mapping

import torch


def side_by_side(
    runs: Mapping[str, Callable[[], object]], *, seconds: float = 1.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:  # fmt: skip
    """The least seconds that each of several computations took, over interleaved rounds.

    Args:
        runs: what to time, by name; each is run before, unmeasured, 150 times or for three seconds, as in
            the first epochs of a run: ours tries several ways then, and later keeps to the fastest.
        seconds: to spend; at least 5 rounds and at most 200 are run.
        clock: what a computation is timed with; on a busy machine ``time.thread_time`` is steadier.
    """
    for run in runs.values():
        began = time.perf_counter()
        for _ in range(150):
            run()
            if time.perf_counter() - began > 3:
                break
    best = dict.fromkeys(runs, float("inf"))
    began, rounds = time.perf_counter(), 0
    while rounds < 5 or (rounds < 200 and time.perf_counter() - began < seconds):
        order = list(runs.items())
        for name, run in order[rounds % len(order) :] + order[: rounds % len(order)]:
            if best[name] < 0.05:
                run()  # else one would start from the caches as another left them
            start = clock()
            run()
            best[name] = min(best[name], clock() - start)
        rounds += 1
    return best


def copy_bandwidth(*, mebibytes: int = 512) -> float:
    """Bytes a second that a copy reads and writes, with the threads torch uses now."""
    source = torch.ones(mebibytes * 2**18)
    target = torch.empty_like(source)
    best = side_by_side({"copy": lambda: target.copy_(source)})["copy"]
    return 2 * source.nbytes / best
