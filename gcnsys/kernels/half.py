"""Dense products of rows in bfloat16 with weights in single precision.

Where a processor multiplies bfloat16 no faster than single precision (measured on Intel without matrix
units: products take 1.1 to 1.3 times as long, gradients of weights twice), rows are widened a piece at a
time, in a buffer that stays in the cache, and multiplied as they are then. Elsewhere weights are rounded and
the library does it.

Letters: n rows, K columns of them, M columns that come out.
"""

import platform
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_PIECE = 1 << 19
"""Elements widened at a time."""


@cache
def multiplies_bfloat16() -> bool:
    """Whether this processor is faster at bfloat16 than at single precision."""
    if platform.machine().lower() not in ("x86_64", "amd64") or torch.cpu._is_amx_tile_supported():
        return True
    described = Path("/proc/cpuinfo")
    about = described.read_text() if described.exists() else ""
    return "AuthenticAMD" in about and "avx512_bf16" in about


def widens(x: Tensor) -> bool:
    """Whether rows are widened to be multiplied."""
    return x.dtype == torch.bfloat16 and x.is_cpu and not multiplies_bfloat16()


def half_product(x: Tensor, weight: Tensor) -> Tensor:
    """``X W`` in bfloat16: ``[n, K], [K, M] -> [n, M]``; differentiable in both.

    Args:
        x: bfloat16.
        weight: float32; so is its gradient.
    """
    if not widens(x):
        return x @ weight.to(x.dtype)
    out: Tensor = _Widened.apply(x, weight)
    return out


def pieces(rows: int, width: int) -> Iterator[slice]:
    """Slices of so many rows that a buffer of a piece stays in the cache."""
    step = max(1, _PIECE // max(1, width))
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))


class _Widened(torch.autograd.Function):
    """``Y = X W``; the gradients are ``G W^T`` and ``X^T G``, piece by piece."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        out = x.new_empty(x.shape[0], weight.shape[1])
        for piece in pieces(*x.shape):
            out[piece] = x[piece].float() @ weight
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        of_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for piece in pieces(x.shape[0], max(weight.shape)):
            grad = grads[0][piece].float()
            if of_x is not None:
                of_x[piece] = grad @ weight.t()
            if of_weight is not None:
                of_weight.addmm_(x[piece].float().t(), grad)
        return of_x, of_weight
