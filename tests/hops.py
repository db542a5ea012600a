"""Receptive fields grown one hop after the other, node by node: what the fast way has to find."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gcnsys.graph import Graph
from gcnsys.partition import cut
from gcnsys.partition.layers import layer_graphs
from gcnsys.runtime import PartBlock
from gcnsys.runtime.receptive_field import receptive_field
from gcnsys.testing.ranks import run_ranks


@dataclass(frozen=True)
class Case:
    """A graph, how it is cut, which rows of the last layer are looked at, and how many layers there are."""

    graph: Graph
    assignment: Tensor
    num_parts: int
    wanted: Tensor
    depth: int

    @property
    def dense(self) -> Tensor:
        """``[N, N]``; the row receives."""
        return torch.from_numpy(self.graph.to_scipy().toarray()).double()

    def sets(self) -> list[set[int]]:
        """Rows before the first layer, after it, ..., after the last: a hop at a time, node by node."""
        senders = [row.nonzero().flatten().tolist() for row in self.dense]
        found = [set(self.wanted.nonzero().flatten().tolist())]
        for _ in range(self.depth):
            found.append(found[-1] | {u for v in found[-1] for u in senders[v]})
        return found[::-1]

    def crossing(self, rows: set[int]) -> set[tuple[int, int]]:
        """Receivers and rows of others that a layer needs to compute some rows."""
        part = self.assignment.tolist()
        edges = self.dense.nonzero().tolist()
        return {(part[v], u) for v, u in edges if v in rows and part[v] != part[u]}

    def on_ranks(self, body):
        """Run ``body(field, layers)`` on every rank, ``layers`` the pruned blocks."""
        parts = cut(self.graph, self.assignment, self.num_parts)

        def on_rank(comm):
            part = parts[comm.rank]
            field = receptive_field(part, self.wanted[part.inner_ids], self.depth, comm)
            layers = layer_graphs(part, field.order, field.needs)
            return body(field, [PartBlock(graph, comm) for graph in layers])

        return run_ranks(self.num_parts, on_rank, timeout=20)
