"""A block whose edges have factors that can be learnt.

Letters: E edges, S rows of ``x``, D destination rows, F features.
"""

import copy
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gcnsys.errors import InputError
from gcnsys.kernels import Block
from gcnsys.kernels.block import Degrees, Norm, Reached
from gcnsys.kernels.edges import Edges, edge_dot, weighted_sum


class TunedBlock(Block):
    """Another block, each edge times a factor; every result is differentiable in the factors.

    Degrees are those of the weighted graph, and so is their derivative. In attention a factor multiplies an
    edge's share before the shares are made to add up to 1.

    Args:
        base: whose rows are all computed here.
        degrees: of its rows, for the self-loops that the normalized sum adds.
        symmetric: every edge is there both ways, and both directions of one have the same factor.
    """

    def __init__(self, base: Block, degrees: Degrees, *, symmetric: bool) -> None:
        self.base, self.symmetric = base, symmetric
        self.input_ids, self.output_ids, self.input_kinds = base.input_ids, base.output_ids, base.input_kinds
        if self.input_ids.numel() != self.output_ids.numel():
            raise InputError("edges are tuned where every row is computed: make the view with prune = off")
        plain, looped = (base.edges(loops=loops) for loops in (False, True))
        self._edges, self._looped = copy.copy(plain), copy.copy(looped)
        self._between = plain.sources != plain.destinations
        self._added = looped.sources == looped.destinations
        self._weight = None if plain.weight is None else plain.weight.to(torch.float64)
        self._loop = degrees.added_loop[:, None].to(self.input_ids.device)
        self.factors = torch.ones(plain.csr.num_edges)
        self._degree: Tensor | None = None

    @property
    def num_edges(self) -> int:
        return self._edges.csr.num_edges

    def tuned(self, factors: Tensor) -> None:
        """Take other factors, ``[E]`` in the order of ``edges()``; of the type that sums have."""
        self.factors, self._degree = factors, None

    def _weights(self, like: Tensor) -> Tensor:
        factors = self.factors.to(like)
        return (factors if self._weight is None else factors * self._weight.to(like))[:, None]

    def _into(self, weights: Tensor) -> Tensor:
        """The weight of the edges that end at each row, ``[D, 1]``; all layers share it."""
        found = self._degree
        if found is None or found.dtype != weights.dtype:
            found = self._degree = _RowSum.apply(weights, self._edges)
        return found

    def sum(self, x: Tensor) -> Tensor:
        return self._sum(self._weights(x), x)

    def _sum(self, weights: Tensor, x: Tensor) -> Tensor:
        rows = self.base.gather(x)
        if self.symmetric and self._edges.csr.num_rows == self._edges.csr.num_cols:
            out: Tensor = _SymmetricSum.apply(weights, rows, self._edges)
            return out
        return weighted_sum(self._edges, weights, rows)

    def mean(self, x: Tensor) -> Tensor:
        weights = self._weights(x)
        into = self._into(weights)
        inverse = torch.where(into > 0, 1 / into.clamp(min=1e-30), 0.0)
        return inverse * self._sum(weights, x)

    def gcn(self, x: Tensor, norm: Norm = "symmetric") -> Tensor:
        if norm != "symmetric":
            raise InputError("edges are tuned with gcn_norm = symmetric only")
        weights, loop = self._weights(x), self._loop.to(x)
        degree = self._into(weights) + loop
        if bool((degree <= 0).any()):
            raise InputError(
                "gcn normalization needs positive weighted degrees; remove negative edge weights"
            )
        scale = degree.rsqrt()
        sent = x * scale
        return scale * (self._sum(weights, sent) + loop * sent)

    def gather(self, x: Tensor) -> Tensor:
        return self.base.gather(x)

    def reached(self, x: Tensor) -> Reached:
        return self.base.reached(x)

    def edges(self, *, loops: bool = False) -> Edges:
        """Edges that carry the factors."""
        found = self._looped if loops else self._edges
        factors = self.factors
        if loops:
            factors = factors.new_ones(self._added.numel())
            factors[~self._added] = self.factors[self._between]
        found.factors = factors
        return found

    @property
    def gathered_ids(self) -> Tensor:
        return self.base.gathered_ids

    def total(self, x: Tensor) -> Tensor:
        return self.base.total(x)


class _RowSum(torch.autograd.Function):
    """``d_r = sum_e w_e`` over a row's edges; the gradient is ``g_r`` on each of them."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, edges: Edges) -> Tensor:
        ctx.edges = edges
        return weighted_sum(edges, weights.detach(), weights.new_ones(edges.csr.num_cols, 1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0][ctx.edges.destinations], None


class _SymmetricSum(torch.autograd.Function):
    """``y = W x`` with W equal to its transpose; the gradients are ``<g_r, x_c>`` on edges, and ``W g``."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, x: Tensor, edges: Edges) -> Tensor:
        ctx.edges = edges
        ctx.save_for_backward(weights, x)
        return weighted_sum(edges, weights.detach(), x.detach())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (weights, x), (by_weight, by_x, _) = ctx.saved_tensors, ctx.needs_input_grad
        on_edges = edge_dot(ctx.edges, grads[0].contiguous(), x, 1).view_as(weights) if by_weight else None
        return on_edges, weighted_sum(ctx.edges, weights, grads[0].contiguous()) if by_x else None, None
