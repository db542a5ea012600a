r"""What one layer aggregates over.

A whole graph, a rank's part and one layer of a sampled minibatch are all blocks; a model is
``model(blocks, x)`` with one block a layer and never knows which. ``sum``, ``mean``, ``gcn`` and
``gather`` are the only places where rows may travel between ranks; ``total`` is the one where
statistics may.

Letters: S rows of ``x`` (sources held here), D destination rows, F features.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.graph import CSR, Graph
from gcnsys.kernels.backend import summed
from gcnsys.kernels.edges import Edges
from gcnsys.kernels.matrix import Matrix

Norm = Literal["symmetric", "out-in"]


@dataclass(frozen=True, eq=False, slots=True)
class Degrees:
    """Weighted degrees of some nodes, counted after self-loops were completed.

    Attributes:
        into: ``[n]`` float64, of edges that end here.
        out_of: ``[n]`` float64, of edges that start here.
        added_loop: ``[n]`` float64, 1 where a self-loop of weight 1 has to be added, else 0.
    """

    into: Tensor
    out_of: Tensor
    added_loop: Tensor

    @classmethod
    def of(cls, graph: Graph) -> "Degrees":
        """The degrees of all nodes of a graph."""
        added = graph.loop_weight().isnan().double()
        return cls(graph.in_degree() + added, graph.out_degree() + added, added)

    def take(self, nodes: Tensor | slice) -> "Degrees":
        """Those of the given rows."""
        return Degrees(self.into[nodes], self.out_of[nodes], self.added_loop[nodes])

    def scales(self, norm: Norm, ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What a receiver and a sender multiply by in the normalized sum.

        Args:
            norm: which degree counts for senders.
            ids: ``[n]`` global ids of the nodes, for messages; None: not looked at.

        Raises:
            InputError: a degree is not positive, which only negative weights can bring about.
        """
        senders = self.into if norm == "symmetric" else self.out_of
        for degree in (self.into, senders):
            if bool((degree <= 0).any()):
                row = int(torch.nonzero(degree <= 0)[0])
                raise InputError(
                    f"gcn normalization needs positive weighted degrees, but node "
                    f"{row if ids is None else int(ids[row])} has {float(degree[row]):g}: remove its "
                    f"negative edge weights or use another model"
                )
        return self.into.rsqrt(), senders.rsqrt()


@dataclass(frozen=True, eq=False, slots=True)
class Reached:
    """Source rows that edges may start from.

    Attributes:
        rows: ``[S + h, F]``; those that are absent are 0.
        absent: ``[S + h]`` bool; None: none is.
    """

    rows: Tensor
    absent: Tensor | None = None


class Block(ABC):
    """Destination rows, source rows and the edges between them.

    Attributes:
        input_ids: ``[S]`` int64 global ids of the rows of ``x``; destinations come first.
        output_ids: ``[D]`` int64 global ids of the rows that come out.
        input_kinds: ``[S]`` int32 kinds of those nodes; None: nothing is said of kinds.
    """

    input_ids: Tensor
    output_ids: Tensor
    input_kinds: Tensor | None = None

    @abstractmethod
    def sum(self, x: Tensor) -> Tensor:
        """Add up each destination's neighbours, by edge weight: ``[S, F] -> [D, F]``."""

    @abstractmethod
    def mean(self, x: Tensor) -> Tensor:
        """The weighted average of each destination's neighbours, 0 where it has none."""

    @abstractmethod
    def gcn(self, x: Tensor, norm: Norm = "symmetric") -> Tensor:
        r"""The normalized sum with self-loops (Kipf & Welling 2017, eq. 8): ``[S, F] -> [D, F]``.

        .. math:: y_v = \sum_u \frac{w_{uv}}{\sqrt{d(v) d'(u)}} x_u

        over the edges u -> v after a loop of weight 1 was added to every node without one; d is
        the weighted in-degree, d' the same (``symmetric``, PyG's convention) or the weighted
        out-degree (``out-in``, DGL's for directed graphs).
        """

    @abstractmethod
    def gather(self, x: Tensor) -> Tensor:
        """Every source row an edge may start from: own rows, then halo rows; for attention."""

    @abstractmethod
    def reached(self, x: Tensor) -> "Reached":
        """The same, and which of them are there: all, but where rows that cross are drawn."""

    @abstractmethod
    def edges(self, *, loops: bool = False) -> Edges:
        """The edges from the rows of :meth:`gather` to the destinations, with their weights if there are any.

        Args:
            loops: one from every destination to itself, in place of those there are (as attention layers do);
                without weights.
        """

    @property
    @abstractmethod
    def gathered_ids(self) -> Tensor:
        """Global ids of the rows of :meth:`gather`, ``[S + h]`` int64."""

    @abstractmethod
    def total(self, x: Tensor) -> Tensor:
        """Add ``[k]`` up over all ranks, differentiably; for statistics over all nodes."""

    def settled(self, sums: Tensor) -> Tensor:
        """Sums ``[D, F]`` that a layer made of :meth:`edges` itself, as this block gives its own."""
        return sums

    def own(self, x: Tensor) -> Tensor:
        """The rows of the destinations themselves: ``[S, F] -> [D, F]``."""
        return x if x.shape[0] == self.output_ids.numel() else x[: self.output_ids.numel()]


