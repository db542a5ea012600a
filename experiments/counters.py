"""What the processor itself counts of this thread: misses of the last cache, where the machine shows them.

Virtual machines mostly do not, and the system may not let a user ask (``kernel.perf_event_paranoid``).
"""

import ctypes
import os
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_CALL = {"x86_64": 298, "aarch64": 241}  # of perf_event_open
_SIZE = 128  # of the attributes, of which kernels read as much as they know
_EXCLUDE_KERNEL_AND_HYPERVISOR = 1 << 5 | 1 << 6

LAST_LEVEL_MISSES = 0, 3
"""``PERF_TYPE_HARDWARE``, ``PERF_COUNT_HW_CACHE_MISSES``."""

PAGE_FAULTS = 1, 2
"""``PERF_TYPE_SOFTWARE``, ``PERF_COUNT_SW_PAGE_FAULTS``, which any Linux counts."""


@dataclass
class Count:
    """How often an event came; None where nobody counts it."""

    number: int | None = None


@contextmanager
def counted(event: tuple[int, int] = LAST_LEVEL_MISSES) -> Iterator[Count]:
    """Count an event of this thread within the block."""
    count, descriptor = Count(), _opened(event)
    try:
        yield count
        if descriptor is not None:
            count.number = struct.unpack("Q", os.read(descriptor, 8))[0]
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _opened(event: tuple[int, int]) -> int | None:
    call = _CALL.get(platform.machine())
    if platform.system() != "Linux" or call is None:
        return None
    kind, config = event
    attributes = bytearray(_SIZE)
    struct.pack_into("IIQ", attributes, 0, kind, _SIZE, config)
    struct.pack_into("Q", attributes, 40, _EXCLUDE_KERNEL_AND_HYPERVISOR)
    asked = (ctypes.c_char * _SIZE).from_buffer(attributes)
    here, any_cpu, no_group, no_flags = 0, -1, -1, 0
    descriptor = ctypes.CDLL(None).syscall(call, asked, here, any_cpu, no_group, no_flags)
    return descriptor if descriptor >= 0 else None
