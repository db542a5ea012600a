"""Logits of dynamic attention (Brody et al., GATv2, ICLR 2022, eq. 7), without a row for every edge.

An edge r <- c has, in head h, the logit ``<vector[h], LeakyReLU(y[r, h] + x[c, h])>``. It does not split into
a share of the destination and one of the source, so forward looks at both rows of every edge and backward
does so again, once by destination and once by source; nothing of either row is kept for an edge.

Letters: R destinations, K sources, E edges, H heads, D features a head.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gcnsys.errors import InputError
from gcnsys.kernels.backend import as_rows, native_for, summed
from gcnsys.kernels.edges import Edges, check, check_features

_PIECE = 1 << 22
"""Elements that torch looks at together."""


def leaky_dot(edges: Edges, y: Tensor, x: Tensor, vector: Tensor, *, slope: float = 0.2) -> Tensor:
    """``<vector[h], LeakyReLU(y[r, h] + x[c, h])>`` on every edge: ``[R, H D], [K, H D], [H, D] -> [E, H]``.

    Differentiable in ``y``, ``x`` and ``vector``.

    Args:
        edges: from sources to destinations.
        y: ``[R, H D]`` of the destinations; float32, float64 or bfloat16.
        x: ``[K, H D]`` of the sources, of the same type.
        vector: ``[H, D]``; float32 for bfloat16 rows.
        slope: of LeakyReLU below 0.

    Raises:
        InputError: a tensor does not fit the edges or another one.
    """
    if vector.ndim != 2 or vector.dtype != summed(x.dtype) or vector.device != edges.device:
        raise InputError(
            f"vector must be [H, D], {summed(x.dtype)}, on {edges.device}, got {list(vector.shape)}"
        )
    heads, width = vector.shape[0], vector.numel()
    check_features("x", x, edges.csr.num_cols, heads, edges)
    if x.shape[1] != width or check("y", y, edges.csr.num_rows, x.dtype, edges) != width:
        raise InputError(
            f"y and x must have {width} columns as vector has, got {y.shape[1]} and {x.shape[1]}"
        )
    out: Tensor = _LeakyDot.apply(y, x, vector, edges, slope)
    return out


class _LeakyDot(torch.autograd.Function):
    """The gradients add up ``g_e a LeakyReLU'(u)`` by row and by column, ``g_e LeakyReLU(u)`` over all edges.

    u is ``y_r + x_c``, a the vector.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor, vector: Tensor, edges: Edges, slope: float) -> Tensor:
        ctx.edges, ctx.slope = edges, slope
        ctx.save_for_backward(y, x, vector)
        out = vector.new_empty(edges.csr.num_edges, vector.shape[0])
        if native_for(y, x) is not None:
            factor = vector.detach().contiguous()
            edges.pattern.leaky_dot(as_rows(y), as_rows(x), factor, slope, out, torch.get_num_threads())
            return out
        for piece, sums in _sums(edges, y, x, vector.shape[0]):
            out[piece] = (torch.nn.functional.leaky_relu(sums, slope) * vector).sum(2)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (y, x, vector), edges, slope = ctx.saved_tensors, ctx.edges, ctx.slope
        grad = grads[0].contiguous()
        if native_for(y, x) is None:
            return *_gradients_by_torch(edges, y, x, vector, grad, slope), None, None
        rows, threads = (as_rows(y), as_rows(x)), torch.get_num_threads()
        factor = vector.reshape(-1)
        slopes = vector.new_empty(y.shape)
        values = torch.empty_like(slopes)
        edges.pattern.leaky_sum(grad, *rows, slope, slopes, values, threads)
        back = vector.new_empty(x.shape)
        by_source = grad[edges.by_source[1]]
        edges.pattern_by_source.leaky_sum(by_source, rows[1], rows[0], slope, back, None, threads)
        by_vector = values.sum(0).view_as(vector)
        return (slopes * factor).to(y.dtype), (back * factor).to(x.dtype), by_vector, None, None


def _sums(edges: Edges, y: Tensor, x: Tensor, heads: int) -> Any:
    """Some edges at a time, and their ``y_r + x_c``, ``[e, H, D]``."""
    size, wide = max(1, _PIECE // max(1, x.shape[1])), summed(x.dtype)
    for start in range(0, edges.csr.num_edges, size):
        piece = slice(start, start + size)
        sums = y[edges.destinations[piece]].to(wide) + x[edges.sources[piece]].to(wide)
        yield piece, sums.view(len(sums), heads, -1)


def _gradients_by_torch(
    edges: Edges, y: Tensor, x: Tensor, vector: Tensor, grad: Tensor, slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    into, back = vector.new_zeros(y.shape), vector.new_zeros(x.shape)
    by_vector = torch.zeros_like(vector)
    for piece, sums in _sums(edges, y, x, vector.shape[0]):
        weight = grad[piece, :, None]
        slopes = torch.where(sums < 0, slope * weight, weight)
        by_vector += (slopes * sums).sum(0)
        parts = (slopes * vector).flatten(1)
        into.index_add_(0, edges.destinations[piece], parts)
        back.index_add_(0, edges.sources[piece], parts)
    return into.to(y.dtype), back.to(x.dtype), by_vector
