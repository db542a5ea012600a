"""A part like a rank's, but smaller: what is alive while it is trained on, times as much.

The miniature has all counts of a load, divided by one number: rows and edges of every layer, rows that leave
and that arrive. The trainer trains and evaluates on it as it would on the part, with nobody at the other end,
and all tensors that are alive are counted (:mod:`gcnsys.plan.live`): what backward keeps, gradients, rows
that cross and those under way, weights and what the optimizer knows of them. Those with a row for each row,
edge or entry count for as many as the part has of them. So no layer has to say what it keeps, nor has one's
own.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from gcnsys.graph import CSR, index_dtype
from gcnsys.kernels import SparseRows
from gcnsys.kernels.block import Degrees
from gcnsys.nn import Model
from gcnsys.nn.dropout import Inputs
from gcnsys.nn.model import draw
from gcnsys.partition import ExchangePlan, PartGraph
from gcnsys.partition.costs import Hop, Load
from gcnsys.partition.layers import Need, layer_graphs
from gcnsys.plan.alone import Alone
from gcnsys.plan.job import Job
from gcnsys.plan.live import Live
from gcnsys.runtime import PartBlock
from gcnsys.runtime.choices import Choices
from gcnsys.runtime.rows import sample_size
from gcnsys.train.best import Best
from gcnsys.train.optimizer import make_optimizer
from gcnsys.train.task import Task
from gcnsys.train.trainer import Trainer
from gcnsys.train.view import View, crossing

ROWS = 500
"""Inner rows of a miniature, about."""

PEERS = 16
"""Ranks of a miniature: with many, a step goes through all of them for a few rows each."""

_MASKS = 3
"""Of which each has an equal share of the rows."""

_EPOCHS = 3
"""In the last of so many, the optimizer has its moments, a pipeline its rows under way and its averages."""


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes that are alive at most, on a part and on others of its proportions.

    Attributes:
        of: the load that they were found for.
        fixed: those that depend on the model alone.
        grown: all others.
    """

    of: Load
    fixed: float
    grown: float

    def on(self, load: Load) -> float:
        """Of another part."""
        return self.fixed + self.grown * (load.inner + load.halo) / max(1, self.of.inner + self.of.halo)


def held(job: Job, load: Load, choices: Choices) -> Held:
    """What is alive at most while a part is trained and evaluated on.

    The arrays of its files are there already: they are not counted.

    Args:
        job: what is trained.
        load: of the part.
        choices: how rows cross.
    """
    widths = {size for weight in job.model.parameters() for size in weight.shape}
    widths |= {job.num_outputs, job.num_features, *range(8)}
    times = max(1.0, load.inner / ROWS)
    small = _resized(_of_fewer(load), 1 / times, widths)
    part, best = _Part(job, small), Best()
    graph, x, needs = part.graph, part.x, part.needs
    growing = part.counts | part.drawn(choices)
    with Live(growing - widths, times) as live:
        trainer = part.trainer(graph, x, needs, choices)
        live.restarted()
        for epoch in trainer.epochs(_EPOCHS):
            best.offer(epoch.number, trainer.evaluate(), trainer.model)
            fixed, grown = live.restarted()
    return Held(load, fixed, grown)