@dataclass(frozen=True, eq=False, slots=True)
class Scales:
    """Diagonals around a sum: ``y = row * (A (column * x)) + own * x``.

    Attributes:
        row: ``[D]``, or None: 1.
        column: ``[S]`` of the source rows held here, or None: 1.
        halo: ``[h]`` of source rows that arrive from elsewhere, or None: 1.
        own: ``[D]``, or None: 0.
    """

    row: Tensor | None = None
    column: Tensor | None = None
    halo: Tensor | None = None
    own: Tensor | None = None


class ScaledBlock(Block):
    """``mean`` and ``gcn`` as diagonals around a sum; what every block here builds on.

    Args:
        input_ids, output_ids: see :class:`Block`.
        in_weight: ``[D]`` float64 weight (or number) of the edges that end at each destination.
        degrees: of the source rows held here.
        halo_degrees: of the source rows that arrive from elsewhere.
        halo_ids: those rows' nodes, for messages.
    """

    def __init__(
        self,
        input_ids: Tensor,
        output_ids: Tensor,
        in_weight: Tensor,
        degrees: Degrees,
        halo_degrees: Degrees | None = None,
        halo_ids: Tensor | None = None,
    ) -> None:
        self.input_ids, self.output_ids = input_ids, output_ids
        self.in_weight, self.degrees, self.halo_degrees = in_weight, degrees, halo_degrees
        self.halo_ids = halo_ids
        self._scales: dict[tuple[str, torch.dtype, torch.device], Scales] = {}

    @abstractmethod
    def scaled_sum(self, x: Tensor, scales: Scales) -> Tensor:
        """The sum between diagonals: ``[S, F] -> [D, F]``."""

    def sum(self, x: Tensor) -> Tensor:
        return self.scaled_sum(x, Scales())

    def mean(self, x: Tensor) -> Tensor:
        return self.scaled_sum(x, self._ready("mean", x))

    def gcn(self, x: Tensor, norm: Norm = "symmetric") -> Tensor:
        return self.scaled_sum(x, self._ready(norm, x))

    def prepare(self, aggregation: str, like: Tensor) -> None:
        """Compute what an aggregation (``mean``, ``gcn:symmetric``, ...) scales by, ahead of its use.

        Raises:
            InputError: the weights do not admit it.
        """
        name, _, norm = aggregation.partition(":")
        if name == "mean":
            self._ready("mean", like)
        elif name == "gcn":
            self._ready("out-in" if norm == "out-in" else "symmetric", like)

    def _ready(self, kind: Literal["mean", "symmetric", "out-in"], x: Tensor) -> Scales:
        dtype = summed(x.dtype)
        key = kind, dtype, x.device
        if key not in self._scales:
            made = Scales(row=self._inverse_weight()) if kind == "mean" else self._gcn_scales(kind)
            parts = (made.row, made.column, made.halo, made.own)
            self._scales[key] = Scales(
                *(None if part is None else part.to(x.device, dtype) for part in parts)
            )
        return self._scales[key]

    def _gcn_scales(self, norm: Norm) -> Scales:
        rows = self.output_ids.numel()
        receiver, sender = self.degrees.scales(norm, self.input_ids)
        halo = None if self.halo_degrees is None else self.halo_degrees.scales(norm, self.halo_ids)[1]
        own = self.degrees.added_loop[:rows] * sender[:rows] * receiver[:rows]
        return Scales(receiver[:rows], sender, halo, own)

    def _inverse_weight(self) -> Tensor:
        if bool((self.in_weight < 0).any()):
            row = int(torch.nonzero(self.in_weight < 0)[0])
            raise InputError(
                "mean aggregation needs in-edges whose weights add up to more than 0, but node "
                f"{int(self.output_ids[row])} has a negative sum: use sum or other weights"
            )
        return torch.where(self.in_weight > 0, 1 / self.in_weight.clamp(min=1e-300), 0.0)


