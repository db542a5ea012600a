"""Dense diagonal blocks of a matrix in the order of a layout, and their products.

Either block by block, on slices of the rows, of which nothing is gathered: for a CPU; or many blocks of about
one size at once, padded, by batched products, whose rows are gathered and added back: for a GPU, where a
product of each block would be as many launches.

Letters: N rows, B blocks of a batch, m rows of the largest of them, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from gcnsys.graph import CSR, Layout
from gcnsys.polarize.figures import diagonal_counts

_PADDING = 0.75
"""The smallest block of a batch over the largest, at least."""


@dataclass(frozen=True, slots=True)
class DenseBlock:
    """A diagonal block that is stored whole.

    Attributes:
        start, stop: its rows and columns.
        edges: how many of its entries are not 0.
    """

    start: int
    stop: int
    edges: int

    @property
    def size(self) -> int:
        """Its rows, and its columns."""
        return self.stop - self.start

    @property
    def density(self) -> float:
        """The share of its entries that are not zero."""
        return self.edges / max(1, self.size**2)


def dense_blocks(csr: CSR, layout: Layout) -> list[DenseBlock]:
    """All diagonal blocks of a matrix in the order of a layout."""
    ends, counts = layout.group_ptr.tolist(), diagonal_counts(csr, layout).tolist()
    return [DenseBlock(a, b, count) for (a, b), count in zip(pairwise(ends), counts, strict=True)]


class DenseProducts(Protocol):
    """Products of dense blocks."""

    def add_to(self, out: Tensor, x: Tensor, row_scale: Tensor | None, column_scale: Tensor | None) -> None:
        """Add ``D B C x`` of the blocks to ``[N, F]``; D and C diagonals ``[N]``, None: of ones."""

    @property
    def nbytes(self) -> int:
        """Memory of the entries."""


class Slices:
    """Block by block.

    Args:
        blocks: none over another.
        values: their entries, ``[size, size]`` each.
    """

    def __init__(self, blocks: Sequence[DenseBlock], values: Sequence[Tensor]) -> None:
        self.blocks, self.values = tuple(blocks), tuple(values)

    def add_to(self, out: Tensor, x: Tensor, row_scale: Tensor | None, column_scale: Tensor | None) -> None:
        for block, values in zip(self.blocks, self.values, strict=True):
            own = slice(block.start, block.stop)
            rows = x[own] if column_scale is None else x[own] * column_scale[own, None].to(x.dtype)
            if row_scale is None:
                out[own].addmm_(values, rows)
            else:
                out[own].addcmul_(values @ rows, row_scale[own, None].to(x.dtype))

    @property
    def nbytes(self) -> int:
        return sum(values.nbytes for values in self.values)


class Batches:
    """Blocks of about one size at once. Arguments as those of :class:`Slices`."""

    def __init__(self, blocks: Sequence[DenseBlock], values: Sequence[Tensor]) -> None:
        together: list[list[int]] = []
        for place in sorted(range(len(blocks)), key=lambda place: -blocks[place].size):
            if not together or blocks[place].size < _PADDING * blocks[together[-1][0]].size:
                together.append([])
            together[-1].append(place)
        self.batches = [
            _Batch.of([blocks[place] for place in places], [values[place] for place in places])
            for places in together
            if blocks[places[0]].size
        ]

    def add_to(self, out: Tensor, x: Tensor, row_scale: Tensor | None, column_scale: Tensor | None) -> None:
        for batch in self.batches:
            batch.add_to(out, x, row_scale, column_scale)

    @property
    def nbytes(self) -> int:
        return sum(batch.values.nbytes for batch in self.batches)


@dataclass(frozen=True, eq=False, slots=True)
class _Batch:
    """Padded blocks.

    Attributes:
        values: ``[B, m, m]``, 0 where a block is smaller.
        rows: ``[B m]`` int64 rows of the matrix; where a block is smaller, its last one again.
        own: ``[k]`` int64 which of those are no padding.
    """

    values: Tensor
    rows: Tensor
    own: Tensor

    @classmethod
    def of(cls, blocks: Sequence[DenseBlock], values: Sequence[Tensor]) -> "_Batch":
        most, device = blocks[0].size, values[0].device
        padded = values[0].new_zeros(len(blocks), most, most)
        for place, each in enumerate(values):
            padded[place, : each.shape[0], : each.shape[1]] = each
        start = torch.tensor([block.start for block in blocks], device=device)[:, None]
        size = torch.tensor([block.size for block in blocks], device=device)[:, None]
        inside = torch.arange(most, device=device)
        rows = (start + torch.minimum(inside, size - 1)).flatten()
        return cls(padded, rows, torch.nonzero((inside < size).flatten()).flatten())

    def add_to(self, out: Tensor, x: Tensor, row_scale: Tensor | None, column_scale: Tensor | None) -> None:
        taken = x.index_select(0, self.rows)
        if column_scale is not None:
            taken *= column_scale[self.rows, None].to(x.dtype)
        product = torch.bmm(self.values, taken.view(*self.values.shape[:2], -1)).flatten(0, 1)[self.own]
        rows = self.rows[self.own]
        if row_scale is not None:
            product *= row_scale[rows, None].to(x.dtype)
        out.index_add_(0, rows, product)
