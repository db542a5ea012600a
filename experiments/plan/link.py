"""How fast rows cross between two ranks, and how fast a small message does; under torchrun, two processes.

Ranks compute before each exchange, as they do in an epoch: threads that have slept meanwhile, and code that
other work has pushed out of the caches, answer later than in a loop of nothing but messages.
"""

import json
import statistics
import time

import torch

import gcnsys
from gcnsys.runtime.comm import Comm

SIZES = (1, 1 << 16, 1 << 21)
"""Numbers that go each way."""

REPEATS = 31

WORK = 512
"""Rows and columns of the matrices that are multiplied before an exchange."""


def seconds(comm: Comm, size: int) -> float:
    """Of an exchange, the slower rank's median."""
    rows, counts, work = torch.zeros(size, 1), [0, 0], torch.ones(WORK, WORK)
    counts[1 - comm.rank] = size
    found = []
    for _ in range(REPEATS):
        work @ work
        comm.add(torch.zeros(1))  # so that neither waits for the other's product
        work[:64] @ work
        began = time.perf_counter()
        comm.swap(rows, counts, counts).land()
        found.append(time.perf_counter() - began)
    return float(comm.greatest(torch.tensor([statistics.median(found)], dtype=torch.float64)))


def main() -> None:
    with gcnsys.joined() as (comm, _):
        least, _, most = (seconds(comm, size) for size in SIZES)
        if comm.rank == 0:
            print(json.dumps({"bandwidth": 4 * SIZES[-1] / (most - least), "latency": least}))


if __name__ == "__main__":
    main()
