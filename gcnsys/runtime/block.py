"""A rank's part as a block: aggregation over inner edges, then over the halo that arrived.

One autograd Function joins exchange and aggregation, so that inner work can run beside the
transfer in both directions and a model never sees it. Waiting for the halo at once (``sync``) or
after the inner work (``overlap``) makes no difference to a result: the same numbers are added in
the same order.

Letters: n inner nodes, the first d of which are computed (all, but in a pruned layer), h halo
nodes, B boundary rows, F features; A the inner edges ``[d, n]``, H the halo edges ``[d, h]``, S the
selection of boundary rows ``[B, n]``, X the swap between ranks, P the diagonal of inverse inclusion
probabilities, 0 for rows that were not drawn.
"""

import copy
import logging
from functools import cache, cached_property
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from gcnsys.kernels.block import Reached, ScaledBlock, Scales, scaled
from gcnsys.kernels.edges import Edges
from gcnsys.kernels.matrix import Matrix
from gcnsys.kernels.rows import RowSelection
from gcnsys.partition import PartGraph
from gcnsys.runtime.comm import Comm
from gcnsys.runtime.crossing import Crossing, Share
from gcnsys.runtime.exchange import Exchange, Lanes
from gcnsys.runtime.labels import labelled
from gcnsys.runtime.lane import Arrival, Lane

log = logging.getLogger(__name__)


class PartBlock(ScaledBlock):
    """The edges that end at a rank's inner nodes; what they need of other ranks comes through an exchange.

    Args:
        graph: this rank's share.
        comm: the ranks that hold the other shares, in the order of the parts.
        device: of the rows that will come; None: the CPU.

    Boundary rows cross exactly and are waited for at once; :meth:`through` has them cross in another way.

    Attributes:
        layer: which aggregation of a model it is for, as a profiler shall show it; None: several.
    """

    layer: int | None = None

    def __init__(self, graph: PartGraph, comm: Comm, device: torch.device | None = None) -> None:
        in_weight = graph.inner.row_sums() + graph.halo.row_sums()
        ids = graph.inner_ids.to(device)
        computed = ids[: graph.inner.num_rows]
        super().__init__(ids, computed, in_weight, graph.degrees, graph.halo_degrees, graph.halo_ids)
        self.graph, self.plan, self.comm = graph, graph.plan, comm
        self.exchange = Exchange(graph, comm, device=device)
        self.boundary = RowSelection(graph.plan.send_rows.to(device), graph.num_inner)
        self.inner = Matrix(graph.inner, symmetric=graph.is_symmetric)
        self.halo = Matrix(graph.halo)
        self._edges: dict[bool, Edges] = {}

    def through(self, exchange: Exchange) -> Self:
        """The same block, its rows crossing in another way; shares all memory."""
        other = copy.copy(self)
        other.exchange = exchange
        return other

    def numbered(self, layer: int) -> Self:
        """The same block, for one aggregation of a model; shares all memory."""
        other = copy.copy(self)
        other.layer = layer
        return other

    def scaled_sum(self, x: Tensor, scales: Scales) -> Tensor:
        out: Tensor = _ExchangedSum.apply(x, self, scales)
        return out

    def gather(self, x: Tensor) -> Tensor:
        """Own rows, then halo rows; those that were not drawn are 0, and none is scaled."""
        reached = self.reached(x)
        if reached.absent is not None:
            _tell_about_draws()
        return reached.rows

    def reached(self, x: Tensor) -> Reached:
        halo, absent = _Exchanged.apply(x, self)
        if absent is not None:
            absent = torch.cat([absent.new_zeros(x.shape[0]), absent])
        return Reached(torch.cat([x, halo]), absent)

    def edges(self, *, loops: bool = False) -> Edges:
        if loops not in self._edges:
            inner = self.inner.csr.looped() if loops else self.inner.csr
            self._edges[loops] = Edges(inner.followed_by(self.halo.csr).to(self.input_ids.device))
        return self._edges[loops]

    @cached_property
    def gathered_ids(self) -> Tensor:
        return torch.cat([self.input_ids, self.graph.halo_ids.to(self.input_ids.device)])

    def total(self, x: Tensor) -> Tensor:
        return total(x, self.comm)

    def send(self, x: Tensor) -> Lanes:
        """Start ``X S x``: boundary rows leave for the halos they lie in."""
        lanes = self.exchange.lanes()
        if not lanes.repeated:
            with labelled("exchange: send", self.layer):
                self.exchange.send(lanes, self.boundary.take(x, self.exchange.positions()))
        return lanes

    def send_back(self, lanes: Lanes, crossing: Crossing, rows: Tensor) -> None:
        """Start ``X^T``: gradients of halo rows leave for the owners."""
        with labelled("exchange: send", self.layer, back=True):
            self.exchange.send_back(lanes, crossing, rows)

    def arrived(self, lane: Lane) -> Arrival:
        """What a lane brings now; waits for it."""
        with labelled("exchange: wait", self.layer, back=lane.back):
            return lane.arrive()