def _of_fewer(load: Load) -> Load:
    """The same load with fewer peers: what crosses is as much, in fewer pieces."""
    many = len(load.hops[0].sends)
    if many <= PEERS:
        return load

    def joined(counts: tuple[int, ...]) -> tuple[int, ...]:
        places = [1 + place * (PEERS - 1) // many for place in range(many)]
        found = [0] * PEERS  # the first is the rank itself
        for place, count in zip(places, counts, strict=True):
            found[place] += count
        return tuple(found)

    return replace(load, hops=tuple(
        replace(hop, sends=joined(hop.sends), receives=joined(hop.receives)) for hop in load.hops
    ))  # fmt: skip


def _resized(load: Load, share: float, avoided: Collection[int]) -> Load:
    """A load so many times as large, none of whose counts is one of those."""

    def plain(count: int) -> int:
        return -(-round(1000 * count * share) // 1000)

    def some(count: int) -> int:
        found = plain(count)
        while count and share < 1 and found in avoided:
            found += 1
        return found

    def hop(each: Hop) -> Hop:
        sends, receives = (tuple(map(plain, side)) for side in (each.sends, each.receives))
        return Hop(
            some(each.rows), some(each.inner_edges), some(each.halo_edges), sends, receives,
            some(each.sources),
        )  # fmt: skip

    return replace(
        load, inner=some(load.inner), halo=some(load.halo), boundary=some(load.boundary),
        inner_edges=some(load.inner_edges), halo_edges=some(load.halo_edges),
        hops=tuple(map(hop, load.hops)), flipped=some(load.flipped),
    )  # fmt: skip


class _Part:
    """A made-up part with the counts of a load."""

    def __init__(self, job: Job, load: Load) -> None:
        self.job, self.load = job, load
        self.generator = torch.Generator().manual_seed(0)
        hops = load.hops
        # What the ranks send each other where nothing is left out; of a pruned layer, the first so many.
        self.sends = _apart(load.boundary, hops[0].sends)
        self.receives = _apart(load.halo, hops[0].receives)

    @property
    def counts(self) -> set[int]:
        """How long what grows with a part is: rows, edges, what crosses, entries of features."""
        load, graph = self.load, self.graph
        inner, halo, looped = (each.num_edges for each in (graph.inner, graph.halo, graph.inner.looped()))
        found = {load.inner, load.halo, load.boundary, load.inner + load.halo, load.inner + 1, load.halo + 1}
        found |= {inner, halo, looped, inner + halo, looped + halo}
        for layer in range(self.job.model.num_blocks):
            hop = load.hop(layer)
            found |= {hop.rows, hop.sources or load.inner, sum(hop.sends), sum(hop.receives)}
            found |= {hop.inner_edges, hop.halo_edges, hop.inner_edges + hop.halo_edges}
        last = load.hop(self.job.model.num_blocks - 1).rows
        found |= {-(-(rows - place) // _MASKS) for rows in (load.inner, last) for place in range(_MASKS)}
        return found | ({self.x.num_edges} if isinstance(self.x, CSR) else set())

    def drawn(self, choices: Choices) -> set[int]:
        """How many rows cross where some are drawn, a layer each way."""
        if choices.rows == "all":
            return set()
        pairs = [side for hop in self.load.hops for side in (hop.sends, hop.receives)]
        return {
            sum(sample_size(choices.rate, each) for each in side)
            for side in (*pairs, self.sends, self.receives)
        }

    @property
    def whole(self) -> bool:
        """Whether every layer computes all rows."""
        return len(self.load.hops) == 1 and self.load.hops[0].rows == self.load.inner

    @cached_property
    def graph(self) -> PartGraph:
        load = self.load
        inner = self._edges(load.inner, load.inner_edges, load.inner, pruned=True)
        halo = self._edges(load.inner, load.halo_edges, load.halo)
        ones = torch.ones(max(load.inner, load.halo), dtype=torch.float64)
        degrees, halo_degrees = (
            Degrees(ones[:n].clone(), ones[:n].clone(), ones[:n].clone()) for n in (load.inner, load.halo)
        )
        plan = ExchangePlan(
            torch.arange(load.boundary) % max(1, load.inner), self.sends, self.receives,
            torch.ones(load.boundary, dtype=torch.int64),
        )  # fmt: skip
        return PartGraph(
            0, torch.arange(load.inner), load.inner + torch.arange(load.halo), inner, halo, degrees,
            halo_degrees, plan, load.symmetric,
        )  # fmt: skip

    @cached_property
    def x(self) -> Tensor | CSR:
        rows, width = self.load.inner, self.job.num_features
        if not self.job.sparse:
            return torch.randn(rows, width, generator=self.generator)
        each = max(1, round(self.load.flipped / (8 * max(1, rows))))
        columns = torch.randint(width, (rows, each), generator=self.generator).to(torch.int32)
        return CSR(torch.arange(rows + 1) * each, columns.flatten(), width, torch.ones(rows * each))

    @cached_property
    def needs(self) -> tuple[Need, ...]:
        """Of every layer, where rows are left out; none where they are not."""
        if self.whole:
            return ()
        found = []
        for layer in range(self.job.model.num_blocks):
            hop = self.load.hop(layer)
            found.append(
                Need(
                    hop.rows, hop.sources or self.load.inner, _first(self.receives, hop.receives),
                    _first(self.sends, hop.sends),
                )
            )  # fmt: skip
        return tuple(found)

    def trainer(
        self, graph: PartGraph, x: Tensor | CSR, needs: tuple[Need, ...], choices: Choices
    ) -> Trainer:
        """As :func:`gcnsys.train.making.make_trainer` makes it."""
        job, config = self.job, self.job.config
        comm = Alone(graph.num_parts)
        model = draw(replace(job).model, seed=0)
        model.to(dtype=getattr(torch, config.dtype))
        blocks, everything = self._blocks(graph, needs, comm, model)
        features = _features(x, config.stored, copied=bool(needs))
        inputs: Inputs = features
        whole = (everything,) * model.num_blocks
        if job.precomputed and isinstance(features, Tensor):
            inputs = model.precompute(whole, features)
        evaluation = _view(whole, inputs, job)
        training = evaluation
        if needs:
            rows = blocks[0].input_ids.numel()
            if isinstance(inputs, Tensor):
                inputs = inputs[:rows]
            elif not isinstance(inputs, SparseRows):
                inputs = inputs.head(blocks[model.ready_hops - 1].output_ids.numel())
            elif rows < inputs.shape[0]:
                inputs = inputs.take_rows(torch.arange(rows))
            training = _view(blocks, inputs, job)
        if not choices.exact or choices.schedule != "sync":
            training = crossing(
                training, comm, choices, device=torch.device("cpu"), keep=model.recompute, agree=False
            )
        return Trainer(model, training, evaluation, Task(), make_optimizer(model, config), comm)

    def _blocks(
        self, graph: PartGraph, needs: tuple[Need, ...], comm: Alone, model: Model
    ) -> tuple[tuple[PartBlock, ...], PartBlock]:
        if not needs:
            block = _block(graph, comm)
            return (block,) * model.num_blocks, block
        order = torch.arange(graph.num_inner)
        graphs = layer_graphs(graph, order, (Need.all_of(graph), *needs))
        made: list[PartBlock] = []
        for place, each in enumerate(graphs):
            again = place > 0 and each is graphs[place - 1]
            made.append(made[-1] if again else _block(each, comm))
        return tuple(made[1:]), made[0]

    def _edges(self, rows: int, edges: int, columns: int, *, pruned: bool = False) -> CSR:
        """So many edges, as many of each row; of a row that a layer computes, from rows that it reads."""
        if not rows or not columns:
            edges = 0
        ends = torch.arange(rows + 1) * edges // max(1, rows)
        row = torch.repeat_interleave(torch.arange(rows), ends.diff())
        limit = torch.full((rows,), columns)
        if pruned:
            for hop in self.load.hops:
                limit[: hop.rows] = limit[: hop.rows].clamp(max=hop.sources or columns)
        drawn = torch.rand(edges, generator=self.generator) * limit[row]
        weight = torch.ones(edges) if self.load.weighted else None
        return CSR(ends, drawn.to(index_dtype(columns)), columns, weight)


def _apart(total: int, counts: tuple[int, ...]) -> tuple[int, ...]:
    """All boundary rows by rank, in the proportions of those that the first layer needs."""
    share = total / max(1, sum(counts))
    found = [round(share * count) for count in counts]
    if sum(found) != total:
        place = max(range(len(found)), key=found.__getitem__)
        found[place] += total - sum(found)
    return tuple(found)


def _first(groups: tuple[int, ...], wanted: tuple[int, ...]) -> Tensor:
    """1 for the first so many of each group, 0 for the others."""
    parts = [torch.arange(size) < count for size, count in zip(groups, wanted, strict=True)]
    return torch.cat(parts).long()


def _block(graph: PartGraph, comm: Alone) -> PartBlock:
    block = PartBlock(graph, comm, torch.device("cpu"))
    block.input_kinds = torch.zeros(graph.num_inner, dtype=torch.int32)
    return block


def _features(x: Tensor | CSR, stored: torch.dtype, *, copied: bool) -> Tensor | SparseRows:
    """As a rank has them: by column as well, and where rows are left out, in another order."""
    rows = SparseRows.from_csr(x) if isinstance(x, CSR) else x
    if copied:
        order = torch.arange(rows.shape[0])
        rows = rows.take_rows(order) if isinstance(rows, SparseRows) else rows[order]
    return rows.to(stored)


def _view(blocks: tuple[PartBlock, ...], inputs: Inputs, job: Job) -> View:
    count = blocks[-1].output_ids.numel()
    ids = torch.arange(count)
    rows = {name: ids[place::_MASKS].clone() for place, name in enumerate(("train", "val", "test"))}
    return View(blocks, inputs, ids % max(1, job.num_outputs), rows)
