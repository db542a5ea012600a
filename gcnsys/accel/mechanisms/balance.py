"""How AWB-GCN (Geng et al., MICRO 2020) spreads rows over its processing elements, column after column.

Rows are dealt out in consecutive runs of equal length. Then three things even the load out:

- distribution smoothing: a task may be done by any element within a few hops, so that a window of elements
  works off what its rows hold together;
- row remapping: a row that holds several times an element's average is split, the surplus spread over all
  elements;
- remote switching: after each column the busiest and the idlest windows exchange rows, which halves what is
  left of the imbalance; columns are many and the matrix stays the same.

The window that decides is the fullest of all, wherever it starts; so more elements are never slower, nor are
fewer entries. Letters: R rows, P elements.
"""

import math

import numpy as np
import numpy.typing as npt

from gcnsys.accel.settings import Settings

Counts = npt.NDArray[np.int64]


class Balancing(Settings):
    """Which of the three are on.

    Attributes:
        hops: how far a task may move; 0: nowhere.
        switching: halve the imbalance after each column.
        remapping: split rows of more than so many times an element's average; 0: none.
    """

    hops: int
    switching: bool
    remapping: float


def column_cycles(rows: Counts, elements: float, columns: float, balancing: Balancing) -> float:
    """Cycles of a sparse matrix times a dense one, column after column.

    Args:
        rows: ``[R]`` entries of each row.
        elements: P.
        columns: of the dense matrix.
        balancing: what is on.
    """
    total = float(rows.sum())
    if not total or not columns:
        return 0.0
    mean, window = total / elements, 2 * balancing.hops + 1
    most = balancing.remapping * mean or math.inf
    fullest = fullest_window(rows, elements, window, most)
    if not balancing.switching:
        return columns * math.ceil(fullest)
    number = np.arange(min(columns, 64.0))
    busiest = np.ceil(mean + (fullest - mean) * 0.5**number)
    return float(busiest.sum()) + max(0.0, columns - number.size) * math.ceil(mean)


def fullest_window(rows: Counts, elements: float, window: int, most: float) -> float:
    """What each element of the fullest window gets; what rows hold above ``most`` is split over all."""
    held = np.minimum(rows.astype(float), most)
    spread = (float(rows.sum()) - float(held.sum())) / elements
    width = min(rows.size, max(1, math.ceil(window * rows.size / elements)))
    ends = np.concatenate([[0.0], np.cumsum(held)])
    fullest = float((ends[width:] - ends[:-width]).max()) / window
    return max(fullest + spread, float(rows.sum()) / elements)
