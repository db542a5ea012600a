"""The graph: a square CSR matrix whose rows receive, checked once at the door."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.graph.csr import CSR, EDGE_COLUMNS, index_dtype


@dataclass(frozen=True, eq=False, slots=True)
class Graph:
    """A directed graph, weighted or not; an undirected one holds every edge both ways.

    Row ``v`` of the adjacency lists, in ascending order and once each, the nodes ``u`` of the
    edges ``u -> v``. Never changed once made: operations return new graphs.

    Attributes:
        adjacency: ``[N, N]``.
        is_symmetric: whether every edge is there both ways with the same weight.

    Example:
        >>> graph = Graph.from_edge_index(torch.tensor([[0, 1, 2], [1, 2, 0]]), num_nodes=3)
        >>> graph.num_edges, graph.symmetrized().num_edges
        (3, 6)
    """

    adjacency: CSR
    is_symmetric: bool

    @property
    def num_nodes(self) -> int:
        """How many there are, N."""
        return self.adjacency.num_rows

    @property
    def num_edges(self) -> int:
        """Directed edges, self-loops counted once."""
        return self.adjacency.num_edges

    @property
    def weight(self) -> Tensor | None:
        """``[E]`` weights in the order of the adjacency; None: all are 1."""
        return self.adjacency.weight

    @classmethod
    def from_edge_index(
        cls,
        edge_index: Tensor,
        *,
        num_nodes: int,
        weight: Tensor | None = None,
        is_symmetric: bool | None = None,
        columns: Mapping[str, Tensor] | None = None,
    ) -> "Graph":
        """Build from ``[2, E]`` pairs (source, destination) in any order.

        Equal pairs become one edge, their weights added and their features averaged; pairs of another kind
        are not equal. ``is_symmetric`` is found out where it is not given; True is checked, False is taken
        as it is.

        Args:
            edge_index: the pairs.
            num_nodes: N.
            weight: ``[E]``.
            is_symmetric: every edge is there both ways with the same weight.
            columns: what else is known of edges: ``edge_attr`` ``[E, K]`` and ``edge_type`` ``[E]`` integer.

        Raises:
            InputError: the shape is wrong, a node is outside ``0..num_nodes - 1``, or a weight
                is missing or not finite.
        """
        if edge_index.ndim != 2 or edge_index.shape[0] != 2:
            raise InputError(f"edge_index must have shape [2, E], got {list(edge_index.shape)}")
        if edge_index.dtype.is_floating_point or edge_index.dtype == torch.bool:
            raise InputError(f"edge_index must hold integers, got {edge_index.dtype}")
        if edge_index.numel():
            low, high = (int(end) for end in torch.aminmax(edge_index))
            if low < 0 or high >= num_nodes:
                wrong = low if low < 0 else high
                raise InputError(f"edge_index names node {wrong}, outside 0..{num_nodes - 1}")
        if weight is not None:
            if weight.shape != edge_index.shape[1:]:
                raise InputError(
                    f"edge_weight must have one entry for each of {edge_index.shape[1]} edges, "
                    f"got shape {list(weight.shape)}"
                )
            if weight.dtype not in (torch.float32, torch.float64):
                weight = weight.to(torch.float32)
        narrow = index_dtype(num_nodes)
        src, dst = (edge_index[end].to(narrow) for end in (0, 1))
        checked = _columns(columns or {}, edge_index.shape[1])
        adjacency = CSR.from_pairs(dst, src, num_nodes, num_nodes, weight, checked)
        if adjacency.weight is not None and not bool(torch.isfinite(adjacency.weight).all()):
            raise InputError("edge_weight holds, or adds up to, NaN or infinite values")
        found = _symmetric(adjacency) if is_symmetric is not False else False
        if is_symmetric and not found:
            raise InputError(
                "is_symmetric is set but some edge has no counterpart of the same weight; "
                "drop the flag or add the reverse edges"
            )
        return cls(adjacency, found)

    @classmethod
    def from_scipy(cls, matrix: sp.sparray | sp.spmatrix, *, weighted: bool = True) -> "Graph":
        """Build from a square SciPy matrix whose entry ``[v, u]`` is the edge ``u -> v``."""
        coo = matrix.tocoo()
        if coo.shape[0] != coo.shape[1]:
            raise InputError(f"an adjacency matrix must be square, got {coo.shape}")
        pairs = torch.from_numpy(np.stack([coo.col, coo.row]))
        weight = torch.from_numpy(coo.data.copy()) if weighted else None
        return cls.from_edge_index(pairs, num_nodes=coo.shape[0], weight=weight)

    def to_scipy(self) -> sp.csr_array:
        """The adjacency for SciPy; entry ``[v, u]`` is the edge ``u -> v``."""
        return self.adjacency.to_scipy()

    def edge_index(self) -> Tensor:
        """``[2, E]`` pairs (source, destination), by destination, then source."""
        return torch.stack([self.adjacency.indices, self.adjacency.rows()])

    def symmetrized(self) -> "Graph":
        """Every edge both ways; the weight of a pair that had both directions is their sum.

        A self-loop keeps its weight. An unweighted pair stays one edge each way. A reverse edge has the kind
        and the features of the edge it comes of.
        """
        if self.is_symmetric:
            return self
        forth = self.adjacency
        loops = _is_loop(forth)
        back = forth.keep(~loops).transposed()
        rows = torch.cat([forth.rows(), back.rows()])
        cols = torch.cat([forth.indices, back.indices])
        weight = None
        if forth.weight is not None and back.weight is not None:
            weight = torch.cat([forth.weight, back.weight])
        columns = {name: torch.cat([column, back.columns[name]]) for name, column in forth.columns.items()}
        return Graph(CSR.from_pairs(rows, cols, self.num_nodes, self.num_nodes, weight, columns), True)

    def without_self_loops(self) -> "Graph":
        """The same graph without edges from a node to itself."""
        loops = _is_loop(self.adjacency)
        return Graph(self.adjacency.keep(~loops), self.is_symmetric) if bool(loops.any()) else self

    def with_self_loops(self) -> "Graph":
        """A self-loop of weight 1 wherever there is none; existing ones keep their weight.

        Nothing else is known of a new loop, so that the columns of edges are dropped.
        """
        missing = torch.ones(self.num_nodes, dtype=torch.bool)
        missing[self.adjacency.indices[_is_loop(self.adjacency)].long()] = False
        nodes = torch.nonzero(missing).flatten().to(self.adjacency.indices.dtype)
        weight = self.weight
        if weight is not None:
            weight = torch.cat([weight, weight.new_ones(nodes.numel())])
        rows = torch.cat([self.adjacency.rows(), nodes])
        cols = torch.cat([self.adjacency.indices, nodes])
        return Graph(CSR.from_pairs(rows, cols, self.num_nodes, self.num_nodes, weight), self.is_symmetric)

    def induced(self, nodes: Tensor) -> "Graph":
        """The subgraph on ``nodes`` ``[n]`` (ids, each once), renumbered in their order."""
        number = torch.full((self.num_nodes,), -1, dtype=self.adjacency.indices.dtype)
        number[nodes] = torch.arange(nodes.numel(), dtype=number.dtype)
        rows = self.adjacency.take_rows(nodes)
        cols = number[rows.indices.long()]
        inside = cols >= 0
        weight = None if rows.weight is None else rows.weight[inside]
        columns = {name: column[inside] for name, column in rows.columns.items()}
        adjacency = CSR.from_pairs(
            rows.rows()[inside], cols[inside], nodes.numel(), nodes.numel(), weight, columns
        )
        return Graph(adjacency, self.is_symmetric)

    def in_degree(self) -> Tensor:
        """``[N]`` float64: the weights (or number) of edges that end at each node."""
        return self.adjacency.row_sums()

    def out_degree(self) -> Tensor:
        """``[N]`` float64: the weights (or number) of edges that start at each node."""
        if self.is_symmetric:
            return self.in_degree()
        if self.weight is None:
            counts = torch.bincount(self.adjacency.indices, minlength=self.num_nodes)
            return counts.to(torch.float64)
        sums = torch.zeros(self.num_nodes, dtype=torch.float64)
        return sums.index_add_(0, self.adjacency.indices.long(), self.weight.double())

    def loop_weight(self) -> Tensor:
        """``[N]`` float64: the weight of each node's self-loop, NaN where it has none."""
        loops = _is_loop(self.adjacency)
        weight = torch.full((self.num_nodes,), torch.nan, dtype=torch.float64)
        values = 1.0 if self.weight is None else self.weight[loops].double()
        weight[self.adjacency.indices[loops].long()] = values
        return weight


