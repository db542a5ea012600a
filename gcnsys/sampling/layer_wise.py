r"""Layer-wise samplers: a layer's nodes are drawn together, so that rows do not multiply with depth.

A layer draws ``budget`` nodes, independently and with repetition, node u with probability q(u), and keeps
the edges from them. An edge of u counts for :math:`c_u / (t\,q(u))`, c the times u was drawn and t the draws:
sums are right on average (Chen et al., FastGCN, ICLR 2018, eq. 10; Zou et al., LADIES, NeurIPS 2019, eq. 5).

Letters: n nodes of a frontier, e of their in-edges, k different nodes that were drawn, N nodes of the graph.
"""

from dataclasses import replace

import torch
from torch import Tensor

from gcnsys.graph import CSR, located
from gcnsys.kernels.ids import renumbered
from gcnsys.sampling.api import Moment, Standard, samplers
from gcnsys.sampling.layered import Layered
from gcnsys.sampling.neighbourhood import Found, Neighbourhood, own_nodes
from gcnsys.sampling.shares import CommonShares, Shares


def _squares(csr: CSR, in_weight: Tensor) -> Tensor:
    """The squares of a mean's entries, ``[e]`` float64."""
    weight = torch.ones(csr.num_edges, dtype=torch.float64) if csr.weight is None else csr.weight.double()
    below = in_weight[csr.rows().long()]
    return torch.where(below > 0, weight / below, weight).square()


@samplers.register("ladies")
class LadiesSampler(Layered):
    """Layer-dependent importance (Zou et al. 2019): neighbours of the frontier, by their squared weights."""

    prefers = True

    def hop(self, frontier: Tensor, layer: int, moment: Moment) -> Found:
        found = self.graph.all_of(frontier)
        candidates, place = renumbered(frontier[:0], found.csr.indices, self.graph.num_nodes)
        share, place = torch.zeros(candidates.numel(), dtype=torch.float64), place.long()
        share.index_add_(0, place, _squares(found.csr, found.in_weight))
        if self.standard.preference is not None:
            share *= self.graph.rows(candidates, self.standard.preference)
        drawn, times = Shares(share).draw(self.standard.budget, moment.generator(layer))
        inverse = torch.zeros_like(share).index_copy_(0, drawn, times)[place]
        kept = inverse > 0
        return Found(found.csr.keep(kept), found.in_weight, inverse=inverse[kept])


@samplers.register("fastgcn")
class FastGCNSampler(Layered):
    """Importance over all nodes (Chen et al. 2018, theorem 3): q(u) by the squares of column u."""

    prefers = True

    def __init__(self, graph: Neighbourhood, standard: Standard) -> None:
        super().__init__(graph, standard)
        adjacency = graph.adjacency()
        share = graph.to_sources(_squares(adjacency, adjacency.row_sums()))
        self.share = share if standard.preference is None else share * standard.preference
        self.shares = CommonShares(graph, self.share, own_nodes(graph)[:, None])

    def hop(self, frontier: Tensor, layer: int, moment: Moment) -> Found:
        drawn = self.shares.draw(self.standard.budget, moment.generator(layer))[:, 0]
        nodes, times = drawn.unique_consecutive(return_counts=True)
        expected = self.standard.budget * self.graph.rows(nodes, self.share) / max(self.shares.total, 1e-300)
        found = self.graph.between(frontier, nodes)
        return replace(found, inverse=(times / expected)[located(found.csr.indices, nodes)])
