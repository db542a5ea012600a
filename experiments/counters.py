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
_ENABLED_AND_RUNNING = 1 << 0 | 1 << 1  # how long a counter was wanted, and counted
_EXCLUDE_KERNEL_AND_HYPERVISOR = 1 << 5 | 1 << 6

LAST_LEVEL_MISSES = 3, 2 | 0 << 8 | 1 << 16
"""``PERF_TYPE_HW_CACHE``: of the last level, reads, misses. Other names mean other caches by processor."""

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
            number, enabled, running = struct.unpack("QQQ", os.read(descriptor, 24))
            # A counter that others share has counted for a part of the time, or never.
            count.number = round(number * enabled / running) if running else None
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
    struct.pack_into("QQ", attributes, 32, _ENABLED_AND_RUNNING, _EXCLUDE_KERNEL_AND_HYPERVISOR)
    asked = (ctypes.c_char * _SIZE).from_buffer(attributes)
    here, any_cpu, no_group, no_flags = 0, -1, -1, 0
    descriptor = ctypes.CDLL(None).syscall(call, asked, here, any_cpu, no_group, no_flags)
    return descriptor if descriptor >= 0 else None
