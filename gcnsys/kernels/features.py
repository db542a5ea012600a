"""Sparse input features: they stay sparse up to their first product."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gcnsys.graph import CSR
from gcnsys.kernels.dropout import Mask, drop_entries
from gcnsys.kernels.matrix import Matrix


@dataclass(frozen=True, eq=False, slots=True)
class SparseRows:
    """Feature rows ``[n, F]`` of which few entries are not zero.

    Attributes:
        matrix: where the entries are; its weights are not used.
        values: ``[nnz]``.
        flipped: the same by column.
        by_column: ``[nnz]``, the values of ``flipped``.
    """

    matrix: Matrix
    values: Tensor
    flipped: Matrix
    by_column: Tensor

    @classmethod
    def from_csr(cls, csr: CSR) -> "SparseRows":
        """Take the weights of a CSR matrix as values."""
        values = torch.ones(csr.num_edges) if csr.weight is None else csr.weight
        flipped = CSR(csr.indptr, csr.indices, csr.num_cols, values).transposed()
        assert flipped.weight is not None
        pattern = CSR(csr.indptr, csr.indices, csr.num_cols)
        by_column = CSR(flipped.indptr, flipped.indices, flipped.num_cols)
        return cls(Matrix(pattern), values, Matrix(by_column), flipped.weight)

    @property
    def pattern(self) -> CSR:
        return self.matrix.csr

    @property
    def shape(self) -> tuple[int, int]:
        """Of the rows, ``(n, F)``."""
        return self.pattern.num_rows, self.pattern.num_cols

    def to(self, target: torch.device | torch.dtype) -> "SparseRows":
        """The same rows on another device, or their values of another type."""
        values, by_column = self.values.to(target), self.by_column.to(target)
        if isinstance(target, torch.dtype):
            return replace(self, values=values, by_column=by_column)
        if self.values.device == target:
            return self
        return SparseRows(self.matrix.to(target), values, self.flipped.to(target), by_column)

    def take_rows(self, rows: Tensor) -> "SparseRows":
        """Some of the rows, in the given order; in host memory."""
        pattern = self.pattern
        whole = CSR(pattern.indptr, pattern.indices, pattern.num_cols, self.values)
        return SparseRows.from_csr(whole.take_rows(rows))

    def dropped(self, mask: Mask) -> "SparseRows":
        """Keyed dropout over the stored entries: the mask that the dense rows would get."""
        if mask.rate == 0:
            return self
        # Drawn anew by column: to gather by a permutation what was drawn by row takes longer.
        return replace(
            self, values=drop_entries(self.matrix, self.values, mask),
            by_column=drop_entries(self.flipped, self.by_column, mask, transposed=True),
        )  # fmt: skip

    def times(self, weight: Tensor) -> Tensor:
        """The product ``X W``: ``[F, out] -> [n, out]``, differentiable in W.

        In the type of W, or in bfloat16 if values are stored so.
        """
        half = self.values.dtype == torch.bfloat16
        out: Tensor = _Product.apply(weight.to(self.values.dtype) if half else weight, self)
        return out

    def to_dense(self) -> Tensor:
        """All entries, ``[n, F]``."""
        dense = self.values.new_zeros(self.shape)
        places = self.pattern.rows().long(), self.pattern.indices.long()
        return dense.index_put_(places, self.values, accumulate=True)


class _Product(torch.autograd.Function):
    """``Y = X W``; the gradient of W is ``X^T G``."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, x: SparseRows) -> Tensor:
        ctx.x = x
        return x.matrix.times(weight, weight=x.values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        x: SparseRows = ctx.x
        return x.flipped.times(grads[0], weight=x.by_column), None
