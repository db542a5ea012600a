"""A polarized matrix as an accelerator with two branches sees it: diagonal blocks, and the rest.

Blocks follow each other in a layout; each is of a class of degrees and of a group (GCoD, You et al.,
HPCA 2022, section IV). Entries inside a block are the denser branch's, all others the sparser one's.

Letters: N nodes, B blocks, K classes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.graph import CSR, Layout

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Blocks:
    """A layout whose groups are blocks, each of a class and of a group.

    Attributes:
        layout: of N nodes in B blocks.
        class_of: ``[B]`` int64 from 0, the class of each block.
        group_of: ``[B]`` int64 from 0, the group of each block.
    """

    layout: Layout
    class_of: Tensor
    group_of: Tensor

    def __post_init__(self) -> None:
        for name in ("class_of", "group_of"):
            values = getattr(self, name)
            if values.shape != (self.layout.num_groups,):
                raise InputError(
                    f"{name} must have one entry for each of {self.layout.num_groups} blocks, "
                    f"got shape {list(values.shape)}"
                )
            if values.numel() and int(values.min()) < 0:
                raise InputError(f"{name} counts from 0, got {int(values.min())}")

    def count(self, matrix: CSR) -> "BlockCounts":
        """Where the entries of a matrix ``[N, N]`` lie.

        Raises:
            InputError: the matrix is of another size.
        """
        nodes = self.layout.order.numel()
        if (matrix.num_rows, matrix.num_cols) != (nodes, nodes):
            raise InputError(f"blocks of {nodes} nodes got a matrix [{matrix.num_rows}, {matrix.num_cols}]")
        block = self.layout.group_of()
        rows, cols = matrix.rows().long(), matrix.indices.long()
        to, of = block[rows], block[cols]
        inside = to == of
        kinds = int(self.class_of.max()) + 1 if self.class_of.numel() else 0
        dense = torch.bincount(self.class_of[to[inside]], minlength=kinds)
        members = torch.bincount(self.class_of[block], minlength=kinds)
        off_rows, off_cols = to[~inside], cols[~inside]
        crosses = self.group_of[off_rows] != self.group_of[block[off_cols]]
        return BlockCounts(
            dense.numpy(), members.numpy(), self.class_of[block].numpy(), int((~inside).sum()),
            int(crosses.sum()), off_cols.unique().numel(), off_cols[crosses].unique().numel(),
        )  # fmt: skip


@dataclass(frozen=True, eq=False, slots=True)
class BlockCounts:
    """Where the entries of a matrix lie.

    Attributes:
        dense: ``[K]`` entries in diagonal blocks of each class.
        members: ``[K]`` nodes of each class.
        class_of_node: ``[N]``.
        off: entries outside of all blocks.
        crossing: of those, entries from one group to another.
        sparse_columns: columns that entries outside of all blocks are in.
        fetched: columns that crossing entries are in, which come from memory: the denser branch has moved on.
    """

    dense: Counts
    members: Counts
    class_of_node: Counts
    off: int
    crossing: int
    sparse_columns: int
    fetched: int

    @property
    def forwarded(self) -> float:
        """The share of the sparser branch's reads that the denser one's buffers serve."""
        return 1 - self.crossing / self.off if self.off else 1.0
