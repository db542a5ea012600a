"""A sampler of one's own: neighbours that few others have are drawn more often than hubs.

Once installed, it is known by name: ``gcnsys train-minibatch digits --sampler rare-first``.
"""

import torch
from torch import Tensor

from gcnsys.kernels.neighbours import EdgeWeights, Neighbours
from gcnsys.sampling import Found, Layered, Moment


class RareFirst(Layered):
    """Draws among a node's neighbours by one over the number of nodes that hear each of them.

    Sums are right on average: an edge counts for one over the probability with which it was drawn.
    """

    def hop(self, frontier: Tensor, layer: int, moment: Moment) -> Found:
        """Edges to the nodes of a frontier ``[n]``, over as many ranks as there are."""
        # Update the adjacency: which edges may be drawn.
        found = self.graph.all_of(frontier)
        fanout = self.standard.fanouts[layer]
        if fanout == -1:
            return found

        # Draw, by what is known of the sources.
        sources, place = found.csr.indices.long().unique(return_inverse=True)
        rarity = 1 / self.graph.degrees(sources).out_of.clamp(min=1)
        among = Neighbours(found.csr, row_ids=frontier)
        rows = torch.arange(frontier.numel())
        drawn = among.weighted(rows, fanout, moment.key(layer), EdgeWeights(found.csr, rarity[place]))

        # What was drawn, and for how much it counts.
        there = torch.zeros(found.csr.num_edges, dtype=torch.bool)
        there[drawn.edges] = True
        return Found(found.csr.keep(there), found.in_weight, inverse=drawn.inverse)
