"""Node-wise samplers: every node draws among its own neighbours.

Letters: n nodes of a frontier.
"""

from abc import abstractmethod

from torch import Tensor

from gcnsys.errors import InputError
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
    """A fixed number of neighbours, each set equally likely (GraphSAGE, Hamilton et al. 2017, alg. 2).

    Args:
        graph: see :class:`Sampler`.
        standard: see there; with a preference, neighbours that are preferred are drawn more often.
        weights: of the edges that end here, to draw by; None: those of the preference.

    Raises:
        InputError: it is to draw with repetition and by weight.
    """

    prefers = True

    def __init__(self, graph: Neighbourhood, standard: Standard, weights: EdgeWeights | None = None) -> None:
        super().__init__(graph, standard)
        if weights is None and standard.preference is not None:
            weights = EdgeWeights(graph.adjacency(), graph.by_source(standard.preference))
        if weights is not None:
            if standard.repeated:
                raise InputError("neighbours are drawn by weight without repetition; drop one of the two")
            self.unbiased = bool((weights.weight > 0).all())
        self.weights = weights

    def draw(self, frontier: Tensor, fanout: int, key: DropoutKey) -> Found:
        if self.weights is not None:
            return self.graph.weighted(frontier, fanout, key, self.weights)
        return self.graph.uniform(frontier, fanout, key, repeated=self.standard.repeated)


@samplers.register("labor")
class LaborSampler(NodeWise):
    """Neighbours that nodes share (LABOR-0, Balin & Çatalyürek 2023): as many edges, far fewer rows.

    Every node u draws one number a layer, and a node v of degree d takes the edge u -> v if that is below
    k / d: about k of them.
    """

    def draw(self, frontier: Tensor, fanout: int, key: DropoutKey) -> Found:
        return self.graph.poisson(frontier, fanout, key)
