"""What the processor counts, where it can be asked."""

import mmap
import sys

import pytest

from experiments.counters import LAST_LEVEL_MISSES, PAGE_FAULTS, counted


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux is asked")
def test_pages_that_are_touched_are_counted():
    pages = 200
    with mmap.mmap(-1, pages * mmap.PAGESIZE) as memory, counted(PAGE_FAULTS) as count:
        for page in range(pages):
            memory[page * mmap.PAGESIZE] = 1
    if count.number is None:
        pytest.skip("this system lets nobody count")
    assert 1 <= count.number < 20 * pages  # a fault may map many pages


def test_an_event_that_nobody_counts_is_none_and_harms_nothing():
    with counted((99, 99)) as count:
        pass
    assert count.number is None


def test_misses_are_counted_or_said_to_be_unknown():
    with counted(LAST_LEVEL_MISSES) as count:
        sum(range(1000))
    assert count.number is None or count.number >= 0
