"""A picture of an adjacency matrix."""

from typing import Any

import torch
from torch import Tensor

from gcnsys.graph import CSR

CELLS = 360


def spy(axis: Any, csr: CSR, place: Tensor, title: str) -> int:
    """Draw how many edges lie in each cell of a grid, by logarithm; returns the cells of a side.

    Args:
        axis: to draw on.
        csr: ``[N, N]``.
        place: ``[N]`` of every node.
        title: of the picture.
    """
    count = max(1, csr.num_rows)
    cells = min(CELLS, count)
    rows, cols = (place[ids.long()] * cells // count for ids in (csr.rows(), csr.indices))
    grid = torch.bincount(rows * cells + cols, minlength=cells**2).view(cells, cells)
    axis.imshow(torch.log1p(grid.double()).tolist(), cmap="Greys", interpolation="nearest")
    axis.set(title=title, xticks=[], yticks=[], xlabel="senders", ylabel="receivers")
    axis.grid(visible=False)
    return cells
