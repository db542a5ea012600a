"""A part layer by layer, where a layer needs only some of its rows.

Rows that more layers need come first. So the rows of a layer are the first rows of the layer before
it, a layer's graph is the head of one reordered part and shares its memory, and a layer reads its
own rows as a slice. Entries keep their order within a row: pruned or not, a row is summed in the
same order.

Letters: n inner nodes, h halo nodes, B boundary rows of the part; S rows that a layer reads, D rows
that it computes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gcnsys.partition.part import PartGraph


@dataclass(frozen=True, eq=False, slots=True)
class Need:
    """What one layer needs of a part.

    Attributes:
        num_rows: D.
        num_sources: S, at least D.
        halo_edges: ``[h]`` how many edges from each halo row end at the D rows; 0: it stays away.
        send_edges: ``[B]`` the same for boundary rows, as their receivers count.
    """

    num_rows: int
    num_sources: int
    halo_edges: Tensor
    send_edges: Tensor

    @classmethod
    def all_of(cls, part: PartGraph) -> "Need":
        """Every row."""
        halo_edges = torch.bincount(part.halo.indices, minlength=part.num_halo)
        return cls(part.num_inner, part.num_inner, halo_edges, part.plan.send_edges)

    def equals(self, other: "Need") -> bool:
        """Whether both need the same."""
        return (
            (self.num_rows, self.num_sources) == (other.num_rows, other.num_sources)
            and torch.equal(self.halo_edges, other.halo_edges.to(self.halo_edges.dtype))
            and torch.equal(self.send_edges, other.send_edges.to(self.send_edges.dtype))
        )


def layer_graphs(part: PartGraph, order: Tensor, needs: Sequence[Need]) -> tuple[PartGraph, ...]:
    """The graph of each layer; consecutive layers that need the same get the very same one.

    Args:
        part: all of it.
        order: at least ``[S]`` of the first layer: inner rows, those that more layers need first.
        needs: of each layer, the first layer's first; none needs more than the one before it.
    """
    first = needs[0]
    order = order[: first.num_sources]
    number = torch.zeros(part.num_inner, dtype=torch.int64)
    number[order] = torch.arange(order.numel())
    inner = part.inner.take_rows(order[: first.num_rows]).renumbered(number, order.numel())
    halo = part.halo.take_rows(order[: first.num_rows])
    ids, degrees = part.inner_ids[order], part.degrees.take(order)
    made: list[PartGraph] = []
    for layer, need in enumerate(needs):
        if layer > 0 and need.equals(needs[layer - 1]):
            made.append(made[-1])
            continue
        rows, sources = need.num_rows, slice(need.num_sources)
        seen, sent = need.halo_edges > 0, need.send_edges > 0
        arriving = halo.head(rows, halo.num_cols)
        if not bool(seen.all()):
            arriving = arriving.renumbered(seen.cumsum(0) - 1, int(seen.sum()))
        made.append(
            PartGraph(
                part.rank, ids[sources], part.halo_ids[seen],
                inner.head(rows, need.num_sources), arriving,
                degrees.take(sources), part.halo_degrees.take(seen),
                part.plan.restricted(number, sent, seen, need.send_edges),
                part.is_symmetric and rows == need.num_sources,
            )
        )  # fmt: skip
    return tuple(made)
