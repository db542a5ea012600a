"""Where a sampler looks edges up when the graph lies on many ranks: what it asks of a node goes to its owner.

Nodes are named by their places: rank after rank, in each part's order. So their owners follow from the sizes
of the parts, and nobody holds a table of all nodes. Draws are keyed by global ids, as in
:mod:`gcnsys.kernels.neighbours`: a node draws the same whoever asks.

Letters: k nodes that this rank asks about, r that it is asked about, n inner nodes, h halo nodes, P parts.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from gcnsys.graph import CSR, Graph, index_dtype, located, offsets
from gcnsys.kernels.block import Degrees
from gcnsys.kernels.dropout import DropoutKey
from gcnsys.kernels.neighbours import Drawn, EdgeWeights, Neighbours
from gcnsys.partition import PartGraph
from gcnsys.runtime.comm import Comm
from gcnsys.runtime.errand import Errand
from gcnsys.sampling.neighbourhood import Found, Neighbourhood, WholeGraph


def neighbourhood(part: PartGraph, comm: Comm) -> Neighbourhood:
    """The graph of all ranks' parts, wherever they lie; collective."""
    if comm.size > 1:
        return PartNeighbourhood(part, comm)
    return WholeGraph(Graph(part.inner, part.is_symmetric), part.inner_ids)


