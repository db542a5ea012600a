"""Which rows the wanted rows depend on, layer by layer, over all ranks.

Seen from the last layer: its rows are the wanted ones; the rows before a layer are its own rows and
those that its edges bring. What lies beyond is multiplied by zero gradients and looked at by nobody,
so it need not be computed. A halo row that a rank needs has to be computed by its owner: ranks tell
each other how many of their edges each row feeds, one number a halo row and layer, along the plan by
which the rows themselves will come.

Letters: n inner nodes, L layers.
"""

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
    rows, edges = [wanted], []
    for _ in range(depth):
        halo_edges = _entries(part.halo, rows[-1])
        asked = comm.swap(halo_edges, part.plan.recv_counts, part.plan.send_counts).land()
        before = rows[-1] | (_entries(part.inner, rows[-1]) > 0)
        before[part.plan.send_rows[asked > 0]] = True
        rows.append(before)
        edges.append((halo_edges, asked))
    order = torch.argsort(torch.stack(rows).sum(0), descending=True, stable=True)
    sizes = [int(mask.sum()) for mask in rows]
    needs = [Need(*size, *edge) for size, edge in zip(pairwise(sizes), edges, strict=True)]
    computed = comm.add(torch.tensor([part.num_inner, *sizes[:depth]]), "control").tolist()
    return ReceptiveField(order, tuple(needs[::-1]), tuple(computed[:0:-1]), computed[0])


def _entries(csr: CSR, rows: Tensor) -> Tensor:
    """How many entries each column has in the rows under a mask, ``[K]`` int32."""
    inside = torch.repeat_interleave(rows, csr.indptr.diff(), output_size=csr.num_edges)
    return torch.bincount(csr.indices[inside], minlength=csr.num_cols).to(torch.int32)
