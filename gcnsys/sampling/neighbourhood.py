"""Where a sampler looks edges up.

Letters: n nodes that are asked for, N nodes of the graph, e edges that are drawn, n' nodes that a process
holds, E' edges that end there.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from gcnsys.graph import CSR, Graph, located
from gcnsys.kernels.block import Degrees
from gcnsys.kernels.dropout import DropoutKey
from gcnsys.kernels.neighbours import Drawn, EdgeWeights, Neighbours


@dataclass(frozen=True, eq=False, slots=True)
class Found:
    """In-edges of some nodes, as they were drawn.

    Attributes:
        csr: ``[n, N]`` with the weights and columns of the graph's edges.
        in_weight: ``[n]`` float64 weight (or number) of all in-edges of each node.
        factor, inverse: see :class:`~gcnsys.kernels.neighbours.Drawn`.
        edges: ``[e]`` int64 which edges of the graph they are; None: it is not said.
    """

    csr: CSR
    in_weight: Tensor
    factor: Tensor | None = None
    inverse: Tensor | None = None
    edges: Tensor | None = None

    @property
    def counted(self) -> CSR:
        """The edges, what each one counts for made part of its weight."""
        if self.inverse is None:
            return self.csr
        each, weight = self.inverse.to(torch.float32), self.csr.weight
        return replace(self.csr, weight=each if weight is None else weight * each.to(weight))


class Neighbourhood(Protocol):
    """Where a sampler looks edges up: a graph in this process, or one over all ranks.

    Over ranks every method is collective: ranks call the same ones in the same order.

    Attributes:
        num_nodes: N.
        own: the nodes that this process holds: all of them, or a rank's.
    """

    num_nodes: int
    own: range

    def all_of(self, nodes: Tensor) -> Found:
        """All in-edges of some nodes."""

    def uniform(self, nodes: Tensor, count: int, key: DropoutKey, *, repeated: bool) -> Found:
        """``count`` in-edges of each node."""

    def weighted(self, nodes: Tensor, count: int, key: DropoutKey, weights: EdgeWeights) -> Found:
        """``count`` in-edges of each node, by weight."""

    def poisson(self, nodes: Tensor, expected: int, key: DropoutKey) -> Found:
        """About ``expected`` in-edges of each node; sources are drawn once for all of them."""

    def between(self, nodes: Tensor, sources: Tensor) -> Found:
        """The edges to some nodes from others, each of them named once."""

    def induced(self, nodes: Tensor, inverse: Tensor | None = None, *, numbered: bool = False) -> Found:
        """The edges between some nodes; of ``csr`` the columns are places among them.

        Args:
            nodes: ``[n]``, each once.
            inverse: ``[E']`` what each edge that ends here counts for; None: 1.
            numbered: say which edges of the graph they are.
        """

    def step(self, nodes: Tensor, unit: Tensor) -> Tensor:
        """A neighbour of each node, -1 where there is none; nodes may come more than once.

        Args:
            nodes: ``[w]``.
            unit: ``[w]`` float64 in ``[0, 1)``, which of its neighbours each one gets.
        """

    def degrees(self, nodes: Tensor) -> Degrees:
        """Degrees of some nodes in the graph."""

    def adjacency(self) -> CSR:
        """The edges that end here, ``[n', N]``, with their weights."""

    def by_source(self, values: Tensor) -> Tensor:
        """For each of those, what its source has: ``[n', ...] -> [E', ...]``."""

    def to_sources(self, values: Tensor) -> Tensor:
        """The sums over the edges that start at each node: ``[E'] -> [n']`` float64."""

    def returned(self) -> Tensor:
        """Which of the edges that end here have one that goes back, ``[E']`` bool."""

    def rows(self, nodes: Tensor, values: Tensor) -> Tensor:
        """Rows of some nodes, from what each process has of its own: ``[n', ...] -> [n, ...]``."""

    def told(self, nodes: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """What all processes say of the nodes of this one.

        Args:
            nodes: ``[n]`` whom this one speaks of.
            values: ``[n]`` float64.

        Returns:
            ``[r]`` rows of this process's nodes and ``[r]`` what was said of them.
        """

    def all_say(self, value: float) -> Tensor:
        """A number of every process, ``[P]`` float64."""

    def ask(self, process: Tensor, said: Tensor, answer: Callable[[Tensor], Tensor]) -> Tensor:
        """Ask processes that hold nodes: ``[k]`` whom and ``[k]`` float64 what -> ``[k, ...]``.

        Args:
            process: numbers of processes.
            said: to each.
            answer: what this one answers, a row for each number that it hears.
        """


def own_nodes(graph: Neighbourhood) -> Tensor:
    """The nodes that this process holds, ``[n']``."""
    return torch.arange(graph.own.start, graph.own.stop)


class WholeGraph:
    """A graph in this process.

    Args:
        graph: of N nodes.
        ids: ``[N]`` int64, what its nodes are called in draws; None: their numbers.
    """

    def __init__(self, graph: Graph, ids: Tensor | None = None) -> None:
        self.graph, self.num_nodes, self.own = graph, graph.num_nodes, range(graph.num_nodes)
        self.neighbours = Neighbours(graph.adjacency, ids, ids)

    @cached_property
    def _in_weight(self) -> Tensor:
        return self.graph.in_degree()

    @cached_property
    def _degrees(self) -> Degrees:
        return Degrees.of(self.graph)

    def all_of(self, nodes: Tensor) -> Found:
        return self._found(nodes, self.neighbours.all_of(nodes))

    def uniform(self, nodes: Tensor, count: int, key: DropoutKey, *, repeated: bool) -> Found:
        drawn = self.neighbours.uniform(nodes, count, key, repeated=repeated, numbered=self._known)
        return self._found(nodes, drawn)

    def weighted(self, nodes: Tensor, count: int, key: DropoutKey, weights: EdgeWeights) -> Found:
        return self._found(nodes, self.neighbours.weighted(nodes, count, key, weights))

    def poisson(self, nodes: Tensor, expected: int, key: DropoutKey) -> Found:
        rate = self.neighbours.rate(nodes, expected)
        return self._found(nodes, self.neighbours.poisson(nodes, rate, key, numbered=self._known))

    def between(self, nodes: Tensor, sources: Tensor) -> Found:
        drawn = self.neighbours.between(nodes, sources, numbered=self._known)
        columns = sources[drawn.columns.long()].to(self.graph.adjacency.indices.dtype)
        return self._found(nodes, replace(drawn, columns=columns))

    def induced(self, nodes: Tensor, inverse: Tensor | None = None, *, numbered: bool = False) -> Found:
        drawn = self.neighbours.between(nodes, nodes, numbered=numbered or inverse is not None or self._known)
        if inverse is not None:
            drawn = replace(drawn, inverse=inverse[drawn.edges])
        return self._found(nodes, drawn, num_cols=nodes.numel())

    def step(self, nodes: Tensor, unit: Tensor) -> Tensor:
        return self.neighbours.step(nodes, unit)

    def degrees(self, nodes: Tensor) -> Degrees:
        return self._degrees.take(nodes)

    def adjacency(self) -> CSR:
        return self.graph.adjacency

    def by_source(self, values: Tensor) -> Tensor:
        return values[self.graph.adjacency.indices.long()]

    def to_sources(self, values: Tensor) -> Tensor:
        sums = torch.zeros(self.num_nodes, dtype=torch.float64)
        return sums.index_add_(0, self.graph.adjacency.indices.long(), values.double())

    def returned(self) -> Tensor:
        if self.graph.is_symmetric:
            return torch.ones(self.graph.num_edges, dtype=torch.bool)
        sources, ends = self.graph.edge_index().long()
        return located(sources * self.num_nodes + ends, ends * self.num_nodes + sources) >= 0

    def rows(self, nodes: Tensor, values: Tensor) -> Tensor:
        return values[nodes]

    def told(self, nodes: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        return nodes, values

    def all_say(self, value: float) -> Tensor:
        return torch.tensor([value], dtype=torch.float64)

    def ask(self, process: Tensor, said: Tensor, answer: Callable[[Tensor], Tensor]) -> Tensor:
        return answer(said)

    @property
    def _known(self) -> bool:
        """Whether more is known of edges than that they are there."""
        return self.graph.weight is not None or bool(self.graph.adjacency.columns)

    def _found(self, nodes: Tensor, drawn: Drawn, *, num_cols: int | None = None) -> Found:
        adjacency, weight, columns = self.graph.adjacency, None, {}
        if self._known:
            assert drawn.edges is not None
            weight = None if adjacency.weight is None else adjacency.weight[drawn.edges]
            columns = {name: column[drawn.edges] for name, column in adjacency.columns.items()}
        width = self.num_nodes if num_cols is None else num_cols
        csr = CSR(drawn.indptr, drawn.columns, width, weight, columns)
        return Found(csr, self._in_weight[nodes], drawn.factor, drawn.inverse, drawn.edges)
