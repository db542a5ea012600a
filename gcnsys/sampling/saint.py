r"""GraphSAINT (Zeng et al., ICLR 2020): subgraphs whose sums are normalised by how likely they were.

A node v is in a sample with probability p(v), both ends of an edge u -> v with p(u, v). Given that v is
there, its neighbour u counts for p(v) / p(u, v), and v itself for 1 / p(v) in the loss (section 3.2): both
are right on average. For nodes and edges that are drawn independently both probabilities have a closed form,
which is used; for walks they are counted in samples that are drawn beforehand, as published.

Letters: N nodes and E edges of the graph, t draws.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from gcnsys.graph import located
from gcnsys.kernels.neighbours import renumbered
from gcnsys.kernels.sampled import SampledBlock
from gcnsys.sampling.api import Moment, Sample, Sampler, Standard, samplers
from gcnsys.sampling.layer_wise import Shares
from gcnsys.sampling.neighbourhood import Neighbourhood, held_whole

_PRESAMPLES = 50


class SaintSampler(Sampler):
    """A subgraph of drawn nodes; what differs is how they are drawn.

    Batches are drawn, too: as many as it takes to see as many nodes as there are.
    """

    covers = False

    def __init__(self, graph: Neighbourhood, standard: Standard) -> None:
        super().__init__(graph, standard)
        graph = held_whole(graph)
        self.whole = graph.graph

    def batches(self, nodes: Tensor, size: int, moment: Moment) -> Sequence[Tensor]:
        """Seeds of about ``nodes / budget`` subgraphs, whichever nodes they are."""
        count = -(-nodes.numel() // self.standard.budget)
        return [self.roots(Moment(moment.seed, moment.step * count + number)) for number in range(count)]

    def sample(self, seeds: Tensor, moment: Moment) -> Sample:
        seeds = self.checked(seeds)
        nodes = self.nodes(seeds, moment)
        found = self.graph.induced(nodes)
        csr, chance = replace(found, inverse=self._inverse[found.edges]).counted, self.chance(nodes)
        block = SampledBlock(csr, nodes, found.in_weight, None, self.graph.degrees)
        metrics = {"rows": nodes.numel(), "edges": csr.num_edges * self.standard.layers}
        return Sample((block,) * self.standard.layers, (1 / chance).to(torch.float32), metrics)

    @cached_property
    def _inverse(self) -> Tensor:
        """What each edge counts for where both its ends are, ``[E]`` float32."""
        sources, ends = self.whole.edge_index().long()
        return (self.chance(ends) / self.both(sources, ends)).to(torch.float32)

    @abstractmethod
    def roots(self, moment: Moment) -> Tensor:
        """Nodes to begin a subgraph with."""

    def nodes(self, seeds: Tensor, moment: Moment) -> Tensor:
        """The nodes of the subgraph, the seeds first."""
        return seeds

    @abstractmethod
    def chance(self, nodes: Tensor) -> Tensor:
        """p(v): how likely each node is in a subgraph, float64."""

    @abstractmethod
    def both(self, sources: Tensor, ends: Tensor) -> Tensor:
        """p(u, v): how likely both ends of every edge ``[E]`` are, float64."""


@samplers.register("saint-node")
class SaintNodeSampler(SaintSampler):
    """Nodes, drawn with repetition by their out-degrees."""

    def __init__(self, graph: Neighbourhood, standard: Standard) -> None:
        super().__init__(graph, standard)
        degree = torch.bincount(self.whole.adjacency.indices, minlength=graph.num_nodes).clamp(min=1)
        self.share = degree.double() / degree.sum()
        self._shares = Shares(self.share)

    def roots(self, moment: Moment) -> Tensor:
        return self._shares.draw(self.standard.budget, moment.generator())[0]

    def chance(self, nodes: Tensor) -> Tensor:
        return _at_least_once(self.share[nodes], self.standard.budget)

    def both(self, sources: Tensor, ends: Tensor) -> Tensor:
        first, then = self.share[sources], self.share[ends]
        return _both(first, then, torch.where(sources == ends, first, 0.0), self.standard.budget)


@samplers.register("saint-edge")
class SaintEdgeSampler(SaintSampler):
    """Edges, drawn with repetition in proportion to 1 / d(u) + 1 / d(v), and all between their ends."""

    def __init__(self, graph: Neighbourhood, standard: Standard) -> None:
        super().__init__(graph, standard)
        sources, ends = self.whole.edge_index().long()
        degree = torch.bincount(torch.cat([sources, ends]), minlength=graph.num_nodes).double()
        share = 1 / degree[sources] + 1 / degree[ends]
        self.share = share / share.sum()
        self._shares = Shares(self.share)
        self.of_node = torch.zeros(graph.num_nodes, dtype=torch.float64)
        self.of_node.index_add_(0, ends, self.share)
        self.of_node.index_add_(0, sources, torch.where(sources == ends, 0.0, self.share))

    def roots(self, moment: Moment) -> Tensor:
        edges = self._shares.draw(self.standard.budget, moment.generator())[0]
        adjacency = self.whole.adjacency
        ends = torch.searchsorted(adjacency.indptr, edges, right=True) - 1
        found: Tensor = torch.cat([adjacency.indices[edges].long(), ends]).unique()
        return found

    def chance(self, nodes: Tensor) -> Tensor:
        # A node without edges is never drawn, but may be asked for.
        chance = _at_least_once(self.of_node[nodes], self.standard.budget)
        return torch.clamp(chance, min=1e-12)

    def both(self, sources: Tensor, ends: Tensor) -> Tensor:
        first, then = self.of_node[sources], self.of_node[ends]
        # What draws both at once: the edge, and the one that goes back where there is one.
        count = self.graph.num_nodes
        back = located(sources * count + ends, ends * count + sources)
        shared = self.share + torch.where(back >= 0, self.share[back], 0.0)
        return _both(first, then, torch.where(sources == ends, first, shared), self.standard.budget)


@samplers.register("saint-walk")
class SaintWalkSampler(SaintSampler):
    """Walks of ``walk`` steps from ``budget`` nodes; probabilities are counted in 50 samples."""

    unbiased = False

    def __init__(self, graph: Neighbourhood, standard: Standard) -> None:
        super().__init__(graph, standard)
        self._nodes = torch.zeros(graph.num_nodes, dtype=torch.float64)
        self._edges = torch.zeros(self.whole.num_edges, dtype=torch.float64)
        for step in range(_PRESAMPLES):
            moment = Moment(0, -1 - step)
            nodes = self.nodes(self.roots(moment), moment)
            self._nodes[nodes] += 1
            self._edges[graph.induced(nodes).edges] += 1

    def roots(self, moment: Moment) -> Tensor:
        size = (self.standard.budget,)
        nodes = torch.randint(self.graph.num_nodes, size, generator=moment.generator())
        found: Tensor = nodes.unique()
        return found

    def nodes(self, seeds: Tensor, moment: Moment) -> Tensor:
        numbers, there, walked = moment.generator(1), seeds, []
        for _ in range(self.standard.walk):
            unit = torch.rand(there.numel(), generator=numbers, dtype=torch.float64)
            then = self.graph.step(there, unit)
            there = torch.where(then < 0, there, then)
            walked.append(there)
        found, _ = renumbered(seeds, torch.cat(walked), self.graph.num_nodes)
        return found

    def chance(self, nodes: Tensor) -> Tensor:
        return self._nodes[nodes].clamp(min=1) / _PRESAMPLES

    def both(self, sources: Tensor, ends: Tensor) -> Tensor:
        return torch.where(self._edges > 0, self._edges / _PRESAMPLES, self.chance(ends))


def _at_least_once(share: Tensor, draws: int) -> Tensor:
    """How likely something of a share is drawn at all."""
    return -torch.expm1(draws * torch.log1p(-share))


def _both(first: Tensor, then: Tensor, shared: Tensor, draws: int) -> Tensor:
    """How likely two things are drawn, ``shared`` the share of what draws both at once."""
    either = _at_least_once((first + then - shared).clamp(0, 1), draws)
    return _at_least_once(first, draws) + _at_least_once(then, draws) - either
