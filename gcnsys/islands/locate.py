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
from gcnsys.graph import CSR, Graph, Layout, offsets
from gcnsys.kernels.islands import grown


@dataclass(frozen=True, slots=True)
class Rounds:
    """The thresholds of the rounds, and how large an island may be.

    Attributes:
        cap: nodes of an island.
        decay: each threshold is this share of the one before, but at least 1 less.
        first: the first threshold; None: the largest degree.
    """

    cap: int = 256
    decay: float = 0.9
    first: int | None = None

    def __post_init__(self) -> None:
        if self.cap < 1:
            raise InputError(f"an island's cap must be at least 1 node, got {self.cap}")
        if not 0 <= self.decay < 1:
            raise InputError(f"a threshold's decay must be in [0, 1), got {self.decay}")
        if self.first is not None and self.first < 1:
            raise InputError(f"the first threshold must be at least 1, got {self.first}")

    def thresholds(self, largest: int) -> list[int]:
        """The thresholds, falling to 1, for a graph whose largest degree is given."""
        found = [max(1, min(largest, self.first or largest))]
        while found[-1] > 1:
            found.append(max(1, min(found[-1] - 1, int(found[-1] * self.decay))))
        return found


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
        count, hubs = self.graph.num_nodes, self.hubs
        degree = self.graph.adjacency.indptr.diff()
        rank = torch.full((count,), count)
        rank[hubs[degree[hubs].argsort(descending=True, stable=True)]] = torch.arange(hubs.numel())
        ends = self.graph.edge_index().long()
        ends = ends[:, (self.island_of[ends[0]] < 0) & (self.island_of[ends[1]] >= 0)]
        first = torch.full((self.num_islands,), count)
        first.scatter_reduce_(0, self.island_of[ends[1]], rank[ends[0]], "amin")
        place = torch.empty_like(first)
        turn = first.argsort(stable=True)
        place[turn] = torch.arange(self.num_islands)
        group = torch.zeros(count, dtype=torch.int64)
        inside = self.island_of >= 0
        group[inside] = 1 + place[self.island_of[inside]]
        order = rank.argsort(stable=True)
        order = order[group[order].argsort(stable=True)]
        return Layout(order, offsets(torch.cat([torch.tensor([hubs.numel()]), self.sizes[turn]])))

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
        label = _sought(graph.induced(nodes).adjacency, degree[nodes], rounds)
        island_of = self.island_of.clone()
        island_of[nodes] = torch.where(label < 0, label, label + self.num_islands)
        return Islands(graph, _numbered(island_of))


def locate(graph: Graph, rounds: Rounds | None = None) -> Islands:
    """Find the islands of a graph; its directions, weights and self-loops do not matter."""
    graph = plain(graph)
    label = _sought(graph.adjacency, graph.adjacency.indptr.diff(), rounds or Rounds())
    return Islands(graph, _numbered(label))


def plain(graph: Graph) -> Graph:
    """The graph with every edge both ways, without weights, columns and self-loops."""
    adjacency = graph.without_self_loops().adjacency.pattern
    return Graph(adjacency, graph.is_symmetric).symmetrized()


def _sought(csr: CSR, degree: Tensor, rounds: Rounds) -> Tensor:
    """A member of each node's island, ``[N]``; -1: it is a hub."""
    if not csr.num_rows:
        return torch.zeros(0, dtype=torch.int64)
    thresholds = torch.tensor(rounds.thresholds(int(degree.max()))[::-1])
    # Level t: below the threshold numbered t; the last level has none.
    level = torch.searchsorted(thresholds, degree, right=True).to(torch.int32)
    return grown(csr, level, thresholds.numel() + 1, rounds.cap)


def _numbered(label: Tensor) -> Tensor:
    """Islands numbered by their first nodes."""
    inside = label >= 0
    _, number = label[inside].unique(return_inverse=True)
    first = torch.full((int(number.max()) + 1 if number.numel() else 0,), label.numel())
    first.scatter_reduce_(0, number, torch.nonzero(inside).flatten(), "amin")
    place = torch.empty_like(first)
    place[first.argsort()] = torch.arange(first.numel())
    found = torch.full_like(label, -1)
    found[inside] = place[number]
    return found


def _changed(before: Graph, after: Graph) -> Tensor:
    """``[2, ...]`` edges that came or went."""
    count = before.num_nodes
    one, other = (graph.edge_index()[0].long() * count + graph.edge_index()[1] for graph in (before, after))
    keys, times = torch.cat([one, other]).unique(return_counts=True)
    changed = keys[times == 1]
    return torch.stack([torch.div(changed, count, rounding_mode="floor"), changed % count])
