"""A rank's part as a block: aggregation over inner edges, then over the halo that arrived.

One autograd Function joins exchange and aggregation, so that inner work can run beside the
transfer in both directions and a model never sees it. Waiting for the halo at once (``sync``) or
after the inner work (``overlap``) makes no difference to a result: the same numbers are added in
the same order.

Letters: n inner nodes, the first d of which are computed (all, but in a pruned layer), h halo
nodes, B boundary rows, F features; A the inner edges ``[d, n]``, H the halo edges ``[d, h]``, S the
selection of boundary rows ``[B, n]``, X the swap between ranks.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from gcnsys.kernels.block import ScaledBlock, Scales, scaled
from gcnsys.kernels.matrix import Matrix
from gcnsys.kernels.rows import RowSelection
from gcnsys.partition import PartGraph
from gcnsys.runtime.comm import Comm, Flight

Schedule = Literal["sync", "overlap"]
"""When the halo is waited for: at once, or after the work that does not need it."""


class PartBlock(ScaledBlock):
    """The edges that end at a rank's inner nodes; halo rows arrive exactly and are waited for.

    Args:
        graph: this rank's share.
        comm: the ranks that hold the other shares, in the order of the parts.
        device: of the rows that will come; None: the CPU.
        schedule: when the halo is waited for.
    """

    def __init__(
        self, graph: PartGraph, comm: Comm, device: torch.device | None = None, *, schedule: Schedule = "sync"
    ) -> None:
        in_weight = graph.inner.row_sums() + graph.halo.row_sums()
        ids = graph.inner_ids.to(device)
        computed = ids[: graph.inner.num_rows]
        super().__init__(ids, computed, in_weight, graph.degrees, graph.halo_degrees)
        self.graph, self.plan, self.comm, self.schedule = graph, graph.plan, comm, schedule
        self.boundary = RowSelection(graph.plan.send_rows.to(device), graph.num_inner)
        self.inner = Matrix(graph.inner, symmetric=graph.is_symmetric)
        self.halo = Matrix(graph.halo)

    def scaled_sum(self, x: Tensor, scales: Scales) -> Tensor:
        out: Tensor = _ExchangedSum.apply(x, self, scales)
        return out

    def gather(self, x: Tensor) -> Tensor:
        halo: Tensor = _Exchanged.apply(x, self)
        return torch.cat([x, halo])

    def total(self, x: Tensor) -> Tensor:
        out: Tensor = _Total.apply(x, self.comm)
        return out

    def send(self, x: Tensor) -> Flight:
        """Start ``X S x``: boundary rows leave for the halos they lie in."""
        return self._started(self.boundary.take(x), self.plan.send_counts, self.plan.recv_counts)

    def send_back(self, halo: Tensor) -> Flight:
        """Start ``X^T g``: halo rows return to their owners."""
        return self._started(halo, self.plan.recv_counts, self.plan.send_counts)

    def _started(self, rows: Tensor, send_counts: Sequence[int], recv_counts: Sequence[int]) -> Flight:
        flight = self.comm.swap(rows, send_counts, recv_counts)
        if self.schedule == "sync":
            flight.land()
        return flight

    def scatter(self, returned: Tensor, out: Tensor) -> Tensor:
        """Add ``S^T r``: what came back, ``[B, F]``, onto the rows it belongs to."""
        # A boundary row sent to two peers gets two gradients: add, never assign.
        return self.boundary.add_back(returned, out)


class _ExchangedSum(torch.autograd.Function):
    """``y = R (A C x + H D (X S x)) + O x``, R, C, D, O the diagonals of :class:`Scales`.

    The gradient is ``C A^T R g + S^T X^T (D H^T R g) + O g``.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, block: PartBlock, scales: Scales) -> Tensor:
        ctx.block, ctx.scales = block, scales
        flight = block.send(x)
        start = scaled(block.own(x), scales.own)
        out = block.inner.times(x, start, row_scale=scales.row, column_scale=scales.column)
        return block.halo.times(flight.land(), out, row_scale=scales.row, column_scale=scales.halo)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        block, scales, grad = ctx.block, ctx.scales, grads[0]
        halo = block.halo.transpose_times(grad, row_scale=scales.row, column_scale=scales.halo)
        flight = block.send_back(halo)
        start = scaled(grad, scales.own)
        if start is not None and start.shape[0] < block.input_ids.numel():
            start = F.pad(start, (0, 0, 0, block.input_ids.numel() - start.shape[0]))
        out = block.inner.transpose_times(grad, start, row_scale=scales.row, column_scale=scales.column)
        return block.scatter(flight.land(), out), None, None


class _Exchanged(torch.autograd.Function):
    """``y = X S x``; the gradient is ``S^T (X^T g)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, block: PartBlock) -> Tensor:
        ctx.block, ctx.shape = block, x.shape
        return block.send(x).land()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        returned = ctx.block.send_back(grads[0]).land()
        return ctx.block.scatter(returned, grads[0].new_zeros(ctx.shape)), None


class _Total(torch.autograd.Function):
    """``y = sum over ranks of x_r``; every rank's gradient is the sum of all ranks' gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, comm: Comm) -> Tensor:
        ctx.comm = comm
        return comm.add(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.comm.add(grads[0]), None
