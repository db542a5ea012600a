"""What a result was measured on: the machine and the versions, nothing that names the host."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch


def machine() -> dict[str, object]:
    """Processor model, cores this process may use, threads it computes with, memory."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "memory_gib": round(memory / 2**30, 1),
    }


def packages(*others: str) -> dict[str, str]:
    """Versions of Python, of what gcnsys computes with, and of the named packages."""
    names = ("gcnsys", "torch", "numpy", "scipy", "pymetis", *others)
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
