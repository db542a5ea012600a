"""What stands between two layers, in one pass over the rows: layer norm, ReLU, keyed dropout."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gcnsys.kernels.backend import core, native_for, summed
from gcnsys.kernels.dropout import Mask, keyed_dropout, threshold


@dataclass(frozen=True, eq=False, slots=True)
class RowNorm:
    """Layer norm (Ba et al. 2016) of rows.

    Attributes:
        weight: ``[F]``.
        bias: ``[F]``.
        eps: added to each row's variance.
    """

    weight: Tensor
    bias: Tensor
    eps: float


def activation(x: Tensor, *, norm: RowNorm | None = None, mask: Mask | None = None) -> Tensor:
    """``dropout(relu(norm(x)))`` of rows ``[n, F]``.

    The native kernel keeps ``x`` and two numbers a row for backward, or, without a norm, its own
    result alone; a mask is drawn again.

    Args:
        x: ``[n, F]``.
        norm: None: no norm.
        mask: None: nothing is dropped.
    """
    if native_for(x) is not None and x.shape[1]:
        weight, bias, eps = (None, None, 0.0) if norm is None else (norm.weight, norm.bias, norm.eps)
        found: Tensor = _Activation.apply(x, weight, bias, eps, mask)
        return found
    if norm is not None:
        x = F.layer_norm(x, x.shape[1:], norm.weight.to(x.dtype), norm.bias.to(x.dtype), norm.eps)
    x = x.relu()
    return x if mask is None else keyed_dropout(x, mask.key, mask.node_ids, mask.rate)


class _Activation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        mask: Mask | None,
    ) -> Tensor:
        module = core()
        assert module is not None
        x, wide = x.detach().contiguous(), summed(x.dtype)
        out = torch.empty_like(x)
        scale = mean = rstd = shift = None
        if weight is not None and bias is not None:
            scale, shift = weight.detach().to(wide), bias.detach().to(wide)
            mean, rstd = torch.empty(2, x.shape[0], dtype=wide)
        a, b = (None, None) if mask is None else mask.words()
        rate = 0.0 if mask is None else mask.rate
        drop = threshold(rate), 1 / (1 - rate), torch.get_num_threads()
        module.activate(x, out, scale, shift, mean, rstd, eps, a, b, *drop)
        ctx.save_for_backward(out if scale is None else x, scale, shift, mean, rstd, a, b)
        ctx.drop = drop
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        module = core()
        assert module is not None
        x, scale, shift, mean, rstd, a, b = ctx.saved_tensors
        out = torch.empty_like(x)
        to_scale = to_shift = None
        if scale is not None:
            to_scale, to_shift = torch.empty_like(scale), torch.empty_like(shift)
        module.activation_gradient(
            x, grads[0].contiguous(), out, scale, shift, mean, rstd, to_scale, to_shift, a, b, *ctx.drop
        )
        return out, to_scale, to_shift, None, None
