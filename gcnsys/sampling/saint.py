r"""GraphSAINT (Zeng et al., ICLR 2020): subgraphs whose sums are normalised by how likely they were.

A node v is in a sample with probability p(v), both ends of an edge u -> v with p(u, v). Given that v is
there, its neighbour u counts for p(v) / p(u, v), and v itself for 1 / p(v) in the loss (section 3.2): both
are right on average. For nodes and edges that are drawn independently both probabilities have a closed form,
which is used; for walks they are counted in samples that are drawn beforehand, as published.

Letters: N nodes and E edges of the graph, n' and E' of them held here, t draws.
"""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.graph import ascending
from gcnsys.kernels.ids import renumbered
from gcnsys.kernels.sampled import SampledBlock
from gcnsys.sampling.api import Moment, Sample, Sampler, Standard, samplers
from gcnsys.sampling.neighbourhood import Neighbourhood, own_nodes
from gcnsys.sampling.shares import CommonShares

_PRESAMPLES = 50
_LEAST = 1e-12
"""The probability of what is never drawn, but may be asked for."""


class SaintSampler(Sampler):
    """A subgraph of drawn nodes; what differs is how they are drawn.

    Batches are drawn, too: as many as it takes to see as many nodes as there are. Over ranks each draws a
    subgraph of its own, anywhere in the graph.

    Attributes:
        adjacency: ``[n', N]`` the edges that end at this process's nodes.
        chance: ``[n']`` p(v) of those nodes, float64.
    """

    covers = False
    prefers = True

    chance: Tensor

    def __init__(self, graph: Neighbourhood, standard: Standard) -> None:
        super().__init__(graph, standard)
        self.adjacency = graph.adjacency()
        self._inverse: Tensor | None = None

    def batches(self, nodes: Tensor, size: int, moment: Moment) -> Sequence[Tensor]:
        """Seeds of about ``nodes / budget`` subgraphs, whichever nodes they are."""
        count = -(-nodes.numel() // self.standard.budget)
        return [self.roots(Moment(moment.seed, moment.step * count + number)) for number in range(count)]

    def sample(self, seeds: Tensor, moment: Moment) -> Sample:
        seeds = self.checked(seeds)
        nodes = self.nodes(seeds, moment)
        found, chance = self.graph.induced(nodes, self.inverse()), self.graph.rows(nodes, self.chance)
        csr = found.counted
        block = SampledBlock(csr, nodes, found.in_weight, None, self.graph.degrees)
        metrics = {"rows": nodes.numel(), "edges": csr.num_edges * self.standard.layers}
        return Sample((block,) * self.standard.layers, (1 / chance).to(torch.float32), metrics)

    def inverse(self) -> Tensor:
        """What each edge counts for where both its ends are, ``[E']`` float32."""
        if self._inverse is None:
            # No cached_property: those of Python 3.11 lock out other threads, which may be other ranks.
            both = self.both()
            both = torch.where(both > 0, both, _LEAST)  # of no edge that is drawn
            self._inverse = (self.chance[self.ends] / both).to(torch.float32)
        return self._inverse

    @cached_property
    def ends(self) -> Tensor:
        """Which of this process's nodes each edge ends at, ``[E']``."""
        return self.adjacency.rows().long()

    @property
    def loops(self) -> Tensor:
        """Which edges start where they end, ``[E']`` bool."""
        return self.adjacency.indices == self.ends + self.graph.own.start

    def generator(self, moment: Moment) -> torch.Generator:
        """Of draws that shall differ from one rank to another."""
        return moment.generator(self.graph.own.start)

    @abstractmethod
    def roots(self, moment: Moment) -> Tensor:
        """Nodes to begin a subgraph with."""

    def nodes(self, seeds: Tensor, moment: Moment) -> Tensor:
        """The nodes of the subgraph, the seeds first."""
        return seeds

    @abstractmethod
    def both(self) -> Tensor:
        """p(u, v): how likely both ends of every edge are, ``[E']`` float64."""


@samplers.register("saint-node")
class SaintNodeSampler(SaintSampler):
    """Nodes, drawn with repetition by their out-degrees, or by a preference (as in GNNSampler)."""

    def __init__(self, graph: Neighbourhood, standard: Standard) -> None:
        super().__init__(graph, standard)
        share = standard.preference
        if share is None:
            share = graph.to_sources(torch.ones(self.adjacency.num_edges)).clamp(min=1)
        self._shares = CommonShares(graph, share, own_nodes(graph)[:, None])
        self.share = share / self._shares.total
        self.chance = _at_least_once(self.share, standard.budget).clamp(min=_LEAST)

    def roots(self, moment: Moment) -> Tensor:
        found: Tensor = self._shares.draw(self.standard.budget, self.generator(moment))[
            :, 0
        ].unique_consecutive()
        return found

    def both(self) -> Tensor:
        first, then = self.graph.by_source(self.share), self.share[self.ends]
        return _both(first, then, torch.where(self.loops, first, 0.0), self.standard.budget)


@samplers.register("saint-edge")
class SaintEdgeSampler(SaintSampler):
    """Edges, drawn with repetition in proportion to 1 / d(u) + 1 / d(v), and all between their ends."""

    def __init__(self, graph: Neighbourhood, standard: Standard) -> None:
        super().__init__(graph, standard)
        adjacency, ends = self.adjacency, self.ends
        if bool(graph.all_say(float(adjacency.repeated.any())).any()):
            raise InputError(
                "saint-edge draws pairs of nodes, and some are joined by edges of several kinds: leave "
                "edge_type out, or draw by another sampler"
            )
        degree = graph.to_sources(torch.ones(adjacency.num_edges)) + adjacency.indptr.diff()
        share = 1 / graph.by_source(degree) + 1 / degree[ends]
        if standard.preference is not None:
            share *= graph.by_source(standard.preference) * standard.preference[ends]
        pairs = torch.stack([adjacency.indices.long(), ends + graph.own.start], 1)
        self._shares = CommonShares(graph, share, pairs)
        self.share = share / self._shares.total
        self.of_node = graph.to_sources(torch.where(self.loops, 0.0, self.share))
        self.of_node.index_add_(0, ends, self.share)
        self.chance = _at_least_once(self.of_node, standard.budget).clamp(min=_LEAST)

    def roots(self, moment: Moment) -> Tensor:
        ends = self._shares.draw(self.standard.budget, self.generator(moment)).flatten()
        found: Tensor = ascending(ends).unique_consecutive()
        return found

    def both(self) -> Tensor:
        first, then = self.graph.by_source(self.of_node), self.of_node[self.ends]
        # What draws both at once: the edge, and the one that goes back where there is one, of the same share.
        shared = self.share * (1 + self.graph.returned().double())
        return _both(first, then, torch.where(self.loops, first, shared), self.standard.budget)


@samplers.register("saint-walk")
class SaintWalkSampler(SaintSampler):
    """Walks of ``walk`` steps from ``budget`` nodes; probabilities are counted in 50 samples a rank."""

    unbiased = False

    def __init__(self, graph: Neighbourhood, standard: Standard) -> None:
        super().__init__(graph, standard)
        nodes = own_nodes(graph)
        share = torch.ones(nodes.numel()) if standard.preference is None else standard.preference
        self._shares = CommonShares(graph, share, nodes[:, None])
        times = torch.zeros(nodes.numel(), dtype=torch.float64)
        self._times = torch.zeros(self.adjacency.num_edges, dtype=torch.float64)
        self._samples = _PRESAMPLES * graph.all_say(1).numel()
        for step in range(_PRESAMPLES):
            moment = Moment(0, -1 - step)
            seen = self.nodes(self.roots(moment), moment)
            rows, ones = graph.told(seen, torch.ones(seen.numel(), dtype=torch.float64))
            times.index_add_(0, rows, ones)
            found = graph.induced(seen, numbered=True)
            assert found.edges is not None
            ends = seen[found.csr.rows().long()]
            edges = graph.told(ends, found.edges.double())[1].long()
            self._times.index_add_(0, edges, torch.ones(edges.numel(), dtype=torch.float64))
        self.chance = times.clamp(min=1) / self._samples

    def roots(self, moment: Moment) -> Tensor:
        found: Tensor = self._shares.draw(self.standard.budget, self.generator(moment))[
            :, 0
        ].unique_consecutive()
        return found

    def nodes(self, seeds: Tensor, moment: Moment) -> Tensor:
        numbers, there, walked = moment.generator(-2 - self.graph.own.start), seeds, []
        for _ in range(self.standard.walk):
            unit = torch.rand(there.numel(), generator=numbers, dtype=torch.float64)
            then = self.graph.step(there, unit)
            there = torch.where(then < 0, there, then)
            walked.append(there)
        found, _ = renumbered(seeds, torch.cat(walked), self.graph.num_nodes)
        return found

    def both(self) -> Tensor:
        return torch.where(self._times > 0, self._times / self._samples, self.chance[self.ends])


def _at_least_once(share: Tensor, draws: int) -> Tensor:
    """How likely something of a share is drawn at all."""
    return -torch.expm1(draws * torch.log1p(-share.clamp(max=1)))


def _both(first: Tensor, then: Tensor, shared: Tensor, draws: int) -> Tensor:
    """How likely two things are drawn, ``shared`` the share of what draws both at once."""
    either = _at_least_once((first + then - shared).clamp(min=0), draws)
    return _at_least_once(first, draws) + _at_least_once(then, draws) - either
