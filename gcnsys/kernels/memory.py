"""Where a training process has its large tensors, and what becomes of memory that is freed.

Every epoch asks for the same large tensors. A C library that gives their pages back gets them anew each
time, cleared by the kernel: as slow as a sparse product. One that keeps them has gaps: glibc 2.36 asks for
more than it needs where memory is to be aligned, so that a matrix does not fit where one of its size lay, and
small things settle in between. Three layers of 128 features held 3.4 times what they needed. So the native
core gives torch an arena of large blocks alone, in which each fits where one of its size lay.
"""

import ctypes
import sys

from gcnsys.kernels.backend import core

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
"""Of glibc's ``mallopt``."""

LARGE = 128 << 10
"""Bytes of a tensor that lies in the arena: from where glibc, too, takes memory to be large."""

_GIVEN_BACK = 8 << 20
"""Bytes from which other memory is given back. Below, clearing fresh pages costs more time than gaps cost
memory: without an arena, 28 layers on 18,000 nodes of 64 features took 3.4 times as long."""

_TORCH = "libc10.so"
"""Where torch asks for memory."""


def keep_large_tensors() -> bool:
    """Let torch have its large CPU tensors in the arena, for as long as this process lives.

    A training run is a process that wants this; a library that is imported into one does not decide it.

    Returns:
        whether it can: the native core was built, and this is Linux on a processor that it knows.
    """
    module = core()
    return module is not None and bool(module.arena_under(_TORCH, LARGE))


def arena_bytes() -> tuple[int, int]:
    """What of the arena is in use, and what it has taken from the system."""
    module = core()
    if module is None:
        return 0, 0
    used, taken = module.arena_bytes()
    return used, taken


def as_training_has_it(*, recompute: bool = False) -> None:
    """Arrange memory as a training run does, for as long as this process lives.

    Args:
        recompute: layers are computed again, so that gaps would add up where there is no arena.
    """
    if keep_large_tensors() or recompute:
        give_back_large_memory()
    else:
        keep_freed_memory()


def keep_freed_memory() -> None:
    """Let this process keep the memory it frees, for as long as it lives."""
    _set({_MMAP_MAX: 0, _TRIM_THRESHOLD: -1})


def give_back_large_memory() -> None:
    """Let this process give large memory back as soon as it is free, for as long as it lives.

    Where tensors lie in the arena, that is what data are sorted in when they are read. Where there is none,
    deep models that compute their layers again want it: they would have more gaps in every layer.
    """
    _set({_MMAP_THRESHOLD: _GIVEN_BACK, _TRIM_THRESHOLD: -1})


def _set(options: dict[int, int]) -> None:
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not every C library has it
    for option, value in options.items():
        if mallopt is not None:
            mallopt(option, value)
