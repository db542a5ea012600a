"""One rank's share of the graph, with its halo.

Letters: n inner nodes, h halo nodes, B boundary rows to all peers, P parts.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gcnsys.graph import CSR
from gcnsys.kernels import SparseRows
from gcnsys.kernels.block import Degrees


@dataclass(frozen=True, eq=False, slots=True)
class ExchangePlan:
    """Who sends which rows to whom; fixed once the graph is cut.

    Attributes:
        send_rows: ``[B]`` int64 inner rows to send, grouped by receiver, in the part's order within a
            group: the receiver's halo rows of this sender, in the same order.
        send_counts: P row counts; how ``send_rows`` is cut. Zero for oneself.
        recv_counts: P row counts; how the halo is cut by owner.
        send_edges: ``[B]`` int64, how many edges of the receiver each row feeds.
    """

    send_rows: Tensor
    send_counts: tuple[int, ...]
    recv_counts: tuple[int, ...]
    send_edges: Tensor

    @property
    def num_halo(self) -> int:
        """h, rows that arrive."""
        return sum(self.recv_counts)

    def restricted(
        self, number: Tensor, sent: Tensor, received: Tensor, send_edges: Tensor
    ) -> "ExchangePlan":
        """The plan for some of the rows.

        Args:
            number: ``[n]`` what each inner row is called from now on.
            sent: ``[B]`` bool: boundary rows that are still sent.
            received: ``[h]`` bool: halo rows that still arrive.
            send_edges: ``[B]`` how many edges of the receiver each row still feeds.
        """
        return ExchangePlan(
            number[self.send_rows[sent]],
            _counts(sent, self.send_counts),
            _counts(received, self.recv_counts),
            send_edges[sent],
        )


@dataclass(frozen=True, eq=False, slots=True)
class PartGraph:
    """The edges that end at a rank's inner nodes, and how to fill the halo they start from.

    A pruned layer (:mod:`gcnsys.partition.layers`) is one, too: of its n inner rows it computes the
    first d. Elsewhere d is n.

    Attributes:
        rank: which part this is.
        inner_ids: ``[n]`` int64 global ids, in the part's order (:mod:`gcnsys.partition.order`).
        halo_ids: ``[h]`` int64 global ids, by owner, then in the owner's order.
        inner: ``[d, n]`` edges between inner nodes.
        halo: ``[d, h]`` edges from halo nodes.
        degrees: of the inner nodes, in the whole graph.
        halo_degrees: of the halo nodes, in the whole graph.
        plan: how to fill the halo.
        is_symmetric: whether ``inner`` equals its transpose.
    """

    rank: int
    inner_ids: Tensor
    halo_ids: Tensor
    inner: CSR
    halo: CSR
    degrees: Degrees
    halo_degrees: Degrees
    plan: ExchangePlan
    is_symmetric: bool

    @property
    def num_parts(self) -> int:
        """How many parts there are, P."""
        return len(self.plan.send_counts)

    @property
    def num_inner(self) -> int:
        """Its inner nodes, n."""
        return self.inner_ids.numel()

    @property
    def num_halo(self) -> int:
        """Its halo nodes, h."""
        return self.halo_ids.numel()


@dataclass(frozen=True, eq=False, slots=True)
class TrainingCut:
    """What a rank must know to induce its training graph from its part.

    Attributes:
        inner: ``[n]`` bool: training nodes.
        halo: ``[h]`` bool: training nodes with an edge to an inner training node.
        sent: ``[B]`` bool: boundary rows in the receiver's training halo.
        sent_edges: ``[B]`` int64: how many of its training edges each feeds.
        degrees, halo_degrees: in the whole training graph.
    """

    inner: Tensor
    halo: Tensor
    sent: Tensor
    sent_edges: Tensor
    degrees: Degrees
    halo_degrees: Degrees


def induced(part: PartGraph, cut: TrainingCut) -> PartGraph:
    """The part of the training graph: training nodes and the edges between them."""
    rows = torch.nonzero(cut.inner).flatten()
    halo_rows = torch.nonzero(cut.halo).flatten()
    inner = _restricted(part.inner, rows, cut.inner)
    halo = _restricted(part.halo, rows, cut.halo)
    plan = part.plan.restricted(cut.inner.cumsum(0) - 1, cut.sent, cut.halo, cut.sent_edges)
    return PartGraph(
        part.rank, part.inner_ids[rows], part.halo_ids[halo_rows], inner, halo,
        cut.degrees.take(rows), cut.halo_degrees.take(halo_rows), plan, part.is_symmetric,
    )  # fmt: skip


def _restricted(csr: CSR, rows: Tensor, columns: Tensor) -> CSR:
    taken = csr.take_rows(rows)
    taken = taken.keep(columns[taken.indices])
    return taken.renumbered(columns.cumsum(0) - 1, int(columns.sum()))


def _counts(mask: Tensor, counts: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(piece.sum()) for piece in torch.split(mask, list(counts)))


@dataclass(frozen=True, eq=False, slots=True)
class NodeData:
    """What a rank knows of its inner nodes.

    Attributes:
        x: ``[n, F]`` features.
        y: ``[n]`` int64, -1 for "no label", or ``[n, C]`` bool.
        train_mask, val_mask, test_mask: ``[n]`` bool.
        kinds: ``[n]`` int32; None: all nodes are of one kind.
    """

    x: Tensor | SparseRows
    y: Tensor
    train_mask: Tensor
    val_mask: Tensor
    test_mask: Tensor
    kinds: Tensor | None = None

    def take(self, rows: Tensor) -> "NodeData":
        """That of the given rows, in the given order."""
        x = self.x.take_rows(rows) if isinstance(self.x, SparseRows) else self.x[rows]
        kinds = None if self.kinds is None else self.kinds[rows]
        masks = self.train_mask[rows], self.val_mask[rows], self.test_mask[rows]
        return NodeData(x, self.y[rows], *masks, kinds)

    @property
    def scored(self) -> Tensor:
        """``[n]`` bool: nodes under any of the masks."""
        return self.train_mask | self.val_mask | self.test_mask


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """Everything one rank holds.

    Attributes:
        whole: its share of the whole graph, for evaluation.
        training: its share of the graph that is trained on: ``whole`` itself, or (inductive) the
            subgraph of training nodes.
        training_rows: ``[n_train]`` rows of ``whole`` that are the inner rows of ``training``;
            None where they are all.
        nodes: of the inner nodes of ``whole``.
        links: its share of the links that were held out, between the same inner nodes and others; None: nodes
            are what is learnt.
    """

    whole: PartGraph
    training: PartGraph
    training_rows: Tensor | None
    nodes: NodeData
    links: PartGraph | None = None

    @property
    def rank(self) -> int:
        """Whose part it is."""
        return self.whole.rank
