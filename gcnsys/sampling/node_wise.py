"""Node-wise samplers: every node draws among its own neighbours.

Letters: n nodes of a frontier, m of the next one, e edges that were drawn.
"""

from abc import abstractmethod

import torch
from torch import Tensor

from gcnsys.graph import CSR
from gcnsys.kernels.neighbours import EdgeWeights, renumbered
from gcnsys.kernels.sampled import SampledBlock
from gcnsys.sampling.api import Moment, Sample, Sampler, Standard, samplers
from gcnsys.sampling.neighbourhood import Found, Neighbourhood


class NodeWise(Sampler):
    """Layer by layer from the seeds back to the inputs; what differs is how a node draws."""

    def sample(self, seeds: Tensor, moment: Moment) -> Sample:
        frontier, blocks = self.checked(seeds), []
        for layer in reversed(range(self.standard.layers)):
            found = self.draw(frontier, layer, moment)
            block = self._block(frontier, found)
            blocks.append(block)
            frontier = block.input_ids
        blocks.reverse()
        edges = sum(block.matrix.csr.num_edges for block in blocks)
        return Sample(tuple(blocks), metrics={"rows": frontier.numel(), "edges": edges})

    @abstractmethod
    def draw(self, frontier: Tensor, layer: int, moment: Moment) -> Found:
        """In-edges of the nodes of a frontier ``[n]``, for the layer that computes them."""

    def _block(self, frontier: Tensor, found: Found) -> SampledBlock:
        input_ids, columns = renumbered(frontier, found.csr.indices, self.graph.num_nodes)
        factor, weight = found.inverse, found.csr.weight
        if factor is not None and factor.numel() != frontier.numel():
            each = factor.to(torch.float32)
            factor, weight = None, each if weight is None else weight * each.to(weight)
        csr = CSR(found.csr.indptr, columns, input_ids.numel(), weight, found.csr.columns)
        return SampledBlock(csr, input_ids, found.in_weight, factor, self.graph.degrees)


@samplers.register("neighbour")
class NeighbourSampler(NodeWise):
    """A fixed number of neighbours, each set equally likely (GraphSAGE, Hamilton et al. 2017, alg. 2)."""

    def draw(self, frontier: Tensor, layer: int, moment: Moment) -> Found:
        fanout = self.standard.fanouts[layer]
        if fanout == -1:
            return self.graph.all_of(frontier)
        return self.graph.uniform(frontier, fanout, moment.key(layer), repeated=self.standard.repeated)


class WeightedNeighbourSampler(NodeWise):
    """A fixed number of neighbours, those of more weight more often.

    Args:
        graph: see :class:`Sampler`.
        standard: see there.
        weights: of all edges.
    """

    def __init__(self, graph: Neighbourhood, standard: Standard, weights: EdgeWeights) -> None:
        super().__init__(graph, standard)
        self.weights = weights
        self.unbiased = bool((weights.weight > 0).all())

    def draw(self, frontier: Tensor, layer: int, moment: Moment) -> Found:
        fanout = self.standard.fanouts[layer]
        if fanout == -1:
            return self.graph.all_of(frontier)
        return self.graph.weighted(frontier, fanout, moment.key(layer), self.weights)


@samplers.register("labor")
class LaborSampler(NodeWise):
    """Neighbours that nodes share (LABOR-0, Balin & Çatalyürek 2023): as many edges, far fewer rows.

    Every node u draws one number a layer, and a node v of degree d takes the edge u -> v if that is below
    k / d: about k of them.
    """

    def draw(self, frontier: Tensor, layer: int, moment: Moment) -> Found:
        fanout = self.standard.fanouts[layer]
        if fanout == -1:
            return self.graph.all_of(frontier)
        return self.graph.poisson(frontier, fanout, moment.key(layer))
