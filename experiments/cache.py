"""A cache, simulated: how many lines are missed when rows are read one after another.

Sets of a set-associative cache with the least recently used line replaced do not know of each other. So the
first access of every set is looked at together, then the second of each, and so on: as many steps as the
busiest set has accesses, each over all sets at once.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LINE = 64

Ints = npt.NDArray[np.int64]


@dataclass
class Cache:
    """A set-associative cache.

    Attributes:
        size: bytes.
        ways: lines of a set.
        line: bytes of a line. Rows of 64, 128, 256 ... bytes can be taken for lines: what happens to one of a
            row's lines happens to the others, in sets of their own.
    """

    size: int = 32 << 20
    ways: int = 16
    line: int = LINE

    def __post_init__(self) -> None:
        self.sets = self.size // (self.line * self.ways)
        self.tags = np.full((self.sets, self.ways), -1, dtype=np.int64)
        self.used = np.zeros((self.sets, self.ways), dtype=np.int64)
        self._clock = 0

    def misses(self, lines: Ints) -> int:
        """Access lines in this order; what they leave behind is there for the next call.

        Args:
            lines: addresses divided by the size of a line.
        """
        of_set = lines % self.sets
        order = np.argsort(of_set, kind="stable")
        counts = np.bincount(of_set, minlength=self.sets)
        first = counts.cumsum() - counts
        # Which access of its set each one is.
        turn = np.arange(len(lines)) - np.repeat(first, counts)
        by_turn = np.argsort(turn, kind="stable")
        missed, start = 0, 0
        for size in np.bincount(turn):
            now = order[by_turn[start : start + size]]
            missed += self._step(of_set[now], lines[now])
            start += size
        return missed

    def _step(self, rows: Ints, lines: Ints) -> int:
        self._clock += 1
        hit = self.tags[rows] == lines[:, None]
        there = hit.any(1)
        way = np.where(there, hit.argmax(1), self.used[rows].argmin(1))
        self.tags[rows, way] = lines
        self.used[rows, way] = self._clock
        return int((~there).sum())


def lines_of(rows: Ints, row_bytes: int, base: int = 0) -> Ints:
    """The lines that rows of a matrix lie on, row after row."""
    per_row = -(-row_bytes // LINE)
    found: Ints = (base + rows[:, None] * per_row + np.arange(per_row)).reshape(-1)
    return found
