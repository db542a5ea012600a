"""Batches of an epoch, drawn and fetched beside the training of the ones before.

Every rank has seeds among its inner nodes, and all take the same number of batches: of a rank that has
fewer seeds they are smaller. What a batch needs of other ranks is asked for on connections of its own, by a
thread that is at most a few batches ahead.

Letters: D rows that come out of a batch, t of them trained on.
"""

import queue
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gcnsys.graph import located
from gcnsys.kernels import Block, LocalBlock, SparseRows
from gcnsys.kernels.sampled import SampledBlock
from gcnsys.runtime import Comm, Traffic
from gcnsys.runtime.block import total
from gcnsys.runtime.labels import labelled
from gcnsys.runtime.node_store import NodeStore
from gcnsys.sampling import Moment, Sample, Sampler

_STEPS = 2**32
"""More than any epoch has."""

_PATIENCE = 2.0


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """What one step is computed from.

    Attributes:
        step: since the run began; not without gaps.
        blocks: one an aggregation.
        inputs: what the first one reads.
        rows: ``[t]`` which of the D rows are trained on.
        y: ``[t]`` or ``[t, C]`` their targets.
        weight: ``[t]`` what each of them counts; None: 1.
        size: what the summed loss is divided by, the same on all ranks.
        metrics: of its sample, and how many seconds it took to draw, and to gather.
        spent: what fetching it sent, beside what the ranks that train have counted themselves.
    """

    step: int
    blocks: tuple[Block, ...]
    inputs: Tensor | SparseRows
    rows: Tensor
    y: Tensor
    weight: Tensor | None
    size: float
    metrics: Mapping[str, float]
    spent: Traffic


