"""The mean of neighbours, each weighed by the softmax of its own value, feature by feature.

An edge's logit is its source's alone, so that one pass of sums over exponentials of rows does; nothing is
kept for an edge. Only where the logits of a feature lie so far apart that the exponentials of some would
vanish is each destination's own maximum looked for.

Letters: R destinations, K sources, E edges, F features.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gcnsys.errors import InputError
from gcnsys.kernels.backend import STORED, summed
from gcnsys.kernels.edges import Edges, check, edge_softmax, weighted_sum

SPAN = {torch.float32: 60.0, torch.float64: 600.0}
"""How far apart logits may lie: exponentials are then normal numbers, and so are their products with rows."""

_WIDTH = 16
"""Features that have a softmax of their own at a time."""


def softmax_mean(edges: Edges, x: Tensor, temperature: Tensor, *, absent: Tensor | None = None) -> Tensor:
    r"""``[K, F] -> [R, F]``, 0 where no edge ends (Li et al., DeeperGCN, 2020, definition 1).

    .. math:: y_r = \sum_c p_{rc} x_c, \quad p_{rc} = softmax_c(t x_c)

    over the edges r <- c, feature by feature; equal edges count each. Differentiable in ``x`` and t.

    Args:
        edges: from sources to destinations.
        x: ``[K, F]``; float32, float64 or bfloat16.
        temperature: t, one number, of the type that sums have.
        absent: ``[K]`` bool: rows that no edge is to start from.

    Raises:
        InputError: ``x`` does not fit the edges.
    """
    if x.dtype not in STORED:
        raise InputError(f"x must be float32, float64 or bfloat16, got {x.dtype}")
    check("x", x, edges.csr.num_cols, x.dtype, edges)
    wide = x.to(summed(x.dtype))
    temperature = temperature.to(wide).reshape(())
    top, span = _extent(wide, temperature, absent)
    if span <= SPAN[wide.dtype] and edges.factors is None:
        out: Tensor = _SoftmaxMean.apply(wide, temperature, edges, top, absent)
    else:
        out = _by_destination(edges, wide, temperature, absent)
    return out.to(x.dtype)


@torch.no_grad()
def _extent(x: Tensor, temperature: Tensor, absent: Tensor | None) -> tuple[Tensor, float]:
    """The greatest logit of each feature, and the widest span of one."""
    there = x if absent is None else x[~absent]
    if not there.numel():
        return x.new_zeros(x.shape[1]), 0.0
    ends = torch.stack(torch.aminmax(there, dim=0)) * temperature
    span = float((ends[1] - ends[0]).abs().max())
    return ends.amax(0), span if span == span else 0.0  # rows that are not numbers stay so in the sums


class _SoftmaxMean(torch.autograd.Function):
    """``y = (A z x) / (A z)``, z = exp(t x - top); the gradient of ``A v`` is ``A^T g``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, temperature: Tensor, edges: Edges, top: Tensor, absent: Tensor | None
    ) -> Tensor:
        both = x.new_empty(x.shape[0], 2 * x.shape[1])
        scaled, weight = both.chunk(2, 1)
        weight.copy_(_weight(x, temperature, top, absent))
        torch.mul(weight, x, out=scaled)
        total, below = edges.matrix.times(both).chunk(2, 1)
        inverse = torch.where(below > 0, 1 / below, below)  # not a number stays so
        out = total * inverse
        ctx.edges, ctx.absent = edges, absent
        ctx.save_for_backward(x, temperature, top, inverse, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, temperature, top, inverse, out = ctx.saved_tensors
        # Of v = z x and of z: what flows back along the edges.
        both = out.new_empty(out.shape[0], 2 * out.shape[1])
        by_total, by_weight = both.chunk(2, 1)
        torch.mul(grads[0], inverse, out=by_total)
        torch.mul(by_total, out, out=by_weight)
        product, weight = ctx.edges.matrix.transpose_times(both).chunk(2, 1)
        z = _weight(x, temperature, top, ctx.absent)
        by_logit = (product * x).sub_(weight).mul_(z)
        by_x = z.mul_(product).addcmul_(temperature, by_logit)
        by_temperature = by_logit.mul_(x).sum() if ctx.needs_input_grad[1] else None
        return by_x, by_temperature, None, None, None


def _weight(x: Tensor, temperature: Tensor, top: Tensor, absent: Tensor | None) -> Tensor:
    weight = (x * temperature).sub_(top).exp_()
    return weight if absent is None else weight.masked_fill_(absent[:, None], 0.0)


def _by_destination(edges: Edges, x: Tensor, temperature: Tensor, absent: Tensor | None) -> Tensor:
    pieces = []
    for part in x.split(_WIDTH, 1):
        logits = part * temperature
        if absent is not None:
            logits = logits.masked_fill(absent[:, None], torch.finfo(x.dtype).min / 4)
        weight = edge_softmax(edges, logits[edges.sources])
        if absent is not None:
            weight = weight.masked_fill(absent[edges.sources, None], 0.0)
        pieces.append(weighted_sum(edges, weight, part.contiguous()))
    return torch.cat(pieces, 1)