def scaled(x: Tensor, own: Tensor | None) -> Tensor | None:
    """``own * x`` by rows, in the type of ``x``: what a sum starts from; None where that is 0."""
    return None if own is None else x * own.to(x)[:, None]


class LocalBlock(ScaledBlock):
    """A block whose edges and rows all lie on this device: a whole graph, or a minibatch layer.

    Args:
        csr: ``[D, S]``; destinations are the first D sources.
        input_ids: see :class:`Block`.
        degrees: of the S source rows.
        symmetric: the matrix equals its transpose.
        in_weight: see :class:`gcnsys.kernels.block.ScaledBlock`; None: that of the edges that are here.

    Attributes:
        over_ranks: adds statistics up where others compute other rows of the same step; None: nobody does.
    """

    over_ranks: Callable[[Tensor], Tensor] | None = None

    def __init__(
        self, csr: CSR, input_ids: Tensor, degrees: Degrees, *, symmetric: bool = False,
        in_weight: Tensor | None = None,
    ) -> None:  # fmt: skip
        in_weight = csr.row_sums() if in_weight is None else in_weight
        super().__init__(input_ids, input_ids[: csr.num_rows], in_weight, degrees)
        self.matrix = Matrix(csr, symmetric=symmetric)
        self._edges: dict[bool, Edges] = {}

    @classmethod
    def from_graph(cls, graph: Graph) -> "LocalBlock":
        """A whole graph on one device."""
        ids = torch.arange(graph.num_nodes)
        return cls(graph.adjacency, ids, Degrees.of(graph), symmetric=graph.is_symmetric)

    def to(self, device: torch.device) -> Self:
        """The same block for rows in another memory."""
        if self.input_ids.device == device:
            return self
        other = copy.copy(self)
        other.input_ids, other.output_ids = self.input_ids.to(device), self.output_ids.to(device)
        other.matrix, other._edges = self.matrix.to(device), {}
        return other

    def scaled_sum(self, x: Tensor, scales: Scales) -> Tensor:
        return scaled_sum(self.matrix, x, scales)

    def gather(self, x: Tensor) -> Tensor:
        return x

    def reached(self, x: Tensor) -> Reached:
        return Reached(x)

    def edges(self, *, loops: bool = False) -> Edges:
        if loops not in self._edges:
            csr, symmetric = self.matrix.csr, self.matrix.symmetric
            self._edges[loops] = Edges(csr.looped() if loops else csr, symmetric=symmetric)
        return self._edges[loops]

    @property
    def gathered_ids(self) -> Tensor:
        return self.input_ids

    def total(self, x: Tensor) -> Tensor:
        return x if self.over_ranks is None else self.over_ranks(x)


def scaled_sum(matrix: Matrix, x: Tensor, scales: Scales) -> Tensor:
    """``y = R A C x + O x`` with the diagonals of :class:`Scales`, differentiable in x."""
    out: Tensor = _ScaledSum.apply(x, matrix, scales)
    return out


class _ScaledSum(torch.autograd.Function):
    """``y = R A C x + O x`` with diagonals R, C, O; the gradient is ``C A^T R g + O g``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Matrix, scales: Scales) -> Tensor:
        ctx.matrix, ctx.scales = matrix, scales
        start = scaled(x[: matrix.csr.num_rows], scales.own)
        return matrix.times(x, start, row_scale=scales.row, column_scale=scales.column)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        matrix, scales = ctx.matrix, ctx.scales
        found = matrix.transpose_times(grads[0], row_scale=scales.row, column_scale=scales.column)
        own = scaled(grads[0], scales.own)
        if own is not None:
            found[: own.shape[0]] += own
        return found, None, None
