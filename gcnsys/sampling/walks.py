"""Neighbours by random walks: those that walks from a node visit most (PinSAGE, Ying et al., KDD 2018).

Letters: n nodes of a frontier, w walkers.
"""

import torch
from torch import Tensor

from gcnsys.graph import CSR, ascending, offsets, ranked
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
        numbers = moment.generator(layer)
        visited = self._visited(frontier, numbers)
        rows, others, times = self._most(visited, self.standard.fanouts[layer], numbers)
        indptr = offsets(torch.bincount(rows, minlength=frontier.numel()))
        csr = CSR(indptr, others, self.graph.num_nodes, times.to(torch.float32))
        return Found(csr, csr.row_sums())

    def _visited(self, frontier: Tensor, numbers: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Which node of the frontier a walk began at, whom it visited, and how often, by node."""
        restart = self.standard.restart
        origin = torch.arange(frontier.numel()).repeat_interleave(self.standard.walks)
        unit = torch.rand(origin.numel(), generator=numbers, dtype=torch.float64)
        there, visits = frontier[origin], []
        for _ in range(self.standard.walk):
            there = self.graph.step(there, unit)
            somewhere = there >= 0
            if not bool(somewhere.all()):
                origin, there = origin[somewhere], there[somewhere]
            visits.append(origin * self.graph.num_nodes + there)
            unit = torch.rand(there.numel(), generator=numbers, dtype=torch.float64)
            goes_on = torch.nonzero(unit >= restart).flatten()
            # What is left of a number that was large enough is as good as a new one.
            unit = ((unit[goes_on] - restart) / (1 - restart)).clamp_(max=_BELOW_ONE)
            origin, there = origin[goes_on], there[goes_on]
        keys, times = ascending(torch.cat(visits)).unique_consecutive(return_counts=True)
        rows = torch.div(keys, self.graph.num_nodes, rounding_mode="floor")
        others = keys - rows * self.graph.num_nodes
        kept = others != frontier[rows]
        return rows[kept], others[kept], times[kept]

    def _most(
        self, visited: tuple[Tensor, Tensor, Tensor], fanout: int, numbers: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Of each node the visits to its ``fanout`` most visited ones; chance breaks ties."""
        rows, others, times = visited
        if fanout == -1:
            return visited
        most = int(times.max()) if times.numel() else 0
        chance = torch.rand(rows.numel(), generator=numbers, dtype=torch.float64)
        order = ranked(rows * (most + 1) + (most - times) + chance)
        counts = torch.bincount(rows, minlength=1)
        first = counts.cumsum(0) - counts
        rank = torch.empty_like(order)
        rank[order] = torch.arange(order.numel()) - first[rows[order]]
        kept = rank < fanout
        return rows[kept], others[kept], times[kept]
