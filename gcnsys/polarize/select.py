"""The smallest of the values that edges have, over all ranks, with a stable rule for equal ones.

Values, then the hash, then the number of an edge are compared; sixteen bits at a time are counted over ranks,
so that nobody gathers or sorts all edges.
"""

import torch
from torch import Tensor

from gcnsys.polarize.edges import PartEdges

_DIGIT = 16


def smallest(edges: PartEdges, values: Tensor, count: int) -> Tensor:
    """``[E]`` bool: the ``count`` free edges of smallest value; both directions of each; collective.

    Args:
        edges: of this rank.
        values: ``[E]`` at least 0, float32 or float64, the same for both directions of a symmetric edge.
        count: over all ranks, at most ``edges.total``.
    """
    chosen = torch.zeros_like(edges.free)
    if not count:
        return chosen
    words = (ordered(values), *edges.keys)
    tied: Tensor | None = None  # None: all edges
    for word, limit in zip(words, _limits(edges, words, count), strict=True):
        if tied is None:
            torch.logical_and(edges.free, word < limit, out=chosen)
            tied = torch.nonzero(edges.free & (word == limit)).flatten()
        else:
            numbers = word[tied]
            chosen[tied[numbers < limit]] = True
            tied = tied[numbers == limit]
    assert tied is not None
    chosen[tied] = True
    return chosen


def ordered(values: Tensor) -> Tensor:
    """Numbers at least 0 as integers of the same order and size; -0 is 0."""
    return values.abs().view(torch.int64 if values.dtype == torch.float64 else torch.int32)


def _limits(edges: PartEdges, words: tuple[Tensor, ...], count: int) -> list[int]:
    """The words of the last edge that belongs to the smallest ``count``."""
    left, active = count, edges.counted_places
    limits = []
    for word in words:
        limit, numbers = 0, word[active]
        for shift in range(8 * word.element_size() - _DIGIT, -1, -_DIGIT):
            digits = (numbers >> shift) & (2**_DIGIT - 1)
            counts = edges.comm.add(torch.bincount(digits, minlength=2**_DIGIT), "control")
            sums = counts.cumsum(0)
            digit = int(torch.searchsorted(sums, left))
            left -= int(sums[digit] - counts[digit])
            same = digits == digit
            active, numbers = active[same], numbers[same]
            limit = limit << _DIGIT | digit
        limits.append(limit)
    return limits
