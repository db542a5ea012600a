r"""Layer-wise samplers: a layer's nodes are drawn together, so that rows do not multiply with depth.

A layer draws ``budget`` nodes, independently and with repetition, node u with probability q(u), and keeps
the edges from them. An edge of u counts for :math:`c_u / (t\,q(u))`, c the times u was drawn and t the draws:
sums are right on average (Chen et al., FastGCN, ICLR 2018, eq. 10; Zou et al., LADIES, NeurIPS 2019, eq. 5).

Letters: n nodes of a frontier, e of their in-edges, k different nodes that were drawn, N nodes of the graph.
"""

from abc import abstractmethod

import torch
from torch import Tensor

from gcnsys.graph import CSR, located
from gcnsys.sampling.api import Moment, Standard, samplers
from gcnsys.sampling.layered import Layered
from gcnsys.sampling.neighbourhood import Found, Neighbourhood, held_whole


class LayerWise(Layered):
    """Layer by layer; what differs is which nodes may be drawn, and how likely."""

    def hop(self, frontier: Tensor, layer: int, moment: Moment) -> Found:
        found = self.graph.all_of(frontier)
        nodes, inverse = self.draw(found, layer, moment)
        place = located(found.csr.indices, nodes)
        kept = place >= 0
        return Found(found.csr.keep(kept), found.in_weight, inverse=inverse[place[kept]])

    @abstractmethod
    def draw(self, found: Found, layer: int, moment: Moment) -> tuple[Tensor, Tensor]:
        """Draw a layer's nodes.

        Args:
            found: all in-edges of the frontier.
            layer: which reads the nodes that are drawn.
            moment: see :class:`Sampler`.

        Returns:
            ``[k]`` ascending ids; ``[k]`` float64, what an edge from each of them counts for.
        """


class Shares:
    """Things to draw from, each in proportion to its share.

    Args:
        share: ``[m]``, at least 0.
    """

    def __init__(self, share: Tensor) -> None:
        self.share = share.double()
        self.ends = self.share.cumsum(0)
        self.total = float(self.ends[-1]) if share.numel() else 0.0
        self._last = int(torch.nonzero(share > 0)[-1]) if self.total > 0 else -1

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw ``count`` times, with repetition.

        Returns:
            ``[k]`` ascending places that were drawn; ``[k]`` float64 times drawn over times expected.
        """
        if self._last < 0:
            return torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.float64)
        numbers = torch.rand(count, generator=generator, dtype=torch.float64)
        # Rounding may put a draw past the last place, or on one of no share.
        drawn = torch.searchsorted(self.ends, numbers * self.total, right=True).clamp_(max=self._last)
        places, times = drawn.unique(return_counts=True)
        return places, times / (count * self.share[places] / self.total)


def _squares(csr: CSR, in_weight: Tensor) -> Tensor:
    """The squares of a mean's entries, ``[e]`` float64."""
    weight = torch.ones(csr.num_edges, dtype=torch.float64) if csr.weight is None else csr.weight.double()
    below = in_weight[csr.rows().long()]
    return torch.where(below > 0, weight / below, weight).square()


@samplers.register("ladies")
class LadiesSampler(LayerWise):
    """Layer-dependent importance (Zou et al. 2019): neighbours of the frontier, by their squared weights."""

    def draw(self, found: Found, layer: int, moment: Moment) -> tuple[Tensor, Tensor]:
        csr = found.csr
        candidates, place = csr.indices.long().unique(return_inverse=True)
        squares = _squares(csr, found.in_weight)
        share = torch.zeros(candidates.numel(), dtype=torch.float64).index_add_(0, place, squares)
        places, inverse = Shares(share).draw(self.standard.budget, moment.generator(layer))
        return candidates[places], inverse


@samplers.register("fastgcn")
class FastGCNSampler(LayerWise):
    """Importance over all nodes (Chen et al. 2018, theorem 3): q(u) by the squares of column u.

    Args:
        graph: a whole one: q is a matter of all edges.
        standard: see :class:`Sampler`.
    """

    def __init__(self, graph: Neighbourhood, standard: Standard) -> None:
        super().__init__(graph, standard)
        graph = held_whole(graph)
        adjacency = graph.graph.adjacency
        squares = _squares(adjacency, graph.graph.in_degree())
        nothing = torch.zeros(graph.num_nodes, dtype=torch.float64)
        self.shares = Shares(nothing.index_add_(0, adjacency.indices.long(), squares))

    def draw(self, found: Found, layer: int, moment: Moment) -> tuple[Tensor, Tensor]:
        return self.shares.draw(self.standard.budget, moment.generator(layer))
