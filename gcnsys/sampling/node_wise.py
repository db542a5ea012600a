"""Node-wise samplers: every node draws among its own neighbours.

Letters: n nodes of a frontier.
"""

from abc import abstractmethod

from torch import Tensor

from gcnsys.kernels.dropout import DropoutKey
from gcnsys.kernels.neighbours import EdgeWeights
from gcnsys.sampling.api import Moment, Standard, samplers
from gcnsys.sampling.layered import Layered
from gcnsys.sampling.neighbourhood import Found, Neighbourhood


class NodeWise(Layered):
    """Layer by layer; what differs is how a node draws."""

    def hop(self, frontier: Tensor, layer: int, moment: Moment) -> Found:
        fanout = self.standard.fanouts[layer]
        if fanout == -1:
            return self.graph.all_of(frontier)
        return self.draw(frontier, fanout, moment.key(layer))

    @abstractmethod
    def draw(self, frontier: Tensor, fanout: int, key: DropoutKey) -> Found:
        """About ``fanout`` in-edges of each node of a frontier ``[n]``."""


@samplers.register("neighbour")
class NeighbourSampler(NodeWise):
    """A fixed number of neighbours, each set equally likely (GraphSAGE, Hamilton et al. 2017, alg. 2)."""

    def draw(self, frontier: Tensor, fanout: int, key: DropoutKey) -> Found:
        return self.graph.uniform(frontier, fanout, key, repeated=self.standard.repeated)


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

    def draw(self, frontier: Tensor, fanout: int, key: DropoutKey) -> Found:
        return self.graph.weighted(frontier, fanout, key, self.weights)


@samplers.register("labor")
class LaborSampler(NodeWise):
    """Neighbours that nodes share (LABOR-0, Balin & Çatalyürek 2023): as many edges, far fewer rows.

    Every node u draws one number a layer, and a node v of degree d takes the edge u -> v if that is below
    k / d: about k of them.
    """

    def draw(self, frontier: Tensor, fanout: int, key: DropoutKey) -> Found:
        return self.graph.poisson(frontier, fanout, key)
