"""How fast rows cross between two ranks, and how fast a small message does; under torchrun, two processes."""

import json
import statistics
import time

import torch

import gcnsys
from gcnsys.runtime.comm import Comm

SIZES = (1, 1 << 16, 1 << 21)
"""Numbers that go each way."""

REPEATS = 15


def seconds(comm: Comm, size: int) -> float:
    """Of an exchange, the slower rank's median."""
    rows, counts = torch.zeros(size, 1), [0, 0]
    counts[1 - comm.rank] = size
    found = []
    for _ in range(REPEATS):
        comm.add(torch.zeros(1))
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
