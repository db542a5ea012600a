"""What the C library does with memory that is freed."""

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

from gcnsys.kernels.backend import core

_STATUS = Path("/proc/self/statm")
_PAGE = os.sysconf("SC_PAGE_SIZE")

_resident: int | None = None


def keep_freed_memory() -> None:
    """Let this process keep the memory it frees, for as long as it lives.

    Every epoch asks for the same large tensors. A C library that gives their pages back gets them
    anew each time, cleared by the kernel: as slow as a sparse product. A training run is a process
    that wants this; a library that is imported into one does not decide it.
    """
    module = core()
    if module is not None:
        module.keep_freed_memory()


def return_freed_memory(spare: int) -> None:
    """Give pages that are free back to the system, once this process holds ``spare`` bytes more than it did.

    Between small things that stay, glibc leaves gaps that the next matrix of the same size does not fit into,
    a few more in every layer. Their pages are of no use.
    """
    global _resident
    trim = _trim()
    if trim is None:
        return
    now = _resident_bytes()
    if _resident is None or now < _resident:
        _resident = now
    elif now > _resident + spare:
        trim(0)
        _resident = _resident_bytes()


def _resident_bytes() -> int:
    return int(_STATUS.read_text().split()[1]) * _PAGE


@cache
def _trim() -> Any:
    """Glibc's ``malloc_trim``; None where there is none."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if _STATUS.exists() else None
