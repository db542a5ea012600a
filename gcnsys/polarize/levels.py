"""Aggregation on two levels: dense products for dense diagonal blocks, sparse ones for the rest.

In the order of the layout a block's rows lie side by side. Whether a block is worth it is decided by what
this machine takes for a number of either kind, and both ways are tried for a width before the faster is kept.

Letters: N nodes, S subgraphs, E edges, F features.
"""

import time
from collections.abc import Callable, Sequence
from functools import cache, partial

import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.graph import CSR, Graph, Layout
from gcnsys.kernels import LocalBlock, Matrix
from gcnsys.kernels.backend import summed
from gcnsys.polarize.dense import Batches, DenseBlock, DenseProducts, Slices, dense_blocks

_TRIALS = 3
_GAIN = 0.95
"""Of the plain product's time: what is not faster than that may as well be chance."""

_SIDE, _PER_ROW = 512, 64
"""Of the block that is tried: nodes, and edges that end at each."""


class TwoLevelMatrix(Matrix):
    """A matrix in the order of a layout whose dense diagonal blocks may be multiplied densely.

    Args:
        csr: ``[N, N]``.
        layout: whose groups are the subgraphs; the matrix lies in its order.
        symmetric: the matrix equals its transpose.
        threshold: density from which a block is dense; None: measured on this machine for the width of a
            product; above 1: no block is.

    Raises:
        InputError: the layout is of another graph.

    Attributes:
        seconds: a product without and with dense blocks, by features and type, where both were tried.
    """

    def __init__(
        self, csr: CSR, layout: Layout, *, symmetric: bool = False, threshold: float | None = None
    ) -> None:
        if layout.order.numel() != csr.num_rows or csr.num_rows != csr.num_cols:
            raise InputError(
                f"a layout of {layout.order.numel()} nodes is not that of a matrix of {csr.num_rows} rows "
                f"and {csr.num_cols} columns"
            )
        super().__init__(csr, symmetric=symmetric)
        self.layout, self.threshold = layout, threshold
        self.seconds: dict[tuple[int, torch.dtype, int], tuple[float, float]] = {}
        self._levels: dict[tuple[float, torch.dtype], Levels | None] = {}
        self._chosen: dict[tuple[int, torch.dtype, int], Levels | None] = {}

    @property
    def flipped(self) -> Matrix:
        if self._flipped is None:
            self._flipped = TwoLevelMatrix(self.csr.transposed(), self.layout, threshold=self.threshold)
        return self._flipped

    def to(self, device: torch.device) -> "TwoLevelMatrix":
        return TwoLevelMatrix(
            self.csr.to(device), self.layout, symmetric=self.symmetric, threshold=self.threshold
        )

    def times(
        self, x: Tensor, out: Tensor | None = None, *, weight: Tensor | None = None,
        row_scale: Tensor | None = None, column_scale: Tensor | None = None,
        column_map: Tensor | None = None, rows: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        plain = weight is not None or column_map is not None or rows is not None or x.dtype == torch.bfloat16
        levels = None if plain else self.levels(x)
        if levels is not None:
            return levels.times(x, out, row_scale, column_scale)
        return super().times(
            x, out, weight=weight, row_scale=row_scale, column_scale=column_scale, column_map=column_map,
            rows=rows,
        )  # fmt: skip

    def levels(self, x: Tensor) -> "Levels | None":
        """The two levels that products like this one take; None: they are no faster."""
        key = x.shape[1], x.dtype, torch.get_num_threads()
        if key not in self._chosen:
            threshold = self.threshold
            if threshold is None:
                threshold = density_threshold(x.shape[1], x.dtype, x.device, key[2])
            made = self._made(threshold, x.dtype)
            if made is not None and self.threshold is None:
                x = x.detach()
                self.find_way(x)  # the plain product is to show its best
                plain, both = _in_turn(partial(super().times, x), partial(made.times, x, None, None, None))
                self.seconds[key] = plain, both
                made = made if both < _GAIN * plain else None
            self._chosen[key] = made
        return self._chosen[key]

    def _made(self, threshold: float, dtype: torch.dtype) -> "Levels | None":
        key = threshold, dtype
        if key not in self._levels:
            chosen = [block for block in dense_blocks(self.csr, self.layout) if block.density >= threshold]
            self._levels[key] = Levels.of(self.csr, chosen, dtype) if chosen else None
        return self._levels[key]


class Levels:
    """Dense blocks, and what lies beside them.

    Args:
        blocks: on the diagonal, none over another.
        dense: their products.
        remainder: ``[N, N]``.
    """

    def __init__(self, blocks: Sequence[DenseBlock], dense: DenseProducts, remainder: Matrix) -> None:
        self.blocks, self.dense, self.remainder = blocks, dense, remainder

    @classmethod
    def of(
        cls, csr: CSR, blocks: Sequence[DenseBlock], dtype: torch.dtype, *, batched: bool | None = None
    ) -> "Levels":
        """Take some blocks out of a matrix.

        Args:
            csr: the matrix.
            blocks: some of its diagonal blocks.
            dtype: of their entries.
            batched: products of many blocks at once; None: where the matrix is not in a CPU's memory.
        """
        rows, cols = csr.rows().long(), csr.indices.long()
        number = torch.full((csr.num_rows,), -1, device=rows.device)
        for place, block in enumerate(blocks):
            number[block.start : block.stop] = place
        inner = (number[rows] == number[cols]) & (number[rows] >= 0)
        values = []
        for block in blocks:
            first, last = csr.indptr[[block.start, block.stop]].tolist()
            inside = inner[first:last]
            made = torch.zeros(block.size, block.size, dtype=dtype, device=rows.device)
            weight = made.new_ones(1) if csr.weight is None else csr.weight[first:last][inside].to(dtype)
            places = rows[first:last][inside] - block.start, cols[first:last][inside] - block.start
            values.append(made.index_put_(places, weight, accumulate=True))
        way = Batches if (rows.device.type != "cpu" if batched is None else batched) else Slices
        return cls(blocks, way(blocks, values), Matrix(csr.keep(~inner)))

    def times(
        self, x: Tensor, out: Tensor | None, row_scale: Tensor | None, column_scale: Tensor | None
    ) -> Tensor:
        """``D A C x``, added to ``out``; see :meth:`gcnsys.kernels.Matrix.times`."""
        made = self.remainder.times(x, row_scale=row_scale, column_scale=column_scale)
        self.dense.add_to(made, x, row_scale, column_scale)
        return made if out is None else out.add_(made)

    @property
    def products_per_nonzero(self) -> float:
        """Multiplications of the dense products, for each entry of theirs that is not 0; without padding."""
        edges = sum(block.edges for block in self.blocks)
        return sum(block.size**2 for block in self.blocks) / max(1, edges)

    @property
    def nbytes(self) -> int:
        """Memory of both levels, without that of kernels."""
        csr = self.remainder.csr
        parts = [csr.indptr, csr.indices] + ([] if csr.weight is None else [csr.weight])
        return self.dense.nbytes + sum(part.nbytes for part in parts)


@cache
def density_threshold(features: int, dtype: torch.dtype, device: torch.device, threads: int) -> float:
    """The density from which a dense product of a block takes less time than a sparse one, on this machine.

    Args:
        features: F of the rows that are multiplied.
        dtype: of them.
        device: where.
        threads: of a CPU; the result is kept for each number of them.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(_SIDE, features, generator=generator).to(device, summed(dtype))
    cols = torch.randint(_SIDE, (_SIDE * _PER_ROW,), generator=generator)
    rows = torch.repeat_interleave(torch.arange(_SIDE), _PER_ROW)
    csr = CSR.from_pairs(rows, cols, _SIDE, _SIDE)
    sparse = Matrix(csr.to(device))
    dense = torch.randn(_SIDE, _SIDE, generator=generator).to(x)
    by_edge, by_entry = _in_turn(partial(sparse.times, x), partial(torch.matmul, dense, x))
    return min(2.0, (by_entry / _SIDE**2) / (by_edge / csr.num_edges))


def _in_turn(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the fastest of a few runs of either, in turn, after as many that warm up."""
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(3 * _TRIALS):
        for way, run in enumerate((first, second)):
            _settle()
            began = time.perf_counter()
            run()
            _settle()
            if number >= _TRIALS:
                taken[way].append(time.perf_counter() - began)
    return min(taken[0]), min(taken[1])


def _settle() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def two_level_block(graph: Graph, layout: Layout, *, threshold: float | None = None) -> LocalBlock:
    """A whole graph in the order of a layout that aggregates on two levels where that is faster.

    Args:
        graph: in the order of the layout.
        layout: whose groups are the subgraphs.
        threshold: see :class:`TwoLevelMatrix`.

    Raises:
        InputError: the layout is of another graph.
    """
    block = LocalBlock.from_graph(graph)
    block.matrix = TwoLevelMatrix(graph.adjacency, layout, symmetric=graph.is_symmetric, threshold=threshold)
    return block
