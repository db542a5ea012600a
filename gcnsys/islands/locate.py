"""Where the islands of a graph are: sets of nodes whose edges lead to each other or to hubs.

I-GCN (Geng et al., MICRO 2021, algorithms 1 to 4) goes by rounds. In each, nodes of at least a threshold's
degree become hubs, and breadth-first searches from the hubs' neighbours grow islands that end at hubs; what
grows beyond a cap waits for the next round, whose threshold is lower. Run one search after the other, the
islands of a round are the connected components of what is left without hubs, up to the cap. So a node's
island is its component at the highest threshold at which that fits the cap, and it is a hub if none does.
From the lowest threshold to the highest, components only grow: :func:`gcnsys.kernels.islands.grown` finds
what all rounds come to in one pass.

Where the paper is silent or its searches would go wrong:

- No island comes twice, whichever hubs it was reached from: a component is one island.
- What outgrew the cap is neither lost nor kept from later rounds.
- A component that no hub touches is an island as soon as it fits the cap, a node without edges one by itself.
- The last threshold is 1: whatever fits nowhere is a hub.
- No island is larger than the cap, so there is no giant one.

Letters: N nodes, h hubs, i islands.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.graph import Graph, Layout
from gcnsys.kernels.islands import Rounds, laid_out, numbered, searched


@dataclass(frozen=True, eq=False)
class Islands:
    """Hubs, and islands between them.

    Attributes:
        graph: symmetric, without weights and self-loops.
        island_of: ``[N]`` int64, the island of each node from 0 to i - 1; -1: it is a hub.
    """

    graph: Graph
    island_of: Tensor

    @cached_property
    def num_islands(self) -> int:
        """How many there are."""
        return int(self.island_of.max()) + 1 if self.island_of.numel() else 0

    @cached_property
    def hubs(self) -> Tensor:
        """``[h]``, ascending."""
        return torch.nonzero(self.island_of < 0).flatten()

    @cached_property
    def sizes(self) -> Tensor:
        """Nodes of each island, ``[i]``."""
        return torch.bincount(self.island_of[self.island_of >= 0], minlength=self.num_islands)

    @cached_property
    def inter_hub(self) -> Tensor:
        """Edges from a hub to a hub, ``[2, e]``."""
        edges = self.graph.edge_index()
        return edges[:, (self.island_of[edges.long()] < 0).all(0)]

    def layout(self) -> Layout:
        """The hubs as the first group, those of most neighbours first, then each island as a group.

        Islands follow each other as the first of their hubs do; those without come last.
        """
        return Layout(*laid_out(self.graph.adjacency, self.island_of))

    def bitmap(self, island: int) -> tuple[Tensor, Tensor]:
        """What an island's task is: ``[m]`` nodes, its own and then its hubs; ``[m, m]`` bool who adds whom.

        Entries between hubs are left out: they are in :attr:`inter_hub`. Self-loops of the island are in.
        """
        own = torch.nonzero(self.island_of == island).flatten()
        rows = self.graph.adjacency.take_rows(own)
        hubs = rows.indices[self.island_of[rows.indices.long()] < 0].long().unique()
        nodes = torch.cat([own, hubs])
        bits = torch.from_numpy(self.graph.induced(nodes).to_scipy().toarray()).bool()
        bits[: own.numel()].fill_diagonal_(fill_value=True)
        bits[own.numel() :, own.numel() :] = False
        return nodes, bits

    def summary(self) -> dict[str, int | float]:
        """What was found, by name."""
        nodes, edges = max(1, self.graph.num_nodes), max(1, self.graph.num_edges)
        singletons = int((self.sizes == 1).sum())
        return {
            "nodes": self.graph.num_nodes,
            "edges": self.graph.num_edges,
            "hubs": self.hubs.numel(),
            "hub_share": self.hubs.numel() / nodes,
            "islands": self.num_islands,
            "singletons": singletons,
            "singleton_share": singletons / max(1, self.num_islands),
            "largest_island": int(self.sizes.max()) if self.num_islands else 0,
            "inter_hub_edges": self.inter_hub.shape[1],
            "inter_hub_share": self.inter_hub.shape[1] / edges,
        }

    def updated(self, graph: Graph, rounds: Rounds) -> "Islands":
        """The islands after edges came or went: hubs stay, islands that the change touches are sought anew.

        An edge from one island to another, or one less inside an island, takes the search up for those
        islands alone; what is too large then gets hubs of its own. A hub stays one even if its degree falls.

        Args:
            graph: afterwards, of the same nodes.
            rounds: of the search.

        Raises:
            InputError: the graph has another number of nodes.
        """
        if graph.num_nodes != self.graph.num_nodes:
            raise InputError(f"islands of {self.graph.num_nodes} nodes got a graph of {graph.num_nodes}")
        graph = plain(graph)
        touched = torch.zeros(self.num_islands + 1, dtype=torch.bool)
        ends = self.island_of[_changed(self.graph, graph)]
        touched[ends[:, (ends >= 0).all(0)].flatten()] = True
        nodes = torch.nonzero(touched[self.island_of]).flatten()
        degree = graph.adjacency.indptr.diff()
        found = searched(graph.induced(nodes).adjacency, degree[nodes], rounds)
        island_of = self.island_of.clone()
        island_of[nodes] = torch.where(found < 0, found, found + self.num_islands)
        return Islands(graph, numbered(island_of))


def locate(graph: Graph, rounds: Rounds | None = None) -> Islands:
    """Find the islands of a graph; its directions, weights and self-loops do not matter."""
    graph = plain(graph)
    degree = graph.adjacency.indptr.diff()
    return Islands(graph, searched(graph.adjacency, degree, rounds or Rounds()))


def plain(graph: Graph) -> Graph:
    """The graph with every edge both ways, without weights, columns and self-loops."""
    adjacency = graph.without_self_loops().adjacency.pattern
    repeated = adjacency.repeated
    if bool(repeated.any()):
        adjacency = adjacency.keep(~repeated)
    return Graph(adjacency, graph.is_symmetric).symmetrized()


def _changed(before: Graph, after: Graph) -> Tensor:
    """``[2, ...]`` edges that came or went."""
    count = before.num_nodes
    one, other = (graph.edge_index()[0].long() * count + graph.edge_index()[1] for graph in (before, after))
    keys, times = torch.cat([one, other]).unique(return_counts=True)
    changed = keys[times == 1]
    return torch.stack([torch.div(changed, count, rounding_mode="floor"), changed % count])
