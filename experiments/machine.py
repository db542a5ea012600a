"""Results and what they were measured on: the machine and the versions, nothing that names the host."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from gcnsys.files import write_json


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


def report(result: dict[str, Any], out: Path | None, *others: str, show: bool = True) -> None:
    """Print a result with what it was measured on, and write it to ``out``.

    Args:
        result: what was measured.
        out: a file to write, or None.
        others: packages it was measured with, besides those of gcnsys.
        show: print it.
    """
    result = result | {"machine": machine(), "versions": packages(*others)}
    if show:
        print(json.dumps(result, indent=1))
    if out:
        write_json(out, result)
