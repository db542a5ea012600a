"""The machine at hand as an accelerator, its rates measured in about a second."""

import time
from collections.abc import Callable

import torch

from gcnsys.accel.accelerator import Accelerator

NAME = "here"

_SIDE = 1024
_BYTES = 1 << 28
_REPEATS = 3


def measured() -> Accelerator:
    """A roofline of this process's threads: a product of matrices, and a copy, each the best of three.

    What products of sparse matrices reach of that is not measured: estimates are a bound from below.
    """
    a, b = torch.rand(_SIDE, _SIDE), torch.rand(_SIDE, _SIDE)
    product = torch.empty(_SIDE, _SIDE)
    seconds = _fastest(lambda: torch.matmul(a, b, out=product))
    rate = _SIDE**3 / seconds
    source, target = torch.zeros(_BYTES // 4), torch.zeros(_BYTES // 4)
    moved = 2 * _BYTES / _fastest(lambda: target.copy_(source))
    how = f"measured here, {torch.get_num_threads()} threads, the best of {_REPEATS}"
    return Accelerator.checked({
        "name": NAME, "summary": f"this machine, {torch.get_num_threads()} threads",
        "chip": {
            "macs": rate / 1e9, "clock_mhz": 1000.0, "on_chip_bytes": float(1 << 25),
            "bandwidth_gb_per_s": moved / 1e9, "value_bits": 32, "index_bits": 32,
        },
        "mechanism": {"kind": "roofline", "dense_features": False},
        "sources": {
            "chip.macs": f"{how}: a product of {_SIDE} x {_SIDE} matrices",
            "chip.clock_mhz": "a unit: macs are billions a second",
            "chip.on_chip_bytes": "presumed: 32 MiB of cache",
            "chip.bandwidth_gb_per_s": f"{how}: a copy of {_BYTES >> 20} MiB",
            "chip.value_bits": "float32", "chip.index_bits": "int32",
            "mechanism.dense_features": "sparse features stay sparse in gcnsys",
        },
    }, NAME)  # fmt: skip


def _fastest(run: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(_REPEATS + 1):
        began = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - began)
    return best
