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
from gcnsys.sampling.neighbourhood import Found, Neighbourhood, WholeGraph


class Errand:
    """Questions about nodes on their way to the owners, and the answers on their way back; collective.

    Args:
        nodes: ``[k]`` places.
        starts: ``[P + 1]`` where each rank's places begin.
        comm: the ranks.
        said: ``[k]`` float64 that goes with each question; None: nothing.

    Attributes:
        rows: ``[r]`` inner rows that this rank is asked about, by who asks.
        heard: ``[r]`` what was said with them.
    """

    def __init__(self, nodes: Tensor, starts: Tensor, comm: Comm, said: Tensor | None = None) -> None:
        self.comm = comm
        owner = torch.searchsorted(starts, nodes, right=True) - 1
        self._order = owner.argsort(stable=True)
        asked = torch.bincount(owner, minlength=comm.size)
        ones = [1] * comm.size
        coming = comm.swap(asked[:, None], ones, ones).land()[:, 0]
        self._asked, self._coming = asked.tolist(), coming.tolist()
        self.rows = self._sent((nodes - starts[owner])[self._order])
        self.heard = None if said is None else self._sent(said[self._order])

    def _sent(self, values: Tensor) -> Tensor:
        return self._crossed(values, self._asked, self._coming)

    def _crossed(self, values: Tensor, leaving: list[int], arriving: list[int]) -> Tensor:
        rows = values[:, None] if values.ndim == 1 else values
        came = self.comm.swap(rows, leaving, arriving).land()
        return came[:, 0] if values.ndim == 1 else came

    def answered(self, values: Tensor) -> Tensor:
        """Answers ``[r, ...]``, a row a question, as ``[k, ...]`` in the order of this rank's own ones."""
        came = self._crossed(values, self._coming, self._asked)
        found = torch.empty_like(came)
        found[self._order] = came
        return found

    def listed(self, counts: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Answers of several rows each.

        Args:
            counts: ``[r]`` int64, how many.
            values: ``[sum, ...]``, question by question.

        Returns:
            ``[k]`` counts and the rows, in the order of this rank's own questions.
        """
        own = self.answered(counts)
        leaving = [int(part.sum()) for part in counts.split(self._coming)]
        sorted_counts = own[self._order]
        arriving = [int(part.sum()) for part in sorted_counts.split(self._asked)]
        came = self._crossed(values, leaving, arriving)
        place = torch.empty_like(self._order)
        place[self._order] = torch.arange(place.numel())
        rows = CSR(offsets(sorted_counts), torch.arange(came.shape[0]), came.shape[0])
        return own, came[rows.take_rows(place).indices]


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
        sizes = torch.zeros(comm.size, dtype=torch.int64)
        sizes[comm.rank] = part.num_inner
        sizes = comm.add(sizes, "control")
        self.starts = offsets(sizes)
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
        rate = (expected / self.neighbours.degree[errand.rows].double()).clamp(max=1)
        return self._found(errand, self.neighbours.poisson(errand.rows, rate, key))

    def between(self, nodes: Tensor, sources: Tensor) -> Found:
        found = self.all_of(nodes)
        return Found(found.csr.keep(located(found.csr.indices, sources.sort().values) >= 0), found.in_weight)

    def induced(self, nodes: Tensor, inverse: Tensor | None = None, *, numbered: bool = False) -> Found:
        errand = self._errand(nodes)
        drawn = self.neighbours.all_of(errand.rows)
        assert drawn.edges is not None
        numbers = errand.listed(drawn.indptr.diff(), drawn.edges)[1] if numbered else None
        if inverse is not None:
            drawn = replace(drawn, inverse=inverse[drawn.edges])
        found = self._found(errand, drawn)
        ids, order = nodes.sort()
        place = located(found.csr.indices, ids)
        kept = place >= 0
        csr = found.csr.keep(kept)
        columns = order[place[kept]].to(torch.int32)
        csr = CSR(csr.indptr, columns, nodes.numel(), csr.weight, csr.columns)
        counts = None if found.inverse is None else found.inverse[kept]
        return Found(csr, found.in_weight, None, counts, None if numbers is None else numbers[kept])

    def step(self, nodes: Tensor, unit: Tensor) -> Tensor:
        errand = Errand(nodes, self.starts, self.comm, unit)
        assert errand.heard is not None
        degree = self.neighbours.degree[errand.rows]
        place = self.csr.indptr[errand.rows] + (errand.heard * degree).long()
        there = torch.full_like(errand.rows, -1)
        some = degree > 0
        there[some] = self.places[self.csr.indices[place[some]].long()]
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
        assert errand.heard is not None
        there = (rows * self.num_nodes + sources).sort().values
        found: Tensor = located(errand.rows * self.num_nodes + errand.heard.long(), there) >= 0
        return errand.answered(found)

    def told(self, nodes: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        errand = Errand(nodes, self.starts, self.comm, values)
        assert errand.heard is not None
        return errand.rows, errand.heard

    def all_say(self, value: float) -> Tensor:
        said = torch.zeros(self.comm.size, dtype=torch.float64)
        said[self.comm.rank] = value
        return self.comm.add(said, "control")

    def ask(self, process: Tensor, said: Tensor, answer: Callable[[Tensor], Tensor]) -> Tensor:
        errand = Errand(self.starts[process], self.starts, self.comm, said)
        assert errand.heard is not None
        answers: Tensor = answer(errand.heard)
        return errand.answered(answers)

    def _errand(self, nodes: Tensor) -> Errand:
        return Errand(nodes, self.starts, self.comm)

    def _found(self, errand: Errand, drawn: Drawn) -> Found:
        counts, edges = drawn.indptr.diff(), drawn.edges
        assert edges is not None
        in_weight = errand.answered(self._in_weight[errand.rows])
        sources = self.places[drawn.columns.long()].to(index_dtype(self.num_nodes))
        own, columns = errand.listed(counts, sources)
        weight = None if self.csr.weight is None else errand.listed(counts, self.csr.weight[edges])[1]
        known = {name: errand.listed(counts, column[edges])[1] for name, column in self.csr.columns.items()}
        factor = None if drawn.factor is None else errand.answered(drawn.factor)
        inverse = None if drawn.inverse is None else errand.listed(counts, drawn.inverse)[1]
        csr = CSR(offsets(own), columns, self.num_nodes, weight, known)
        return Found(csr, in_weight, factor, inverse)
