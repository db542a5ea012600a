"""A linear map of dense or sparse rows, with weights drawn from a given generator.

Rows may be stored in fewer bits than weights are: they are multiplied in the type of the rows.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gcnsys.kernels import DroppedRows, SparseRows

Factored = SparseRows | DroppedRows
"""Input rows that are multiplied without being written down."""


class Linear(nn.Module):
    """``x W^T + b``: ``[n, in] -> [n, out]``.

    Args:
        in_features: width that comes in.
        out_features: width that goes out.
        bias: whether there is a b.
    """

    row_wise = True

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        self.reset(torch.Generator().manual_seed(0))

    def reset(self, generator: torch.Generator) -> None:
        """Draw Glorot-uniform weights; biases start at zero."""
        nn.init.xavier_uniform_(self.weight, generator=generator)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    @property
    def out_width(self) -> int:
        return self.weight.shape[0]

    def project(self, x: Tensor | Factored) -> Tensor:
        """The product alone, without the bias."""
        return x @ self.weight.t().to(x.dtype) if isinstance(x, Tensor) else x.times(self.weight.t())

    def shifted(self, projected: Tensor) -> Tensor:
        """Add the bias."""
        return projected if self.bias is None else projected + self.bias.to(projected.dtype)

    def added_to(self, start: Tensor, x: Tensor | Factored) -> Tensor:
        """``start + x W^T + b``, in the memory of ``start``, which nothing may need any more."""
        if isinstance(x, Tensor):
            out = start.addmm_(x, self.weight.t().to(x.dtype))
        else:
            out = start.add_(x.times(self.weight.t()))
        return out if self.bias is None else out.add_(self.bias.to(out.dtype))

    def forward(self, x: Tensor | Factored) -> Tensor:
        if isinstance(x, Tensor):
            bias = None if self.bias is None else self.bias.to(x.dtype)
            return F.linear(x, self.weight.to(x.dtype), bias)
        return self.shifted(self.project(x))
