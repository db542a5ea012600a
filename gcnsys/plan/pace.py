"""How fast a rank computes: by a stated rate, or measured with the very model.

Measured, the model trains for a few epochs on three graphs: one of the shape that a rank will hold, the same
nodes without edges, and a few nodes alone. Their differences are what an edge, a node and an epoch itself
cost, whatever the model is made of. Rows that cross are drawn, packed, rounded and added back besides: that
is measured on rows of the widest kind.
"""

import contextlib
import itertools
import math
import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from gcnsys.errors import GcnsysError
from gcnsys.graph import CSR, Graph
from gcnsys.kernels import LocalBlock, SparseRows
from gcnsys.kernels.dropout import DropoutKey
from gcnsys.kernels.rows import RowSelection
from gcnsys.nn import set_dropout_epoch
from gcnsys.nn.dropout import Inputs
from gcnsys.nn.model import draw
from gcnsys.plan.job import Job
from gcnsys.runtime.codec import CODECS, codec
from gcnsys.runtime.crossing import spread
from gcnsys.runtime.rows import Boundary, Occasion, Uniform
from gcnsys.train.optimizer import make_optimizer

FEW = 8
"""Nodes of a graph whose epoch costs nothing but itself."""

REPEATS = 5
MOST_NODES, MOST_NUMBERS = 20_000, 1 << 26
"""What is measured on: more nodes, or more numbers (features of nodes, rows over edges), are left out."""

_ROWS = 4096

_WAYS, _PATIENCE = 40, 3.0
"""Epochs, or seconds, after which products are taken to have found their way."""


@dataclass(frozen=True)
class Pace:
    """Seconds of computing.

    Attributes:
        epoch: whatever the graph.
        node: a node of an epoch.
        edge: an edge of an epoch.
        packed: a number that crosses: taken out, added back.
        coded: a number that crosses in each codec's form, besides.
        draw: of some of the rows that can cross one way.
        candidate: each of those rows, besides.
        unevenness: how much one epoch takes more or less than another, as a share (a standard deviation).
        source: where this is from.
    """

    epoch: float
    node: float
    edge: float
    packed: float
    coded: Mapping[str, float] = field(default_factory=dict)
    draw: float = 0.0
    candidate: float = 0.0
    unevenness: float = 0.0
    source: str = ""

    def seconds(self, nodes: float, edges: float) -> float:
        """An epoch on a part, but for what crosses."""
        return self.epoch + self.node * nodes + self.edge * edges

    def crossing(self, numbers: float, codec_name: str) -> float:
        """What an epoch's crossing numbers cost its rank."""
        return numbers * (self.packed + self.coded.get(codec_name, 0.0))

    def drawing(self, rows: Sequence[int]) -> float:
        """An epoch's draws, each from so many rows."""
        return self.draw * len(rows) + self.candidate * sum(rows)

    def waiting(self, seconds: float, ranks: int, meetings: int) -> float:
        """How long a rank waits in an epoch for others that compute as much, but not at the same time.

        Between two meetings each takes a time of its own, independent of all others, and the last one counts:
        of normal times that is, on average, the mean and so many deviations as Blom (1958) says.

        Args:
            seconds: an epoch's computing.
            ranks: that meet.
            meetings: in an epoch.
        """
        if ranks < 2 or not self.unevenness:
            return 0.0
        deviations = statistics.NormalDist().inv_cdf((ranks - 0.375) / (ranks + 0.25))
        return math.sqrt(meetings) * deviations * self.unevenness * seconds


def stated(job: Job, flops: float) -> Pace:
    """From operations a second: a bound from below, for aggregation is bound by memory."""
    a_node, an_edge = job.flops
    return Pace(0.0, a_node / flops, an_edge / flops, 0.0, source=f"{flops / 1e12:.4g} TFLOPS, as stated")


def measured(job: Job, graph: Graph, x: Tensor | SparseRows, ranks: int = 1) -> Pace:
    """From a few epochs in this process, with as many threads as it has.

    Args:
        job: what is trained.
        graph: of the shape that a rank will hold.
        x: its features ``[n, F]``.
        ranks: that share a machine: as many processes compute meanwhile, as caches and memory are shared.
    """
    nodes, edges = graph.num_nodes, graph.num_edges
    few = min(FEW, nodes)
    steps = (
        step_on(job, _without_edges(few), _head(x, few)), step_on(job, _without_edges(nodes), x),
        step_on(job, graph, x),
    )  # fmt: skip
    for step in steps:
        step()
    _settle(steps[-1])
    with _others(ranks - 1, steps[-1]):
        # In turns, so that what else the machine does is the same for all three.
        times = [[_timed(step) for step in steps] for _ in range(REPEATS + 1)][1:]
    alone, bare, whole = (statistics.median(found) for found in zip(*times, strict=True))
    a_node = max(0.0, bare - alone) / max(1, nodes - few)
    width = max(1, *job.widths.features)
    return Pace(
        max(0.0, alone - few * a_node), a_node, max(0.0, whole - bare) / max(1, edges), _packing(width),
        {name: _coding(name, width) for name in CODECS if name != "fp32"}, *_drawing(),
        _unevenness([found[-1] for found in times]),
        f"measured here: {REPEATS} epochs of {nodes:,} nodes and {edges:,} edges, "
        f"{torch.get_num_threads()} thread{'' if torch.get_num_threads() == 1 else 's'}"
        + (f", {ranks} ranks at once" if ranks > 1 else ""),
    )  # fmt: skip


def _settle(step: Callable[[], None]) -> None:
    """Products try several ways at first, and some of those take long."""
    began = time.perf_counter()
    for _ in range(_WAYS):
        if time.perf_counter() - began > _PATIENCE:
            break
        step()