@cache
def _tell_about_draws() -> None:
    log.warning(
        "a layer gathers halo rows of which only some were drawn: it sees zeros for the others and "
        "no inverse inclusion probabilities, so what it computes is not unbiased"
    )


class _ExchangedSum(torch.autograd.Function):
    """``y = R (A C x + H P D (X S x)) + O x``, R, C, D, O the diagonals of :class:`Scales`.

    The gradient is ``C A^T R g + S^T P X^T (D H^T R g) + O g``. P is applied where rows are used, on
    either end, so what crosses is the same whatever was drawn. In a pipeline ``X S x`` and ``X^T (...)``
    are those of an earlier epoch, with its P.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, block: PartBlock, scales: Scales) -> Tensor:
        lanes = block.send(x)
        with lanes.features.beside(), labelled("inner aggregation", block.layer):
            start = scaled(block.own(x), scales.own)
            out = block.inner.times(x, start, row_scale=scales.row, column_scale=scales.column)
        arrival = block.arrived(lanes.features)
        ctx.block, ctx.scales, ctx.lanes, ctx.crossing = block, scales, lanes, arrival.crossing
        came = arrival.crossing.arriving
        if came.size == 0:
            return out
        with labelled("halo aggregation", block.layer):
            return block.halo.times(
                arrival.rows, out, row_scale=scales.row,
                column_scale=came.scaled(out, scales.halo, arrival.correction), column_map=came.place,
            )  # fmt: skip

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        block, scales, lanes, grad = ctx.block, ctx.scales, ctx.lanes, grads[0]
        with labelled("halo aggregation", block.layer, back=True):
            halo = block.halo.transpose_times(
                grad, row_scale=scales.row, column_scale=scales.halo, columns=ctx.crossing.arriving.positions
            )
        block.send_back(lanes, ctx.crossing, halo)
        with lanes.gradients.beside(), labelled("inner aggregation", block.layer, back=True):
            start = scaled(grad, scales.own)
            if start is not None and start.shape[0] < block.input_ids.numel():
                start = F.pad(start, (0, 0, 0, block.input_ids.numel() - start.shape[0]))
            out = block.inner.transpose_times(grad, start, row_scale=scales.row, column_scale=scales.column)
        returned = block.arrived(lanes.gradients)
        scale = returned.crossing.sent.scaled(out, returned.correction)
        return _added_back(block, returned, out, scale), None, None


class _Exchanged(torch.autograd.Function):
    """``y = X S x``, and which rows of y are absent; the gradient is ``S^T (X^T g)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, block: PartBlock) -> tuple[Tensor, Tensor | None]:
        lanes = block.send(x)
        arrival = block.arrived(lanes.features)
        ctx.block, ctx.lanes, ctx.crossing, ctx.shape = block, lanes, arrival.crossing, x.shape
        share = arrival.crossing.arriving
        absent = None if share.place is None else share.place < 0
        if absent is not None:
            ctx.mark_non_differentiable(absent)
        return _spread(arrival, share), absent

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        block = ctx.block
        block.send_back(ctx.lanes, ctx.crossing, ctx.crossing.arriving.of(grads[0]))
        returned = block.arrived(ctx.lanes.gradients)
        out = grads[0].new_zeros(ctx.shape)
        return _added_back(block, returned, out, returned.correction), None


def _added_back(block: PartBlock, returned: Arrival, out: Tensor, scale: Tensor | None) -> Tensor:
    # A boundary row sent to two peers gets two gradients: add, never assign.
    if not returned.crossing.sent.size:
        return out
    sent = returned.crossing.sent
    return block.boundary.add_back(
        returned.rows, out, scale=scale, place=sent.place, positions=sent.positions
    )


def _spread(arrival: Arrival, share: Share) -> Tensor:
    rows, factor = arrival.rows, arrival.correction
    if share.positions is not None:
        rows = rows.new_zeros(share.total, rows.shape[1]).index_copy_(0, share.positions, rows)
    return rows if factor is None else rows * factor.to(rows)[:, None]


def total(x: Tensor, comm: Comm) -> Tensor:
    """The sum of all ranks' ``x``, differentiable; collective, backward as well."""
    out: Tensor = _Total.apply(x, comm)
    return out


class _Total(torch.autograd.Function):
    """``y = sum over ranks of x_r``; every rank's gradient is the sum of all ranks' gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, comm: Comm) -> Tensor:
        ctx.comm = comm
        return comm.add(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.comm.add(grads[0]), None
