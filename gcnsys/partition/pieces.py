"""Assignment -> parts, reading every edge once.

Nodes are numbered anew by part, then in the part's order (:mod:`gcnsys.partition.order`). A part's
inner nodes are then one range of these positions, and its halo in ascending positions is grouped by
owner and follows each owner's order, so that both ends agree on rows without a word. A byte a node
marks the halo, so P parts cost E + P N bytes of traffic; sorting the halo instead would cost more for
any P in use. An order other than the natural one reads every inner edge once more, a part at a time.
"""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.graph import CSR, Graph, index_dtype, offsets
from gcnsys.kernels.block import Degrees
from gcnsys.partition.order import Ordered, ordered
from gcnsys.partition.part import ExchangePlan, PartGraph, TrainingCut


@dataclass(frozen=True, eq=False, slots=True)
class Halo:
    """A part's halo, as its senders need to know it.

    Attributes:
        positions: ``[h]`` in the (part, id) numbering, ascending.
        counts: P row counts, by owner.
        edges: ``[h]`` edges each row feeds.
        train, train_edges: ``[h]`` the same in the training graph, where there is one.
    """

    positions: Tensor
    counts: tuple[int, ...]
    edges: Tensor
    train: Tensor
    train_edges: Tensor


@dataclass(frozen=True, eq=False, slots=True)
class Piece:
    """A part but for its send lists, which need the halos of all others."""

    rank: int
    inner_ids: Tensor
    halo_ids: Tensor
    inner: CSR
    halo: CSR
    boundary: Halo


