"""Which rows the wanted rows depend on, layer by layer, over all ranks.

Seen from the last layer: its rows are the wanted ones; the rows before a layer are its own rows and
those that its edges bring. What lies beyond is multiplied by zero gradients and looked at by nobody,
so it need not be computed. A halo row that a rank needs has to be computed by its owner: ranks tell
each other how many of their edges each row feeds, one number a halo row and layer, along the plan by
which the rows themselves will come.

Letters: n inner nodes, L layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from gcnsys.graph import CSR
from gcnsys.partition import PartGraph
from gcnsys.partition.layers import Need
from gcnsys.runtime.comm import Comm


@dataclass(frozen=True, eq=False, slots=True)
class ReceptiveField:
    """What each layer needs of this rank's part.

    Attributes:
        order: ``[n]`` inner rows, those that more layers need first, then by id.
        needs: one a layer, the first layer's first.
        computed: rows that each layer computes, summed over ranks.
        total: rows of the graph.
    """

    order: Tensor
    needs: tuple[Need, ...]
    computed: tuple[int, ...]
    total: int

    @property
    def saved(self) -> float:
        """The share of all layers' rows that need not be computed."""
        return 1 - sum(self.computed) / max(1, len(self.computed) * self.total)


def receptive_field(part: PartGraph, wanted: Tensor, depth: int, comm: Comm) -> ReceptiveField:
    """Follow the wanted rows back through the layers; collective.

    Args:
        part: this rank's share.
        wanted: ``[n]`` bool: rows of the last layer that are looked at.
        depth: L, how many layers aggregate.
        comm: the ranks, in the order of the parts.
    """
    growth = _Growth(part, wanted)
    for _ in range(depth):
        halo_edges = growth.halo_edges()
        asked = comm.swap(halo_edges, part.plan.recv_counts, part.plan.send_counts).land()
        growth.grow(halo_edges, asked)
    computed = comm.add(torch.tensor([part.num_inner, *growth.sizes[:depth]]), "control").tolist()
    return growth.field(computed)


def receptive_fields(
    parts: Sequence[PartGraph], wanted: Sequence[Tensor], depth: int
) -> list[ReceptiveField]:
    """Those of all parts in one process, as :func:`receptive_field` finds them.

    Args:
        parts: every rank's share.
        wanted: of each, ``[n]`` bool.
        depth: L.
    """
    growths = [_Growth(part, mask) for part, mask in zip(parts, wanted, strict=True)]
    for _ in range(depth):
        found = [growth.halo_edges() for growth in growths]
        told = [edges.split(list(part.plan.recv_counts)) for edges, part in zip(found, parts, strict=True)]
        for rank, growth in enumerate(growths):
            growth.grow(found[rank], torch.cat([of[rank] for of in told]))
    sizes = [[growth.part.num_inner, *growth.sizes[:depth]] for growth in growths]
    computed = torch.tensor(sizes).sum(0).tolist()
    return [growth.field(computed) for growth in growths]


class _Growth:
    """A part's rows, a hop more each time.

    Args:
        part: the rank's share.
        wanted: ``[n]`` bool: rows of the last layer that are looked at.
    """

    def __init__(self, part: PartGraph, wanted: Tensor) -> None:
        self.part, self.rows = part, [wanted]
        self.edges: list[tuple[Tensor, Tensor]] = []

    @property
    def sizes(self) -> list[int]:
        """How many rows there were before each hop, and are now."""
        return [int(mask.sum()) for mask in self.rows]

    def halo_edges(self) -> Tensor:
        """``[h]`` how many edges of the rows so far each halo row feeds."""
        return _entries(self.part.halo, self.rows[-1])

    def grow(self, halo_edges: Tensor, asked: Tensor) -> None:
        """Add the rows that those so far aggregate from.

        Args:
            halo_edges: what :meth:`halo_edges` says.
            asked: ``[B]`` what the others say of this rank's boundary rows.
        """
        before = self.rows[-1] | (_entries(self.part.inner, self.rows[-1]) > 0)
        before[self.part.plan.send_rows[asked > 0]] = True
        self.rows.append(before)
        self.edges.append((halo_edges, asked))

    def field(self, computed: Sequence[int]) -> ReceptiveField:
        """What it came to; ``computed`` are the nodes, then each layer's rows, the last one's first."""
        order = torch.argsort(torch.stack(self.rows).sum(0), descending=True, stable=True)
        needs = [Need(*size, *edge) for size, edge in zip(pairwise(self.sizes), self.edges, strict=True)]
        return ReceptiveField(order, tuple(needs[::-1]), tuple(computed[:0:-1]), computed[0])


def _entries(csr: CSR, rows: Tensor) -> Tensor:
    """How many entries each column has in the rows under a mask, ``[K]`` int32."""
    inside = torch.repeat_interleave(rows, csr.indptr.diff(), output_size=csr.num_edges)
    return torch.bincount(csr.indices[inside], minlength=csr.num_cols).to(torch.int32)