class PartNeighbourhood:
    """The graph of all ranks' parts; every method is collective.

    Args:
        part: this rank's share.
        comm: the ranks.

    Attributes:
        num_nodes: of the whole graph.
        own: places of the inner nodes.
        starts: ``[P + 1]`` where each rank's places begin.
        places: ``[n + h]`` of the inner nodes, then of the halo nodes.
    """

    def __init__(self, part: PartGraph, comm: Comm) -> None:
        self.part, self.comm = part, comm
        self.starts = offsets(self.all_say(part.num_inner).long())
        self.num_nodes = int(self.starts[-1])
        first = int(self.starts[comm.rank])
        self.own = range(first, first + part.num_inner)
        inner = torch.arange(first, first + part.num_inner)
        plan = part.plan
        sent = inner[plan.send_rows][:, None]
        halo = comm.swap(sent, plan.send_counts, plan.recv_counts).land()[:, 0]
        self.places = torch.cat([inner, halo])
        self.csr = part.inner.followed_by(part.halo)
        ids = torch.cat([part.inner_ids, part.halo_ids])
        self.neighbours = Neighbours(self.csr, part.inner_ids, ids)

    @cached_property
    def _in_weight(self) -> Tensor:
        return self.csr.row_sums()

    def all_of(self, nodes: Tensor) -> Found:
        errand = self._errand(nodes)
        return self._found(errand, self.neighbours.all_of(errand.rows))

    def uniform(self, nodes: Tensor, count: int, key: DropoutKey, *, repeated: bool) -> Found:
        errand = self._errand(nodes)
        return self._found(errand, self.neighbours.uniform(errand.rows, count, key, repeated=repeated))

    def weighted(self, nodes: Tensor, count: int, key: DropoutKey, weights: EdgeWeights) -> Found:
        """``count`` in-edges of each node, by weights ``[e]`` of the edges that end on this rank."""
        errand = self._errand(nodes)
        return self._found(errand, self.neighbours.weighted(errand.rows, count, key, weights))

    def poisson(self, nodes: Tensor, expected: int, key: DropoutKey) -> Found:
        errand = self._errand(nodes)
        rate = self.neighbours.rate(errand.rows, expected)
        return self._found(errand, self.neighbours.poisson(errand.rows, rate, key))

    def between(self, nodes: Tensor, sources: Tensor) -> Found:
        found = self.all_of(nodes)
        return Found(found.csr.keep(located(found.csr.indices, sources.sort().values) >= 0), found.in_weight)

    def induced(self, nodes: Tensor, inverse: Tensor | None = None, *, numbered: bool = False) -> Found:
        errand = self._errand(nodes)
        drawn = self.neighbours.all_of(errand.rows)
        if inverse is not None:
            assert drawn.edges is not None
            drawn = replace(drawn, inverse=inverse[drawn.edges])
        found = self._found(errand, drawn, numbered=numbered)
        ids, order = nodes.sort()
        place = located(found.csr.indices, ids)
        kept = place >= 0
        csr = replace(
            found.csr.keep(kept), indices=order[place[kept]].to(torch.int32), num_cols=nodes.numel()
        )
        counts = None if found.inverse is None else found.inverse[kept]
        return Found(csr, found.in_weight, None, counts, None if found.edges is None else found.edges[kept])

    def step(self, nodes: Tensor, unit: Tensor) -> Tensor:
        errand = Errand(nodes, self.starts, self.comm, unit)
        there = self.neighbours.step(errand.rows, errand.heard)
        there = torch.where(there < 0, there, self.places[there])
        return errand.answered(there)

    def degrees(self, nodes: Tensor) -> Degrees:
        errand = self._errand(nodes)
        own = self.part.degrees.take(errand.rows)
        found = errand.answered(torch.stack([own.into, own.out_of, own.added_loop], 1))
        return Degrees(*(column.contiguous() for column in found.unbind(1)))

    def rows(self, nodes: Tensor, values: Tensor) -> Tensor:
        errand = self._errand(nodes)
        return errand.answered(values[errand.rows])

    def adjacency(self) -> CSR:
        columns = self.places[self.csr.indices.long()].to(index_dtype(self.num_nodes))
        return CSR(self.csr.indptr, columns, self.num_nodes, self.csr.weight)

    def by_source(self, values: Tensor) -> Tensor:
        halo = self.rows(self.places[len(self.own) :], values)
        return torch.cat([values, halo])[self.csr.indices.long()]

    def to_sources(self, values: Tensor) -> Tensor:
        sums = torch.zeros(self.places.numel(), dtype=torch.float64)
        sums.index_add_(0, self.csr.indices.long(), values.double())
        own, halo = sums.split([len(self.own), self.places.numel() - len(self.own)])
        rows, heard = self.told(self.places[len(self.own) :], halo)
        together: Tensor = own.index_add(0, rows, heard)
        return together

    def returned(self) -> Tensor:
        adjacency = self.adjacency()
        rows, sources = adjacency.rows().long(), adjacency.indices.long()
        errand = Errand(sources, self.starts, self.comm, (rows + self.own.start).double())
        there = (rows * self.num_nodes + sources).sort().values
        found: Tensor = located(errand.rows * self.num_nodes + errand.heard.long(), there) >= 0
        return errand.answered(found)

    def told(self, nodes: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        errand = Errand(nodes, self.starts, self.comm, values)
        return errand.rows, errand.heard

    def all_say(self, value: float) -> Tensor:
        said = torch.zeros(self.comm.size, dtype=torch.float64)
        said[self.comm.rank] = value
        return self.comm.add(said, "control")

    def ask(self, process: Tensor, said: Tensor, answer: Callable[[Tensor], Tensor]) -> Tensor:
        errand = Errand(self.starts[process], self.starts, self.comm, said)
        answers: Tensor = answer(errand.heard)
        return errand.answered(answers)

    def _errand(self, nodes: Tensor) -> Errand:
        return Errand(nodes, self.starts, self.comm)

    def _found(self, errand: Errand, drawn: Drawn, *, numbered: bool = False) -> Found:
        edges = drawn.edges
        assert edges is not None
        known = {name: column[edges] for name, column in self.csr.columns.items()}
        if drawn.inverse is not None:
            known["inverse"] = drawn.inverse
        if numbered:
            known["edge"] = edges
        sources = self.places[drawn.columns.long()].to(index_dtype(self.num_nodes))
        weight = None if self.csr.weight is None else self.csr.weight[edges]
        csr = errand.listed(CSR(drawn.indptr, sources, self.num_nodes, weight, known))
        columns = dict(csr.columns)
        inverse, numbers = columns.pop("inverse", None), columns.pop("edge", None)
        in_weight = errand.answered(self._in_weight[errand.rows])
        factor = None if drawn.factor is None else errand.answered(drawn.factor)
        return Found(replace(csr, columns=columns), in_weight, factor, inverse, numbers)
