"""Rows drawn by lot from groups of them. Lots follow from keys: whoever knows a key draws the same rows.

Letters: G groups, k rows drawn of all of them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gcnsys.graph import offsets
from gcnsys.kernels.backend import core
from gcnsys.kernels.dropout import DropoutKey, row_words, signed_steps


def drawn(keys: Sequence[DropoutKey], counts: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """Of each group so many rows, each set of them as likely as any other.

    A row's lot is its words (:func:`gcnsys.kernels.dropout.row_words` of its number in the group), the second
    one above the first; the smallest lots are drawn. No two of a group are equal.

    Args:
        keys: one a group.
        counts: ``[G]`` rows of each.
        sizes: ``[G]`` how many to draw.

    Returns:
        ``[k]`` int64 places among the rows of all groups, ascending.
    """
    module, starts = core(), offsets(torch.tensor(counts, dtype=torch.int64))
    if module is not None:
        places = torch.empty(sum(sizes), dtype=torch.int64)
        numbers = torch.tensor([step for key in keys for step in signed_steps(key)], dtype=torch.int64)
        sizes_of = torch.tensor(sizes, dtype=torch.int64)
        module.draw_lots(numbers, starts, sizes_of, places, torch.get_num_threads())
        return places
    found = [torch.empty(0, dtype=torch.int64)]
    for key, count, size, start in zip(keys, counts, sizes, starts.tolist(), strict=False):
        low, high = row_words(key, torch.arange(count))
        lots = high.long() << 32 | low.long() & (2**32 - 1)
        found.append(start + lots.sort().indices[:size].sort().values)
    return torch.cat(found)
