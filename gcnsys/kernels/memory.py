"""What the C library does with memory that is freed."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
"""Of glibc's ``mallopt``."""

_LARGE = 8 << 20
"""Bytes. Below, clearing fresh pages costs more time than gaps cost memory: 28 layers on 18,000 nodes of 64
features took 3.4 times as long."""


def keep_freed_memory() -> None:
    """Let this process keep the memory it frees, for as long as it lives.

    Every epoch asks for the same large tensors. A C library that gives their pages back gets them
    anew each time, cleared by the kernel: as slow as a sparse product. A training run is a process
    that wants this; a library that is imported into one does not decide it.
    """
    _set({_MMAP_MAX: 0, _TRIM_THRESHOLD: -1})


def give_back_large_memory() -> None:
    """Let this process give memory of large tensors back as soon as it is free, for as long as it lives.

    What :func:`keep_freed_memory` keeps has gaps: a matrix does not fit where one of its size lay, as glibc
    2.36 asks for more than it needs where memory is to be aligned, and small things settle in between. A deep
    model that computes its layers again would have more of them in every layer.
    """
    _set({_MMAP_THRESHOLD: _LARGE, _TRIM_THRESHOLD: -1})


def _set(options: dict[int, int]) -> None:
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not every C library has it
    for option, value in options.items():
        if mallopt is not None:
            mallopt(option, value)
