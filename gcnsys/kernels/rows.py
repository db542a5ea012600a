"""Some rows of a matrix: taken together to be sent, and added back onto the rows they are."""

import torch
from torch import Tensor

from gcnsys.graph import CSR
from gcnsys.kernels.backend import native_for, summed
from gcnsys.kernels.matrix import Matrix


class RowSelection:
    """The selection S ``[B, n]`` of rows, and its transpose.

    Args:
        rows: ``[B]`` int64 numbers of rows, in any order, any of them more than once.
        num_rows: n.
    """

    def __init__(self, rows: Tensor, num_rows: int) -> None:
        self.rows = rows
        indptr = torch.arange(rows.numel() + 1)
        self._matrix = Matrix(CSR(indptr, rows.to("cpu", torch.int32), num_rows))

    def take(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        """``S x``: ``[n, F] -> [B, F]``; at ``positions`` ``[b]`` of S alone, if they are given."""
        if native_for(x) is None:
            return x[self.rows if positions is None else self.rows[positions]]
        return self._matrix.times(x, rows=positions)

    def add_back(
        self, taken: Tensor, out: Tensor, *, scale: Tensor | None = None, place: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Add ``S^T D y``, ``[B, F]``, to ``out`` ``[n, F]``: rows taken more than once add up.

        Args:
            taken: y, or some of its rows.
            out: added to in place.
            scale: ``[B]`` diagonal D.
            place: ``[B]`` the row of ``taken`` that each row of y is, negative where it counts as 0; None:
                all are there.
            positions: the rows of y that ``taken`` has, in its order; goes with ``place``, from which a GPU
                would find them only by waiting.
        """
        if native_for(taken) is not None:
            return self._matrix.flipped.times(taken, out, column_scale=scale, column_map=place)
        rows = self.rows
        if positions is not None:
            rows, scale = rows[positions], None if scale is None else scale[positions]
        wide = taken.to(summed(taken.dtype))
        if scale is not None:
            wide = wide * scale.to(wide)[:, None]
        if wide.dtype == out.dtype:
            return out.index_add_(0, rows, wide)
        # A row that many ranks have adds up in 32 bits, and is rounded once.
        return out.copy_(out.to(wide.dtype).index_add_(0, rows, wide))