class Batches:
    """Draws the batches of each epoch.

    Args:
        sampler: draws them.
        store: features and targets.
        seeds: this rank's training nodes.
        comm: the ranks, for this object alone.
        main: the ranks, for what is done with the batches.
        size: seeds of a batch, over all ranks.
        seed: of draws.
        ahead: batches that may wait; 0: each is drawn when it is asked for.
        device: of rows.
    """

    def __init__(
        self, sampler: Sampler, store: NodeStore, seeds: Tensor, comm: Comm, main: Comm, *, size: int,
        seed: int, ahead: int, device: torch.device,
    ) -> None:  # fmt: skip
        self.sampler, self.store, self.seeds, self.comm, self.main = sampler, store, seeds, comm, main
        self.seed, self.ahead, self.device = seed, ahead, device
        self.num_train = int(comm.add(torch.tensor([seeds.numel()]), "control"))
        self.size = -(-size * seeds.numel() // max(1, self.num_train))
        # Where seeds are drawn, their number alone counts: the same on all ranks, which take as many batches.
        self._dealt = seeds if sampler.covers else torch.arange(-(-self.num_train // comm.size))

    def epoch(self, number: int) -> Generator[Batch]:
        """The batches of an epoch; collective, and to be closed by whoever stops early."""
        self.comm.timeout = self.main.timeout
        seeds = list(self.sampler.batches(self._dealt, self.size, Moment(self.seed, number)))
        with self.main.leaning():
            count = int(self.comm.greatest(torch.tensor([len(seeds)])))
            seeds += [self.seeds[:0]] * (count - len(seeds))
            sizes = torch.tensor([float(each.numel()) for each in seeds], dtype=torch.float64)
            sizes = self.comm.add(sizes, "control") if count else sizes
        if not self.sampler.covers:
            sizes.fill_(self.num_train * self.comm.size)
        if not self.ahead:
            for place, (each, size) in enumerate(zip(seeds, sizes.tolist(), strict=True)):
                waited, began = self.main.spent().seconds["halo"], time.perf_counter()
                made = self._made(each, number * _STEPS + place, size)
                self.main.spent()
                self.main.traffic.seconds["halo"] = waited + time.perf_counter() - began
                yield made
            return
        with closing(_Ahead(self, seeds, number * _STEPS, sizes.tolist())) as ahead:
            for _ in range(count):
                yield ahead.next()

    def _made(self, seeds: Tensor, step: int, size: float) -> Batch:
        before, began = self.comm.traffic.copy(), time.perf_counter()
        with labelled("draw a batch"):
            sample = self.sampler.sample(seeds, Moment(self.seed, step))
        drawn = time.perf_counter()
        with labelled("gather its rows"):
            inputs = self.store.features(sample.input_ids)
        rows, y, weight = self._trained(sample, seeds)
        blocks = self._blocks(sample)
        seconds = {"draw_seconds": drawn - began, "gather_seconds": time.perf_counter() - drawn}
        spent = Traffic() if self.comm is self.main else self.comm.traffic.since(before)
        metrics = {**sample.metrics, **seconds}
        return Batch(step, blocks, inputs, rows, y, weight, size, metrics, spent)

    def _trained(self, sample: Sample, seeds: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        out = sample.output_ids
        if self.sampler.covers:  # seeds are this rank's own nodes
            ids, order = out.sort()
            rows = order[located(seeds, ids)]
            y = self.store.nodes.y[seeds - self.store.graph.own.start]
        else:
            y, mask = self.store.targets(out)
            rows = torch.nonzero(mask).flatten()
            y = y[rows]
        return rows, y, None if sample.weight is None else sample.weight[rows]

    def _blocks(self, sample: Sample) -> tuple[Block, ...]:
        """The sample's blocks, with all they need of other ranks."""
        kinds = self.store.kinds(sample.input_ids)
        if self.comm.size > 1:
            # A block asks for degrees in the midst of training: what could still travel then, does so now.
            degrees = self.store.graph.degrees(sample.input_ids)
        for block in dict.fromkeys(sample.blocks):
            if kinds is not None:
                block.input_kinds = kinds[: block.input_ids.numel()]
            if self.comm.size > 1 and isinstance(block, SampledBlock):
                block.find_degrees = lambda ids: degrees.take(slice(ids.numel()))
            if isinstance(block, LocalBlock):
                block.over_ranks = self._total if self.comm.size > 1 else None
        if self.device.type != "cpu":  # backward would fetch the graph from the device for it
            for block in sample.blocks[1:]:
                if isinstance(block, LocalBlock):
                    _ = block.matrix.flipped
        return sample.blocks

    def _total(self, x: Tensor) -> Tensor:
        return total(x, self.main)

    def placed(self, batch: Batch) -> Batch:
        """A batch on the device that computes."""
        if self.device.type == "cpu":
            return batch
        moved = {block: block.to(self.device) if isinstance(block, LocalBlock) else block for block in
                 batch.blocks}  # fmt: skip
        for block in moved.values():
            if block.input_kinds is not None:
                block.input_kinds = block.input_kinds.to(self.device)
        weight = None if batch.weight is None else batch.weight.to(self.device)
        return replace(
            batch, blocks=tuple(moved[block] for block in batch.blocks), inputs=batch.inputs.to(self.device),
            rows=batch.rows.to(self.device), y=batch.y.to(self.device), weight=weight,
        )  # fmt: skip


class _Ahead:
    """A thread that makes an epoch's batches, some of them before they are asked for."""

    def __init__(self, batches: Batches, seeds: list[Tensor], first: int, sizes: list[float]) -> None:
        self.batches, self.seeds, self.first, self.sizes = batches, seeds, first, sizes
        self.limit, self.taken = len(seeds), 0
        self._made: queue.Queue[Batch | Exception] = queue.Queue()
        self._room = threading.Semaphore(batches.ahead)
        self._thread = threading.Thread(target=self._run, name="gcnsys-batches", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for place, (seeds, size) in enumerate(zip(self.seeds, self.sizes, strict=True)):
                self._room.acquire()
                if place >= self.limit:
                    return
                self._made.put(self.batches._made(seeds, self.first + place, size))
        except Exception as error:
            self._made.put(error)

    def next(self) -> Batch:
        began = time.perf_counter()
        with labelled("wait for a batch"), self.batches.main.leaning():
            made = self._made.get()
        self.batches.main.traffic.seconds["halo"] += time.perf_counter() - began
        if isinstance(made, Exception):
            raise made
        self.taken += 1
        self._room.release()
        return made

    def close(self) -> None:
        """Have the thread end after the same batch on every rank: none may ask what no other answers.

        Where one rank alone gives up, the others will not come so far: it does not wait for them.
        """
        self.limit = min(self.limit, self.taken + self.batches.ahead)
        for _ in range(len(self.seeds)):
            self._room.release()
        self._thread.join(_PATIENCE)