class Pieces:
    """The parts of one assignment, made one at a time.

    Args:
        graph: N nodes.
        assignment: ``[N]`` integers in ``[0, P)``; a part may be empty.
        num_parts: P.
        train_mask: ``[N]``; given where training is inductive.
        order: of each part's inner nodes.
        seed: of that order.
    """

    def __init__(
        self, graph: Graph, assignment: Tensor, num_parts: int, train_mask: Tensor | None = None, *,
        order: Ordered = "natural", seed: int = 0,
    ) -> None:  # fmt: skip
        if assignment.shape != (graph.num_nodes,):
            raise InputError(f"an assignment needs shape [{graph.num_nodes}], got {list(assignment.shape)}")
        if assignment.numel() and int(assignment.min()) < 0:
            raise InputError(f"an assignment names part {int(assignment.min())}; parts count from 0")
        self.graph, self.num_parts, self.train_mask = graph, num_parts, train_mask
        sizes = torch.bincount(assignment, minlength=num_parts)
        if sizes.numel() > num_parts:
            raise InputError(f"an assignment names part {sizes.numel() - 1} of {num_parts}")
        self.starts = offsets(sizes)
        self.ids = torch.argsort(assignment, stable=True)  # position -> id
        self.position = torch.empty(graph.num_nodes, dtype=index_dtype(graph.num_nodes))
        self.position[self.ids] = torch.arange(graph.num_nodes, dtype=self.position.dtype)
        if order != "natural":
            for rank in range(num_parts):
                self._reorder(rank, order, seed)
        self.degrees = Degrees.of(graph)
        self.train_degrees = self.degrees
        if train_mask is not None:
            adjacency = graph.adjacency
            both = train_mask[adjacency.rows().long()] & train_mask[adjacency.indices.long()]
            self.train_degrees = Degrees.of(Graph(adjacency.keep(both), graph.is_symmetric))
            del both
        self._mark = torch.zeros(graph.num_nodes, dtype=torch.bool)
        self._column = torch.empty_like(self.position)

    def __iter__(self) -> Iterator[Piece]:
        for rank in range(self.num_parts):
            yield self.piece(rank)

    def piece(self, rank: int) -> Piece:
        """The edges and halo of one part."""
        low, high = self._range(rank)
        inner_ids = self.ids[low:high]
        rows = self.graph.adjacency.take_rows(inner_ids)
        source, is_inner = self._located(rows, low, high)
        inner = _inner(rows, source, is_inner, low, high)
        halo = rows.keep(~is_inner)
        del rows
        remote = source[~is_inner]
        del source, is_inner
        self._mark[remote] = True
        positions = torch.nonzero(self._mark).flatten()
        self._mark[positions] = False
        self._column[positions] = torch.arange(positions.numel(), dtype=self._column.dtype)
        halo = replace(halo, indices=self._column[remote], num_cols=positions.numel())
        owner_ends = torch.searchsorted(positions, self.starts)
        counts = tuple(owner_ends.diff().tolist())
        halo_ids = self.ids[positions]
        boundary = self._boundary(inner_ids, halo_ids, halo, positions.to(self.position.dtype), counts)
        return Piece(rank, inner_ids, halo_ids, inner, halo, boundary)

    def over(self, graph: Graph) -> "Pieces":
        """The same nodes in the same orders, with other edges between them; used one at a time."""
        other = copy(self)
        other.graph, other.train_mask = graph, None
        other.degrees = other.train_degrees = Degrees.of(graph)
        return other

    def parts(self) -> list[PartGraph]:
        """All parts in memory."""
        made = list(self)
        halos = [piece.boundary for piece in made]
        return [self.part_graph(piece, self.plan(piece.rank, halos)[0]) for piece in made]

    def _range(self, rank: int) -> tuple[int, int]:
        return int(self.starts[rank]), int(self.starts[rank + 1])

    def _located(self, rows: CSR, low: int, high: int) -> tuple[Tensor, Tensor]:
        """The position of every entry's source, and whether the part owns it."""
        source = self.position[rows.indices]
        return source, (source >= low) & (source < high)

    def _reorder(self, rank: int, order: Ordered, seed: int) -> None:
        low, high = self._range(rank)
        adjacency = self.graph.adjacency
        rows = adjacency.pattern.take_rows(self.ids[low:high])
        inner = _inner(rows, *self._located(rows, low, high), low, high)
        del rows
        ids = self.ids[low:high][ordered(inner, order, is_symmetric=self.graph.is_symmetric, seed=seed)]
        self.ids[low:high] = ids
        self.position[ids] = torch.arange(low, high, dtype=self.position.dtype)

    def _boundary(
        self, inner_ids: Tensor, halo_ids: Tensor, halo: CSR, positions: Tensor, counts: tuple[int, ...]
    ) -> Halo:
        edges = torch.bincount(halo.indices, minlength=halo.num_cols)
        train, train_edges = torch.ones_like(edges, dtype=torch.bool), edges
        if self.train_mask is not None:
            receiver = self.train_mask[inner_ids][halo.rows().long()]
            both = receiver & self.train_mask[halo_ids][halo.indices.long()]
            train_edges = torch.bincount(halo.indices[both], minlength=halo.num_cols)
            train = train_edges > 0
        return Halo(positions, counts, edges, train, train_edges)

    def plan(self, rank: int, halos: Sequence[Halo]) -> tuple[ExchangePlan, Tensor, Tensor]:
        """A part's send lists, and which of the rows (and edges) its receivers train on."""
        low = int(self.starts[rank])
        cuts = [torch.tensor((0, *halo.counts)).cumsum(0)[rank : rank + 2].tolist() for halo in halos]
        rows = [halo.positions[a:b].long() - low for halo, (a, b) in zip(halos, cuts, strict=True)]
        edges = [halo.edges[a:b] for halo, (a, b) in zip(halos, cuts, strict=True)]
        sent = [halo.train[a:b] for halo, (a, b) in zip(halos, cuts, strict=True)]
        sent_edges = [halo.train_edges[a:b] for halo, (a, b) in zip(halos, cuts, strict=True)]
        counts = tuple(piece.numel() for piece in rows)
        plan = ExchangePlan(torch.cat(rows), counts, halos[rank].counts, torch.cat(edges))
        return plan, torch.cat(sent), torch.cat(sent_edges)

    def part_graph(self, piece: Piece, plan: ExchangePlan) -> PartGraph:
        """A piece and its plan, with degrees."""
        degrees, halo_degrees = self.degrees.take(piece.inner_ids), self.degrees.take(piece.halo_ids)
        return PartGraph(
            piece.rank, piece.inner_ids, piece.halo_ids, piece.inner, piece.halo,
            degrees, halo_degrees, plan, self.graph.is_symmetric,
        )  # fmt: skip

    def training_cut(self, piece: Piece, sent: Tensor, sent_edges: Tensor) -> TrainingCut:
        """What is needed to induce the training graph from this part."""
        assert self.train_mask is not None
        return TrainingCut(
            self.train_mask[piece.inner_ids], piece.boundary.train, sent, sent_edges,
            self.train_degrees.take(piece.inner_ids), self.train_degrees.take(piece.halo_ids),
        )  # fmt: skip


def _inner(rows: CSR, source: Tensor, is_inner: Tensor, low: int, high: int) -> CSR:
    kept = rows.keep(is_inner)
    return replace(kept, indices=source[is_inner] - low, num_cols=high - low)


def cut(
    graph: Graph, assignment: Tensor, num_parts: int | None = None, *, order: Ordered = "natural"
) -> list[PartGraph]:
    """Cut a graph by an assignment; all parts in memory.

    Args:
        graph: of N nodes.
        assignment: ``[N]`` integers, the part of every node, from 0.
        num_parts: P; None: as many as the assignment names.
        order: of each part's nodes; changes no result.

    Raises:
        InputError: the assignment does not fit the graph or P.

    Example:
        >>> from gcnsys.graph import toy
        >>> [part.num_halo for part in cut(toy.bridge(), torch.tensor([0, 0, 0, 1, 1, 1]))]
        [1, 1]
    """
    count = num_parts if num_parts is not None else int(assignment.max()) + 1
    return Pieces(graph, assignment, count, order=order).parts()