def _unevenness(seconds: Sequence[float]) -> float:
    """The standard deviation as a share, by that from the median: one disturbance says little."""
    middle = statistics.median(seconds)
    return 1.4826 * statistics.median(abs(each - middle) for each in seconds) / middle


@contextlib.contextmanager
def _others(count: int, step: Callable[[], None]) -> Iterator[None]:
    """Processes that do the same over and over while a block runs."""
    children = [_forked(step, os.getpid()) for _ in range(count)]
    try:
        yield
        ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
        if any(os.waitid(os.P_PID, child, ended) for child in children):
            raise GcnsysError("a process that computed beside the measured one ended before it; plan again")
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _forked(step: Callable[[], None], parent: int) -> int:
    child = os.fork()
    if child:
        return child

    def steps() -> None:
        while os.getppid() == parent:
            step()

    # OpenMP's threads did not come along: the thread that had them would wait for ever, a new one has its own
    worker = threading.Thread(target=steps)
    worker.start()
    worker.join()
    os._exit(0)


def sample(job: Job, nodes: int, edges: int) -> tuple[Graph, Tensor | SparseRows]:
    """A random graph of that many edges a node, and random features as wide and as dense as the job's.

    It is smaller where the real one would take long.
    """
    degree = edges / max(1, nodes)
    count = max(2, min(nodes, MOST_NODES, int(MOST_NUMBERS / _numbers(job, degree))))
    generator = torch.Generator().manual_seed(0)
    pairs = torch.randint(count, (2, round(count * degree)), generator=generator)
    graph = Graph.from_edge_index(pairs, num_nodes=count)
    return graph, _random_features(count, job, generator)


def fits(job: Job, graph: Graph) -> bool:
    """Whether a graph is small enough to be measured on as it is."""
    nodes, degree = graph.num_nodes, graph.num_edges / max(1, graph.num_nodes)
    return 0 < nodes <= MOST_NODES and nodes * _numbers(job, degree) <= MOST_NUMBERS


def _numbers(job: Job, degree: float) -> float:
    """How many a node of this degree takes part with: its features, and rows over its edges."""
    share = 1.0 if job.density is None else job.density
    return max(1.0, job.num_features * share + degree * max(1, *job.widths.features))


def _random_features(count: int, job: Job, generator: torch.Generator) -> Tensor | SparseRows:
    if job.density is None:
        return torch.randn(count, job.num_features, generator=generator)
    each = max(1, round(job.density * job.num_features))
    columns = torch.randint(job.num_features, (count, each), generator=generator).to(torch.int32)
    indptr = torch.arange(count + 1) * each
    return SparseRows.from_csr(CSR(indptr, columns.flatten(), job.num_features))


def _without_edges(nodes: int) -> Graph:
    return Graph.from_edge_index(torch.empty(2, 0, dtype=torch.int64), num_nodes=nodes, is_symmetric=True)


def _head(x: Tensor | SparseRows, count: int) -> Tensor | SparseRows:
    return x[:count] if isinstance(x, Tensor) else x.take_rows(torch.arange(count))


def step_on(job: Job, graph: Graph, x: Tensor | SparseRows) -> Callable[[], None]:
    """What makes one step of training on all of a graph."""
    # The job's own model stays as it is: this one learns.
    model = draw(replace(job).model, seed=0)
    model.train()
    optimizer = make_optimizer(model, job.config)
    block = LocalBlock.from_graph(graph)
    block.input_kinds = torch.zeros(graph.num_nodes, dtype=torch.int32)
    blocks = (block,) * model.num_blocks
    inputs: Inputs = model.precompute(blocks, x) if job.precomputed and isinstance(x, Tensor) else x
    y, numbers = torch.arange(graph.num_nodes) % job.num_outputs, itertools.count()

    def step() -> None:
        set_dropout_epoch(model, seed=0, epoch=next(numbers))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(blocks, inputs), y).backward()
        optimizer.step()

    return step


def _packing(width: int) -> float:
    """Seconds a number for taking rows out and adding rows back, half of either."""
    rows = torch.randperm(2 * _ROWS, generator=torch.Generator().manual_seed(0))[:_ROWS]
    selection, x = RowSelection(rows, 2 * _ROWS), torch.randn(2 * _ROWS, width)
    taken = selection.take(x)
    both = _best(lambda: selection.add_back(selection.take(x), x))
    return both / (2 * taken.numel())


def _coding(name: str, width: int) -> float:
    rows, form = torch.randn(_ROWS, width), codec(name)
    ids = torch.arange(_ROWS)
    key = DropoutKey(0, 0, 0)
    both = _best(lambda: form.decode(form.encode(rows, key, ids), width, rows.dtype))
    return both / rows.numel()


def _drawing() -> tuple[float, float]:
    """Seconds of a draw, and of each row that it is made of besides."""
    uniform, epochs, like = Uniform(0.1), itertools.count(), torch.ones(1)

    def seconds(count: int) -> float:
        boundary = Boundary(0, 1, torch.ones(count, dtype=torch.int64))

        def run() -> None:
            share = spread(*uniform.draw_all([boundary], Occasion(0, next(epochs))), count)
            share.scaled(like)
            share.place  # noqa: B018

        run()
        return _best(run)

    few, many = seconds(FEW), seconds(_ROWS)
    each = max(0.0, many - few) / (_ROWS - FEW)
    return few - FEW * each, each


def _best(run: Callable[[], object]) -> float:
    return min(_timed(run) for _ in range(REPEATS))


def _timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
