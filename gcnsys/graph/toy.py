"""Named small graphs, for documentation and tests."""

from collections.abc import Callable

import torch

from gcnsys.graph.graph import Graph


def _undirected(pairs: list[tuple[int, int]], num_nodes: int) -> Graph:
    edges = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).t()
    return Graph.from_edge_index(edges, num_nodes=num_nodes).symmetrized()


def house() -> Graph:
    """A square with a roof: 5 nodes, 6 undirected edges."""
    return _undirected([(0, 1), (1, 2), (2, 3), (3, 0), (0, 4), (1, 4)], 5)


def star(leaves: int = 6) -> Graph:
    """Node 0 joined to every other."""
    return _undirected([(0, leaf) for leaf in range(1, leaves + 1)], leaves + 1)


def bridge() -> Graph:
    """Two triangles joined by one edge: the best cut into two parts is obvious."""
    return _undirected([(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3), (2, 3)], 6)


def grid(width: int = 4, height: int = 3) -> Graph:
    """A rectangle of nodes joined to their neighbours, numbered row by row."""
    at = torch.arange(width * height).reshape(height, width)
    across = torch.stack([at[:, :-1].flatten(), at[:, 1:].flatten()])
    down = torch.stack([at[:-1].flatten(), at[1:].flatten()])
    return Graph.from_edge_index(torch.cat([across, down], 1), num_nodes=at.numel()).symmetrized()


def chain(length: int = 5) -> Graph:
    """A directed path ``0 -> 1 -> ...``: the last node sends to nobody."""
    at = torch.arange(length)
    return Graph.from_edge_index(torch.stack([at[:-1], at[1:]]), num_nodes=length)


def loner() -> Graph:
    """A triangle, a self-loop on node 3, and node 4 with no edge at all."""
    return _undirected([(0, 1), (1, 2), (2, 0), (3, 3)], 5)


TOYS: dict[str, Callable[[], Graph]] = {
    "house": house, "star": star, "bridge": bridge, "grid": grid, "chain": chain, "loner": loner,
}  # fmt: skip
