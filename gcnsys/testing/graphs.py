"""Small random graphs for property tests with Hypothesis.

Hypothesis draws what it can shrink: nodes, edges, parts and a seed. Numbers come from that seed's
normal generator (:func:`normal`): drawn one by one they would be round, which puts a ReLU on its
edge and lets the order of a sum decide.

Example::

    @given(graphs(max_nodes=6), seeds())
    def test_my_layer_keeps_the_number_of_rows(graph, seed):
        x = normal(seed, graph.num_nodes, 3)
        ...

Letters: N nodes, E edges, P parts.
"""

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from gcnsys.graph import Graph


def seeds() -> st.SearchStrategy[int]:
    """Seeds for :func:`normal` and for anything else random."""
    return st.integers(0, 2**32 - 1)


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers of a seed."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).to(dtype)


@dataclass(frozen=True, eq=False, slots=True)
class EdgeList:
    """Edges as a user may hand them over: in any order, some of them several times.

    Attributes:
        pairs: ``[2, E]`` int64, (source, destination).
        num_nodes: N.
        weight: ``[E]`` float64, or None.
    """

    pairs: Tensor
    num_nodes: int
    weight: Tensor | None

    def graph(self) -> Graph:
        """The graph with these edges."""
        return Graph.from_edge_index(self.pairs, num_nodes=self.num_nodes, weight=self.weight)


@st.composite
def edge_lists(
    draw: st.DrawFn,
    *,
    max_nodes: int = 8,
    max_edges: int = 20,
    weighted: bool | None = None,
    signed: bool = False,
) -> EdgeList:
    """Draw edge lists; empty ones, self-loops, duplicates and isolated nodes among them.

    Args:
        draw: given by Hypothesis.
        max_nodes: the largest N; the smallest is 1.
        max_edges: the largest E; the smallest is 0.
        weighted: whether there are weights; None: either.
        signed: whether weights may be negative; else they are at least 0.1.
    """
    num_nodes = draw(st.integers(1, max_nodes))
    node = st.integers(0, num_nodes - 1)
    edges = draw(st.lists(st.tuples(node, node), max_size=max_edges))
    pairs = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).t().contiguous()
    if not (draw(st.booleans()) if weighted is None else weighted):
        return EdgeList(pairs, num_nodes, None)
    weight = normal(draw(seeds()), len(edges))
    return EdgeList(pairs, num_nodes, weight if signed else weight.abs() + 0.1)


@st.composite
def graphs(
    draw: st.DrawFn,
    *,
    max_nodes: int = 8,
    max_edges: int = 20,
    weighted: bool | None = None,
    directed: bool | None = None,
    signed: bool = False,
) -> Graph:
    """Draw graphs; some without edges, with self-loops, with isolated nodes.

    Args:
        draw: given by Hypothesis.
        max_nodes: the largest N; the smallest is 1.
        max_edges: the largest number of edges before they are made undirected.
        weighted: whether edges have weights; None: either.
        directed: whether edges stay one way (a few such graphs are symmetric all the same); False:
            every edge is there both ways; None: either.
        signed: whether weights may be negative; else they are at least 0.1.
    """
    edges = draw(edge_lists(max_nodes=max_nodes, max_edges=max_edges, weighted=weighted, signed=signed))
    one_way = draw(st.booleans()) if directed is None else directed
    return edges.graph() if one_way else edges.graph().symmetrized()


@st.composite
def assignments(draw: st.DrawFn, num_nodes: int, num_parts: int) -> Tensor:
    """Draw an assignment ``[N]`` int32 in ``[0, P)``; often some parts are empty."""
    used = draw(st.lists(st.integers(0, num_parts - 1), min_size=1, unique=True))
    parts = draw(st.lists(st.sampled_from(used), min_size=num_nodes, max_size=num_nodes))
    return torch.tensor(parts, dtype=torch.int32)