def _columns(columns: Mapping[str, Tensor], num_edges: int) -> dict[str, Tensor]:
    found = {}
    for name, column in columns.items():
        if name not in EDGE_COLUMNS:
            raise InputError(f"{name} is not known of edges; there are {' and '.join(EDGE_COLUMNS)}")
        kinds = name == "edge_type"
        if column.ndim != (1 if kinds else 2) or len(column) != num_edges or 0 in column.shape[1:]:
            wanted = f"[{num_edges}]" if kinds else f"[{num_edges}, K]"
            raise InputError(f"{name} must have shape {wanted}, got {list(column.shape)}")
        if kinds and (column.dtype.is_floating_point or column.dtype == torch.bool):
            raise InputError(f"edge_type must hold integers, got {column.dtype}")
        if kinds and column.numel() and int(column.min()) < 0:
            raise InputError(f"edge_type holds {int(column.min())}; kinds count from 0")
        if not kinds and not bool(torch.isfinite(column).all()):
            raise InputError("edge_attr holds NaN or infinite values; replace them")
        found[name] = column.to(torch.int32 if kinds else torch.float32)
    return found


def _is_loop(adjacency: CSR) -> Tensor:
    return adjacency.indices == adjacency.rows()


def _symmetric(adjacency: CSR) -> bool:
    adjacency = replace(adjacency, columns={})
    flipped = adjacency.transposed()
    same = torch.equal(flipped.indptr, adjacency.indptr) and torch.equal(flipped.indices, adjacency.indices)
    if same and adjacency.weight is not None and flipped.weight is not None:
        same = torch.equal(flipped.weight, adjacency.weight)
    return same
