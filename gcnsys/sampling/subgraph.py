"""Subgraph samplers: nodes are chosen, and all layers work on the edges between them.

Letters: n nodes of a subgraph, N nodes of the graph.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.graph import CSR, Graph, Layout
from gcnsys.kernels.block import Block, Degrees, LocalBlock, Scales
from gcnsys.kernels.ids import renumbered
from gcnsys.sampling.api import Moment, Sample, Sampler, Standard, samplers
from gcnsys.sampling.neighbourhood import Neighbourhood
from gcnsys.sampling.node_wise import NeighbourSampler


class SubgraphBlock(LocalBlock):
    """Rows of a subgraph, whose degrees are looked at only where they matter.

    Args:
        csr: ``[D, S]`` its edges.
        input_ids: see :class:`Block`.
        whole: ``[S, S]`` all its edges; None: these.
    """

    def __init__(self, csr: CSR, input_ids: Tensor, whole: CSR | None = None) -> None:
        sums = csr.row_sums()
        super().__init__(csr, input_ids, Degrees(sums, sums, sums), in_weight=sums)
        self._whole = csr if whole is None else whole

    def _gcn_scales(self, norm: Literal["symmetric", "out-in"]) -> Scales:
        self.degrees = Degrees.of(Graph(self._whole, False))
        return super()._gcn_scales(norm)


class SubgraphSampler(Sampler):
    """Layers that work on one subgraph as if it were the graph: degrees are those within it."""

    unbiased = False

    def sample(self, seeds: Tensor, moment: Moment) -> Sample:
        seeds = self.checked(seeds)
        nodes = self.nodes(seeds, moment)
        csr = self.graph.induced(nodes).csr
        block = SubgraphBlock(csr, nodes)
        metrics = {"rows": nodes.numel(), "edges": csr.num_edges * self.standard.layers}
        return Sample((block,) * (self.standard.layers - 1) + (self.last(block, seeds),), None, metrics)

    @abstractmethod
    def nodes(self, seeds: Tensor, moment: Moment) -> Tensor:
        """The nodes of the subgraph, ``[n]``: the seeds first."""

    def last(self, block: LocalBlock, seeds: Tensor) -> Block:
        """The last layer's block, which computes the seeds alone."""
        whole = block.matrix.csr
        return SubgraphBlock(whole.head(seeds.numel(), whole.num_cols), block.input_ids, whole)


@samplers.register("cluster")
class ClusterSampler(SubgraphSampler):
    """The clusters that seeds lie in, with all edges between them (Cluster-GCN, Chiang et al. 2019).

    Over ranks each clusters its own nodes and has seeds among them alone.

    Args:
        graph: see :class:`Sampler`.
        standard: with ``groups``.

    Raises:
        InputError: there are none, or not one a node.
    """

    def __init__(self, graph: Neighbourhood, standard: Standard) -> None:
        super().__init__(graph, standard)
        if standard.groups is None or standard.groups.shape != (len(graph.own),):
            there = "none" if standard.groups is None else f"shape {list(standard.groups.shape)}"
            raise InputError(f"clusters need the group of each of {len(graph.own)} nodes, got {there}")
        self.groups = standard.groups.long()
        layout = Layout.from_groups(self.groups)
        self.members = (layout.order + graph.own.start).split(layout.group_ptr.diff().tolist())

    def batches(self, nodes: Tensor, size: int, moment: Moment) -> Sequence[Tensor]:
        """Clusters in a drawn order, as many in a batch as come nearest to ``size`` of the nodes."""
        groups, counts = self._groups_of(nodes).unique(return_counts=True)
        order = torch.randperm(groups.numel(), generator=moment.generator(-1))
        number = torch.empty(len(self.members), dtype=torch.int64)
        number[groups[order]] = torch.arange(order.numel())
        ends = counts[order].cumsum(0)
        batch_of = torch.div(ends - counts[order] // 2 - 1, max(1, size), rounding_mode="floor").clamp(min=0)
        batch = batch_of[number[self._groups_of(nodes)]]
        placed = batch.argsort(stable=True)
        batches: Sequence[Tensor] = nodes[placed].split(torch.bincount(batch)[batch.unique()].tolist())
        return batches

    def nodes(self, seeds: Tensor, moment: Moment) -> Tensor:
        members = (self.members[group] for group in self._groups_of(seeds).unique().tolist())
        return renumbered(seeds, torch.cat([seeds, *members]), self.graph.num_nodes)[0]

    def _groups_of(self, nodes: Tensor) -> Tensor:
        return self.groups[nodes - self.graph.own.start]


@samplers.register("shadow")
class ShadowSampler(SubgraphSampler):
    """A few hops of drawn neighbours, on which a model of any depth works (ShaDow, Zeng et al. 2021).

    The fan-outs say how far and how wide; a batch's seeds share one subgraph.
    """

    prefers = True

    def __init__(self, graph: Neighbourhood, standard: Standard) -> None:
        super().__init__(graph, standard)
        self._hops = NeighbourSampler(graph, standard)

    def nodes(self, seeds: Tensor, moment: Moment) -> Tensor:
        return self._hops.sample(seeds, moment).input_ids
