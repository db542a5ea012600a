"""Products by a plan of shared sums, where that is faster than without.

Letters: N nodes, F features.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.graph import CSR, Graph
from gcnsys.islands.plan import ReusePlan
from gcnsys.kernels import LocalBlock, Matrix
from gcnsys.kernels.backend import as_rows, core, native_for

TILES = (16, 32, 64)
"""Features of a slab that are tried, in numbers of four bytes."""

_PRODUCTS = 300
"""That are computed at most until it is clear which way is fastest, and as many plain ones before."""

_PATIENCE = 4.0
"""Seconds after which no more are, once every way has been gone."""

_GAIN = 0.9
"""Of the plain product's time: smaller gains turn into losses with where memory lies and what else runs."""

_LEAST_BYTES = 64


class SharedMatrix(Matrix):
    """A symmetric matrix without weights, whose rows share sums in a product where that is faster.

    The first product of a width goes both ways in turn until it is clear which is faster (some four seconds
    at most, or two products each), and later ones keep to it. The transpose is the same matrix, so that a
    gradient takes the same way.

    Args:
        csr: ``[N, N]``.
        plan: that stands for it.

    Raises:
        InputError: edges have weights of their own, or the plan is of another size.

    Attributes:
        seconds: a product without and with shared sums, by features, type and threads, where both were tried.
    """

    def __init__(self, csr: CSR, plan: ReusePlan) -> None:
        if csr.weight is not None:
            raise InputError("rows share sums of edges without weights; drop the weights, or share no sums")
        if plan.num_nodes != csr.num_rows:
            raise InputError(f"a plan for {plan.num_nodes} nodes cannot be used for {csr.num_rows}")
        super().__init__(csr, symmetric=True)
        self.plan = plan
        self.seconds: dict[tuple[int, torch.dtype, int], tuple[float, float]] = {}
        self._ways: dict[tuple[int, torch.dtype, int], tuple[int, bool]] = {}
        self._native: Any = None

    def times(
        self, x: Tensor, out: Tensor | None = None, *, weight: Tensor | None = None,
        row_scale: Tensor | None = None, column_scale: Tensor | None = None,
        column_map: Tensor | None = None, rows: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        plain = weight is not None or column_map is not None or rows is not None
        tile, ahead = (0, False) if plain else self._way(x)
        if tile:
            return self.shared_times(
                x, out, row_scale=row_scale, column_scale=column_scale, tile=tile, ahead=ahead
            )
        return super().times(
            x, out, weight=weight, row_scale=row_scale, column_scale=column_scale, column_map=column_map,
            rows=rows,
        )  # fmt: skip

    def shared_times(
        self, x: Tensor, out: Tensor | None = None, *, row_scale: Tensor | None = None,
        column_scale: Tensor | None = None, tile: int = 32, ahead: bool = False,
    ) -> Tensor:  # fmt: skip
        """``D A C x`` by shared sums, whether that is faster or not; see :meth:`gcnsys.kernels.Matrix.times`.

        Args:
            x: ``[N, F]`` float32 or float64.
            out: what the product is added to.
            row_scale: ``[N]`` diagonal D.
            column_scale: ``[N]`` diagonal C.
            tile: features that are added up before the next ones; only where the core runs.
            ahead: rows are fetched into the cache before their turn; only there as well.
        """
        row_scale = None if row_scale is None else row_scale.to(x).contiguous()
        column_scale = None if column_scale is None else column_scale.to(x).contiguous()
        if not self._fits(x):
            return self._shared_by_torch(x, out, row_scale, column_scale)
        accumulate = out is not None
        if out is None:
            out = x.new_empty(self.csr.num_rows, x.shape[1])
        threads = torch.get_num_threads()
        self._rows().product(as_rows(x), out, accumulate, row_scale, column_scale, threads, tile, ahead)
        return out

    def _fits(self, x: Tensor) -> bool:
        wide = x.shape[1] * x.element_size() >= _LEAST_BYTES
        return native_for(x) is not None and x.dtype != torch.bfloat16 and wide

    def _rows(self) -> Any:
        if self._native is None:
            module = core()
            assert module is not None
            patterns = [
                module.Pattern(part.indptr, part.indices.to(torch.int32), part.num_cols)
                for part in (*self.plan.levels, self.plan.rows)
            ]
            *levels, rows = patterns
            self._native = module.SharedRows(self.csr.num_rows, levels, rows, self.plan.rows.weight)
        return self._native

    def _shared_by_torch(
        self, x: Tensor, out: Tensor | None, row_scale: Tensor | None, column_scale: Tensor | None
    ) -> Tensor:
        terms = x if column_scale is None else x * column_scale[:, None]
        for level in self.plan.levels:
            terms = torch.cat([terms, Matrix(level).times(terms)])
        return Matrix(self.plan.rows).times(terms, out, row_scale=row_scale)

    def _way(self, x: Tensor) -> tuple[int, bool]:
        """Features of a slab (0: no sums are shared), and whether rows are fetched ahead."""
        key = x.shape[1], x.dtype, torch.get_num_threads()
        known = self._ways.get(key)
        if known is not None and x.device.type == "cpu":
            return known
        if not self._fits(x) or not self.plan.num_shared:
            return 0, False
        x = x.detach()
        ways = [(tile * 4 // x.element_size(), ahead) for tile in TILES for ahead in (False, True)]
        shared = [partial(self.shared_times, x, tile=tile, ahead=ahead) for tile, ahead in ways]
        # Not this one: what is fastest in a loop of its own need not be so among what runs later on.
        plain, *taken = _compared(Matrix(self.csr, symmetric=True), x, shared)
        self.seconds[key] = plain, min(taken)
        self._ways[key] = ways[taken.index(min(taken))] if min(taken) < _GAIN * plain else (0, False)
        return self._ways[key]


def shared_block(graph: Graph, plan: ReusePlan) -> LocalBlock:
    """A whole graph on one device, whose neighbours' sums are shared where that is faster.

    Args:
        graph: symmetric, without weights.
        plan: that stands for its adjacency.

    Raises:
        InputError: the graph has directions or weights, or the plan is of another size.
    """
    if not graph.is_symmetric:
        raise InputError("rows share sums of edges that go both ways; make the graph symmetric first")
    block = LocalBlock.from_graph(graph)
    block.matrix = SharedMatrix(graph.adjacency, plan)
    return block


def _compared(plain: Matrix, x: Tensor, shared: Sequence[Callable[[], object]]) -> list[float]:
    """Seconds of the plain product and of shared ones: the fastest's last, times what others are behind."""
    # On one thread its own time counts, whatever else the machine does.
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    began, module = time.perf_counter(), core()
    assert module is not None
    runs: list[Callable[[], object]] = [partial(plain.times, x), *shared]
    for run in runs:
        run()  # builds what is kept, and takes fresh memory
    plain.find_way(x, seconds=_PATIENCE / 2)  # it is to show its best
    contest, latest = module.Contest(len(runs)), [0.0] * len(runs)
    for _ in range(_PRODUCTS):
        place = contest.next()
        start = clock()
        runs[place]()
        latest[place] = clock() - start
        contest.settle(place, latest[place])
        if contest.decided or (contest.begun and time.perf_counter() - began > _PATIENCE):
            break
    return [latest[contest.best] * contest.behind(place) for place in range(len(runs))]
