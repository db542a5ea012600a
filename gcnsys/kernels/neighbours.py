r"""Draws among the neighbours of some nodes, and subgraphs.

All randomness is a hash (:mod:`gcnsys.kernels.dropout`) of (seed, step, site) and of global node ids: what a
node draws is the same whoever draws it, in which order, with how many threads, natively or in torch, and on
whichever rank. Three ways to draw among a node's in-edges:

- ``uniform``: a fixed number, each set equally likely (Floyd's method, Bentley & Floyd 1987), or with
  repetition.
- ``weighted``: a fixed number without repetition, the first in an exponential race at the speeds of the
  weights (Efraimidis & Spirakis 2006); given when the next one arrived, each was in with probability
  :math:`1 - e^{-w t}` (Cohen & Kaplan 2007), which makes sums unbiased.
- ``poisson``: each neighbour u of v if a number that belongs to u is below a threshold of v, so that
  nodes share neighbours (LABOR, Balin & Çatalyürek 2023).

Letters: n nodes that are asked for, N nodes of the graph, E edges of it, e edges that are drawn.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.graph import CSR, located, offsets
from gcnsys.kernels.backend import core
from gcnsys.kernels.dropout import DropoutKey, hashed, row_words, steps

_UNIT = 2.0**-32


@dataclass(frozen=True, eq=False, slots=True)
class Drawn:
    """In-edges of some nodes.

    Attributes:
        indptr: ``[n + 1]`` int64: which edges end at each node.
        columns: ``[e]`` where they start: ids in the graph or, of a subgraph, places among its nodes.
        edges: ``[e]`` int64 which edges of the graph they are; None: not asked for.
        factor: ``[n]`` float64, one over the probability with which all edges of a node were drawn; None: 1.
        inverse: ``[e]`` float64, that of each edge, where those of a node differ in it; None: 1.
    """

    indptr: Tensor
    columns: Tensor
    edges: Tensor | None
    factor: Tensor | None = None
    inverse: Tensor | None = None


class EdgeWeights:
    """Weights to draw by.

    Args:
        csr: the graph's adjacency.
        weight: ``[E]``, not negative; what has 0 is never drawn.

    Raises:
        InputError: the weights are of another number, negative or not finite.
    """

    def __init__(self, csr: CSR, weight: Tensor) -> None:
        weight = weight.double().contiguous()
        if weight.shape != csr.indices.shape:
            raise InputError(f"{csr.num_edges} edges need as many weights, got shape {list(weight.shape)}")
        if not bool((weight >= 0).all() & weight.isfinite().all()):
            raise InputError("weights to draw by must be finite and at least 0")
        self.weight = weight
        self.positive = CSR(csr.indptr, csr.indices, csr.num_cols, (weight > 0).float()).row_sums().long()


class Neighbours:
    """A graph's adjacency ``[N, N]``, or some rows of it, ready for draws on the CPU.

    Args:
        csr: row v lists the nodes that send to v; kept, not copied.
        row_ids: ``[N]`` int64, what rows are called in draws; None: their numbers.
        column_ids: the same of columns.
    """

    def __init__(self, csr: CSR, row_ids: Tensor | None = None, column_ids: Tensor | None = None) -> None:
        self.csr = CSR(csr.indptr.contiguous(), csr.indices.contiguous(), csr.num_cols)
        self.row_ids, self.column_ids = row_ids, column_ids
        self.degree = csr.indptr.diff()

    @cached_property
    def _pattern(self) -> Any:
        module = core()
        return (
            None if module is None else module.Pattern(self.csr.indptr, self.csr.indices, self.csr.num_cols)
        )

    def all_of(self, nodes: Tensor) -> Drawn:
        """All in-edges of ``nodes`` ``[n]``."""
        counts = self.degree[nodes]
        indptr = offsets(counts)
        first = torch.repeat_interleave(self.csr.indptr[nodes] - indptr[:-1], counts)
        edges = first + torch.arange(int(indptr[-1]))
        return Drawn(indptr, self.csr.indices[edges], edges)

    def uniform(
        self, nodes: Tensor, count: int, key: DropoutKey, *, repeated: bool = False, numbered: bool = True
    ) -> Drawn:
        """``count`` in-edges of each node, or all if there are no more; in the order of the graph.

        Args:
            nodes: ``[n]`` int64.
            count: at least 0.
            key: what the draw depends on besides the nodes.
            repeated: an edge may be drawn more than once; a node with in-edges gets ``count`` of them.
            numbered: say which edges of the graph they are.
        """
        size = self.degree[nodes]
        counts = torch.where(size > 0, count, 0) if repeated else size.clamp(max=count)
        indptr = offsets(counts)
        factor = size.double() / max(1, count)
        factor = factor if repeated else factor.clamp_(min=1)
        if self._pattern is not None:
            columns, edges = self._room(indptr, numbered)
            self._pattern.draw_uniform(
                nodes, self._ids(nodes), steps(key), count, repeated, indptr, columns, edges,
                torch.get_num_threads(),
            )  # fmt: skip
            return Drawn(indptr, columns, edges, factor)
        a, b = row_words(key, self._called(nodes))
        places = torch.arange(count).repeat(nodes.numel(), 1)
        for j in range(count):
            word = hashed(a, b, torch.tensor(j, dtype=torch.int32)).long() & 0xFFFFFFFF
            limit = size - count + j
            drawn = (word * (size if repeated else limit + 1)) >> 32
            taken = (places[:, :j] == drawn[:, None]).any(1) & (not repeated)
            few = size <= (0 if repeated else count)
            places[:, j] = torch.where(few, places[:, j], torch.where(taken, limit, drawn))
        there = torch.arange(count) < counts[:, None]
        edges = (self.csr.indptr[nodes][:, None] + places.sort(1).values)[there]
        return Drawn(indptr, self.csr.indices[edges], edges, factor)

    def weighted(self, nodes: Tensor, count: int, key: DropoutKey, weights: EdgeWeights) -> Drawn:
        """The ``count`` in-edges of each node that win its race, or all of a weight if there are no more."""
        indptr = offsets(weights.positive[nodes].clamp(max=count))
        columns, edges, until = self._raced(nodes, count, key, weights.weight, indptr)
        until = torch.repeat_interleave(until, indptr.diff())
        return Drawn(indptr, columns, edges, None, -1 / torch.expm1(-weights.weight[edges] * until))

    def _raced(
        self, nodes: Tensor, count: int, key: DropoutKey, weight: Tensor, indptr: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Columns and numbers of the edges that win, and when the first of each node's others arrives."""
        if self._pattern is not None:
            columns, edges = self._room(indptr, numbered=True)
            assert edges is not None
            until = torch.empty(nodes.numel(), dtype=torch.float64)
            self._pattern.draw_weighted(
                nodes, self._ids(nodes), steps(key), count, weight, indptr, columns, until, edges,
                torch.get_num_threads(),
            )  # fmt: skip
            return columns, edges, until
        (a, b), whole = row_words(key, self._called(nodes)), self.all_of(nodes)
        assert whole.edges is not None
        rows = torch.repeat_interleave(torch.arange(nodes.numel()), whole.indptr.diff())
        places = torch.arange(rows.numel()) - whole.indptr[rows]
        words = hashed(a[rows], b[rows], places.to(torch.int32)).long() & 0xFFFFFFFF
        speed = weight[whole.edges]
        times = torch.where(speed > 0, -((words.double() + 0.5) * _UNIT).log() / speed, torch.inf)
        order = times.argsort(stable=True)
        order = order[rows[order].argsort(stable=True)]
        rank = torch.empty_like(order)
        rank[order] = torch.arange(order.numel()) - whole.indptr[rows]
        won = rank < indptr.diff()[rows]
        until = torch.full((nodes.numel(),), torch.inf, dtype=torch.float64)
        next_one = rank == indptr.diff()[rows]
        until[rows[next_one]] = times[next_one]
        return whole.columns[won], whole.edges[won], until

    def rate(self, nodes: Tensor, expected: int) -> Tensor:
        """The probability of its in-edges at which ``expected`` of a node's are drawn, ``[n]`` float64."""
        return (expected / self.degree[nodes].double()).clamp(max=1)

    def poisson(self, nodes: Tensor, rate: Tensor, key: DropoutKey, *, numbered: bool = True) -> Drawn:
        """Each in-edge of ``nodes[i]`` with probability ``rate[i]``; a source draws once for all its edges.

        Args:
            nodes: ``[n]`` int64.
            rate: ``[n]`` float64 in ``[0, 1]``, kept to a multiple of 2^-32.
            key: what the numbers of sources depend on besides their ids.
            numbered: say which edges of the graph they are.
        """
        below = thresholds(rate)
        factor = 2.0**32 / below.double()
        (a,), (b,) = row_words(key, torch.zeros(1, dtype=torch.int64))
        if self._pattern is not None:
            counts, words = torch.empty_like(nodes), (int(a) & 0xFFFFFFFF, int(b) & 0xFFFFFFFF)
            threads = torch.get_num_threads()
            self._pattern.draw_poisson(
                nodes, *words, below, self.column_ids, counts, None, None, None, threads
            )
            indptr = offsets(counts)
            columns, edges = self._room(indptr, numbered)
            self._pattern.draw_poisson(
                nodes, *words, below, self.column_ids, None, indptr, columns, edges, threads
            )
            return Drawn(indptr, columns, edges, factor)
        whole = self.all_of(nodes)
        assert whole.edges is not None
        rows = torch.repeat_interleave(torch.arange(nodes.numel()), whole.indptr.diff())
        sources = whole.columns if self.column_ids is None else self.column_ids[whole.columns.long()]
        kept = source_words(a, b, sources) < below[rows]
        indptr = offsets(torch.bincount(rows[kept], minlength=nodes.numel()))
        return Drawn(indptr, whole.columns[kept], whole.edges[kept], factor)

    def step(self, nodes: Tensor, unit: Tensor) -> Tensor:
        """The column of an in-edge of each node, ``[n]`` int64; -1 where there is none.

        Args:
            nodes: ``[n]`` int64, any number of times.
            unit: ``[n]`` float64 in ``[0, 1)``, which of its edges each one gets.
        """
        if self._pattern is not None:
            found = torch.empty_like(nodes)
            self._pattern.step(nodes, unit, found, torch.get_num_threads())
            return found
        degree = self.degree[nodes]
        found, some = torch.full_like(nodes, -1), degree > 0
        place = self.csr.indptr[nodes] + (unit * degree).long()
        found[some] = self.csr.indices[place[some]].long()
        return found

    def between(self, nodes: Tensor, sources: Tensor, *, numbered: bool = True) -> Drawn:
        """The edges to ``nodes`` from ``sources``; ``columns`` are places among the latter, int32.

        Args:
            nodes: ``[n]`` int64.
            sources: ``[k]`` int64, each named once.
            numbered: say which edges of the graph they are.
        """
        if self._pattern is not None:
            starts, counts = offsets(self.degree[nodes]), torch.empty_like(nodes)
            columns = torch.empty(int(starts[-1]), dtype=torch.int32)
            edges = torch.empty(columns.numel(), dtype=torch.int64) if numbered else None
            threads = torch.get_num_threads()
            total = self._pattern.induce(nodes, sources, starts, counts, columns, edges, threads)
            # What was not needed of the room is given back.
            edges = None if edges is None else edges[:total].clone()
            return Drawn(offsets(counts), columns[:total].clone(), edges)
        whole = self.all_of(nodes)
        assert whole.edges is not None
        ids, places = sources.sort()
        found = located(whole.columns, ids)
        kept = found >= 0
        rows = torch.repeat_interleave(torch.arange(nodes.numel()), whole.indptr.diff())
        indptr = offsets(torch.bincount(rows[kept], minlength=nodes.numel()))
        return Drawn(indptr, places[found[kept]].to(torch.int32), whole.edges[kept])

    def _ids(self, nodes: Tensor) -> Tensor | None:
        return None if self.row_ids is None else self.row_ids[nodes]

    def _called(self, nodes: Tensor) -> Tensor:
        return nodes if self.row_ids is None else self.row_ids[nodes]

    def _room(self, indptr: Tensor, numbered: bool) -> tuple[Tensor, Tensor | None]:
        total = int(indptr[-1])
        edges = torch.empty(total, dtype=torch.int64) if numbered else None
        return torch.empty(total, dtype=self.csr.indices.dtype), edges


def thresholds(rate: Tensor) -> Tensor:
    """What words of 32 bits must be below to come up with a probability, ``[n]`` int64."""
    return (rate.double() * 2**32).ceil().long().clamp_(0, 2**32)


def source_words(a: Tensor, b: Tensor, ids: Tensor) -> Tensor:
    """32 bits as int64 for each id, for the words of a draw."""
    ids = ids.long()
    low, high = ((ids << 32) >> 32).to(torch.int32), (ids >> 32).to(torch.int32)
    return hashed(a ^ (high * (0x85EBCA6B - 2**32)), b, low).long() & 0xFFFFFFFF
