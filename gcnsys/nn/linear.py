"""A linear map of dense or sparse rows, with weights drawn from a given generator.

Rows may be stored in fewer bits than weights are (:mod:`gcnsys.kernels.half`).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gcnsys.kernels import DroppedRows, SparseRows
from gcnsys.kernels.half import half_product

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
        """The width that goes out."""
        return self.weight.shape[0]

    def project(self, x: Tensor | Factored) -> Tensor:
        """The product alone, without the bias."""
        if not isinstance(x, Tensor):
            return x.times(self.weight.t())
        return half_product(x, self.weight.t()) if x.dtype == torch.bfloat16 else x @ self.weight.t()

    def shifted(self, projected: Tensor) -> Tensor:
        """Add the bias."""
        return projected if self.bias is None else projected + self.bias.to(projected.dtype)

    def added_to(self, start: Tensor, x: Tensor | Factored) -> Tensor:
        """``start + x W^T + b``, in the memory of ``start``, which nothing may need any more."""
        if isinstance(x, Tensor) and x.dtype != torch.bfloat16:
            out = start.addmm_(x, self.weight.t())
        else:
            out = start.add_(self.project(x))
        return out if self.bias is None else out.add_(self.bias.to(out.dtype))

    def forward(self, x: Tensor | Factored) -> Tensor:
        """The map: ``[n, in] -> [n, out]``."""
        if isinstance(x, Tensor) and x.dtype != torch.bfloat16:
            return F.linear(x, self.weight, self.bias)
        return self.shifted(self.project(x))
