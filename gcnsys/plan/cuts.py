"""What each rank gets: from a partitioning, or before there is one, from a graph's counts.

Before a graph is cut, the halo is drafted. A random cut into P parts copies a node of degree d to

.. math:: (P - 1) (1 - (1 - 1/P)^d)

other parts in expectation, which grows more slowly than d does: with the mean degree for d this is the most a
random cut can give. METIS leaves a share of it: 0.59 to 0.70 in three published cuts of Reddit (P = 2, 3 and
4), 0.14 to 0.17 in three of ogbn-products (Bajaj's logs of BNS-GCN). :data:`KEPT` is their geometric mean,
rounded; it is off by a factor of about two on either. The largest halo of a part was 1.09 to 1.21 times the
mean there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.partition import PartGraph, Partitioning
from gcnsys.partition.costs import Hop, Load, loads
from gcnsys.partition.layers import Need
from gcnsys.plan.job import Job
from gcnsys.runtime.receptive_field import receptive_fields
from gcnsys.train.view import WORTHWHILE, prunes

KEPT = 0.3
"""The share of a random cut's halo that METIS leaves."""

SPREAD = 1.2
"""The largest halo over the mean one."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A graph in parts.

    Attributes:
        name: of the graph.
        loads: one a rank.
        drafted: they follow from counts, not from a cut.
    """

    name: str
    loads: tuple[Load, ...]
    drafted: bool

    @property
    def num_parts(self) -> int:
        """How many parts there are, P."""
        return len(self.loads)

    @classmethod
    def of(cls, partitioning: Partitioning, job: Job) -> "Cut":
        """That of a partitioning, as a job trains on it: rows are left out where the trainer would.

        Where rows may be left out, all parts are read.
        """
        manifest = partitioning.manifest
        found = loads(manifest)
        # Every layer computes the training nodes at least.
        trained = manifest.num_train / manifest.num_nodes
        least = WORTHWHILE if job.config.prune == "auto" else 0.0
        if prunes(job.config.prune, job.model) and not manifest.inductive and 1 - trained > least:
            parts = [partitioning.part(rank) for rank in range(manifest.num_parts)]
            fields = receptive_fields(
                [part.whole for part in parts], [part.nodes.train_mask for part in parts],
                job.model.num_blocks,
            )  # fmt: skip
            if fields[0].saved > least:
                found = [
                    replace(load, hops=tuple(_hop(part.whole, field.order, need) for need in field.needs))
                    for load, part, field in zip(found, parts, fields, strict=True)
                ]
        return cls(manifest.dataset, tuple(found), drafted=False)


@dataclass(frozen=True, slots=True)
class Counts:
    """A graph that is not cut.

    Attributes:
        name: for people.
        nodes: N.
        edges: directed.
        node_bytes: of a node's features, labels and masks on disk.
        flipped_bytes: of its sparse features by column; 0: they are dense.
    """

    name: str
    nodes: int
    edges: int
    node_bytes: float
    flipped_bytes: float = 0.0

    def halo_ratio(self, parts: int) -> float:
        """Halo nodes an inner node, by the rule above."""
        degree = self.edges / self.nodes
        return KEPT * (parts - 1) * -math.expm1(degree * math.log1p(-1 / parts)) if parts > 1 else 0.0

    def cut(self, parts: int, ratio: float | None = None) -> Cut:
        """A draft of a cut: all parts alike, but one of a larger halo.

        Args:
            parts: P.
            ratio: mean of halo nodes an inner node; None: by the rule above.

        Raises:
            InputError: more parts than nodes.
        """
        if not 1 <= parts <= self.nodes:
            raise InputError(f"--parts {parts}: {self.name} has {self.nodes:,} nodes; ask for 1 to so many")
        inner = -(-self.nodes // parts)
        mean = self.halo_ratio(parts) if ratio is None else ratio * (parts > 1)
        loads = []
        for rank in range(parts):
            wanted = mean * (SPREAD if rank == 0 else (parts - SPREAD) / max(1, parts - 1))
            loads.append(self._load(rank, parts, inner, round(inner * wanted)))
        return Cut(self.name, tuple(loads), drafted=True)

    def _load(self, rank: int, parts: int, inner: int, halo: int) -> Load:
        halo = min(halo, self.nodes - inner)
        edges = round(self.edges / self.nodes * inner)
        # A halo row feeds as many edges, at most, as a share of a random cut's would.
        outside = min(edges, round(edges * KEPT * (1 - 1 / parts)) if parts > 1 else 0)
        outside = max(outside, min(halo, edges))
        # As graph, exchange and nodes are written: ids and degrees, row starts, columns, rows to send.
        files = 32 * (inner + halo) + 16 * (inner + 1) + 4 * edges + 16 * halo + inner * self.node_bytes
        others = [0 if peer == rank else 1 for peer in range(parts)]
        each = [halo // max(1, parts - 1) * other for other in others]
        hop = Hop(inner, edges - outside, outside, tuple(each), tuple(each))
        return Load(
            inner, halo, halo, edges - outside, outside, round(files), (hop,),
            round(inner * self.flipped_bytes),
        )  # fmt: skip


def _hop(part: PartGraph, order: Tensor, need: Need) -> Hop:
    rows = order[: need.num_rows]
    return Hop(
        need.num_rows, int(part.inner.indptr.diff()[rows].sum()), int(need.halo_edges.sum()),
        _by_rank(need.send_edges, part.plan.send_counts), _by_rank(need.halo_edges, part.plan.recv_counts),
        need.num_sources,
    )  # fmt: skip


def _by_rank(edges: Tensor, counts: Sequence[int]) -> tuple[int, ...]:
    """How many rows of each rank feed any edge."""
    return tuple(int((piece > 0).sum()) for piece in edges.split(list(counts)))
