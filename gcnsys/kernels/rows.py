"""Some rows of a matrix: taken together to be sent, and added back onto the rows they are."""

import torch
from torch import Tensor

from gcnsys.graph import CSR
from gcnsys.kernels.backend import native_for
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

    def take(self, x: Tensor) -> Tensor:
        """``S x``: ``[n, F] -> [B, F]``."""
        return x[self.rows] if native_for(x) is None else self._matrix.times(x)

    def add_back(self, taken: Tensor, out: Tensor) -> Tensor:
        """Add ``S^T y``, ``[B, F]``, to ``out`` ``[n, F]``: rows taken more than once add up."""
        if native_for(taken) is None:
            return out.index_add_(0, self.rows, taken)
        return self._matrix.transpose_times(taken, out)
