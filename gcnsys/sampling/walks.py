"""Neighbours by random walks: those that walks from a node visit most (PinSAGE, Ying et al., KDD 2018).

Letters: n nodes of a frontier, w walkers.
"""

import torch
from torch import Tensor

from gcnsys.graph import CSR
from gcnsys.kernels.dropout import row_words
from gcnsys.kernels.ids import most_named
from gcnsys.sampling.api import Moment, samplers
from gcnsys.sampling.layered import Layered
from gcnsys.sampling.neighbourhood import Found

_BELOW_ONE = 1 - 2.0**-53


@samplers.register("pinsage")
class PinSageSampler(Layered):
    """Each node's neighbours are the ``fanout`` nodes that its walks visit most, weighted by how often.

    ``walks`` walks of at most ``walk`` steps begin at each node; each ends with probability ``restart`` after
    a step. ``mean`` is then importance pooling (section 3.1).
    """

    unbiased = False
    follows_edges = False

    def hop(self, frontier: Tensor, layer: int, moment: Moment) -> Found:
        origins, visited = self._visited(frontier, moment.generator(layer))
        low, high = row_words(moment.key(layer), frontier)
        indptr, others, times = most_named(
            origins, visited, frontier, self.standard.fanouts[layer], (low, high)
        )
        csr = CSR(indptr, others, self.graph.num_nodes, times)
        return Found(csr, csr.row_sums())

    def _visited(self, frontier: Tensor, numbers: torch.Generator) -> tuple[Tensor, Tensor]:
        """Of every visit, which node of the frontier its walk began at, and whom it found."""
        restart = self.standard.restart
        origin = torch.arange(frontier.numel()).repeat_interleave(self.standard.walks)
        unit = torch.rand(origin.numel(), generator=numbers, dtype=torch.float64)
        there, origins, visits = frontier[origin], [], []
        for _ in range(self.standard.walk):
            there = self.graph.step(there, unit)
            somewhere = there >= 0
            if not bool(somewhere.all()):
                origin, there = origin[somewhere], there[somewhere]
            origins.append(origin)
            visits.append(there)
            unit = torch.rand(there.numel(), generator=numbers, dtype=torch.float64)
            goes_on = torch.nonzero(unit >= restart).flatten()
            # What is left of a number that was large enough is as good as a new one.
            unit = ((unit[goes_on] - restart) / (1 - restart)).clamp_(max=_BELOW_ONE)
            origin, there = origin[goes_on], there[goes_on]
        return torch.cat(origins), torch.cat(visits)
