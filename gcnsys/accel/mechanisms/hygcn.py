"""HyGCN (Yan et al., HPCA 2020): (AX)W, an engine for each product, windows of sources over intervals."""

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from gcnsys.accel.chip import Chip
from gcnsys.accel.estimate import StepCost
from gcnsys.accel.mechanisms.base import Mechanism, joined
from gcnsys.accel.step import Step
from gcnsys.accel.work import Order, Work
from gcnsys.graph import CSR

Ints = npt.NDArray[np.int64]
Windows = Literal["sliding", "whole", "needed"]


class HyGCN(Mechanism):
    """Aggregation on SIMD lanes, then combination on systolic arrays.

    Destinations come in intervals whose sums fit the aggregation buffer (half of it: the other half is being
    combined). For each interval a window of sources that fit the input buffer slides over the rows: it begins
    at the first source that is needed and ends at the last one within its height.

    Attributes:
        lanes: accumulations a cycle of the aggregation engine; 0: one engine of ``macs`` does both in turn.
        array_columns: columns that a systolic array holds; others are padded to a multiple. 0: none are.
        skips_zeros: combination leaves zeros of AX out.
        aggregation_bytes: buffer of sums.
        input_bytes: buffer of a window.
        windows: sliding, as said; whole: every source is read for every interval; needed: those alone that an
            interval needs, without their zeros.
        pipelined: sums are combined while others are made.
    """

    kind: Literal["hygcn"]
    lanes: float = Field(ge=0)
    array_columns: int = Field(ge=0)
    skips_zeros: bool = False
    aggregation_bytes: float = Field(gt=0)
    input_bytes: float = Field(gt=0)
    windows: Windows = "sliding"
    pipelined: bool = True

    @property
    def order(self) -> Order:
        return "ax"

    def step(self, step: Step, work: Work, chip: Chip, efficiency: float) -> StepCost:
        combination = sum(
            (product.nonzeros if self.skips_zeros else product.dense) * self._padded(product.columns)
            for product in step.products
        ) / chip.macs  # fmt: skip
        aggregation = step.aggregation / (self.lanes or chip.macs)
        intervals = self._intervals(step, work, chip)
        if self.pipelined and self.lanes:  # a node is combined while others are aggregated
            compute = max(combination, aggregation)
        else:
            compute = combination + aggregation
        loaded = self._rows_loaded(step, work, chip, intervals)
        nodes, value = work.structure.num_nodes, chip.value_bytes
        row = step.width * value
        if self.windows == "needed":
            row = min(row, step.nonzeros / nodes * chip.entry_bytes)
        traffic = {
            "matrix": step.entries * chip.entry_bytes if step.width else 0.0,
            "rows read": loaded * row,
            "weights": self._weights_read(step, work, chip, intervals),
            "rows written": nodes * step.outputs * value,
        }
        notes = {"intervals": float(intervals), "rows_loaded": loaded}
        return joined(step, combination, aggregation, compute / efficiency, traffic, chip, notes=notes)

    def _weights_read(self, step: Step, work: Work, chip: Chip, intervals: int) -> float:
        """Weights once if they fit; else for every interval, or all sums are kept off chip meanwhile."""
        weights = step.weights * chip.value_bytes
        if weights <= chip.on_chip_bytes:
            return weights
        sums = chip.rows_bytes(sum(product.nonzeros for product in step.products), math.inf)
        dense = sum(product.dense for product in step.products) * chip.value_bytes
        return min(weights * intervals, weights + 2 * min(sums, dense))

    def _padded(self, columns: int) -> int:
        return math.ceil(columns / self.array_columns) * self.array_columns if self.array_columns else columns

    def _intervals(self, step: Step, work: Work, chip: Chip) -> int:
        sums = work.structure.num_nodes * max(1, step.width) * chip.value_bytes
        return max(1, math.ceil(sums / (self.aggregation_bytes / 2)))

    def _rows_loaded(self, step: Step, work: Work, chip: Chip, intervals: int) -> float:
        structure = work.structure
        nodes = structure.num_nodes
        if not step.width:
            return 0.0
        if self.windows == "whole":
            return float(nodes * intervals)
        height = (
            1
            if self.windows == "needed"
            else max(1, int(self.input_bytes / 2 / (step.width * chip.value_bytes)))
        )
        if structure.matrix is not None:
            return float(windows_loaded(structure.matrix, intervals, height))
        # Sources at random: a window starts at a needed row, ends at the last one within it, then skips some.
        share = 1 - math.exp(-step.entries / intervals / nodes)
        if not share:
            return 0.0
        gap = (1 - share) / share
        span = height - gap * (1 - (1 - share) ** (height - 1))
        return float(intervals * nodes * span / (height + gap))


def windows_loaded(matrix: CSR, intervals: int, height: int) -> int:
    """Rows that sliding windows load, over all intervals of destinations; all intervals go at once.

    Args:
        matrix: ``[N, N]``.
        intervals: of about equal numbers of rows.
        height: rows of a window.
    """
    nodes = matrix.num_rows
    length = -(-nodes // intervals)
    rows, cols = matrix.rows().long().numpy(), matrix.indices.long().numpy()
    # The sources of all intervals one after the other, each interval's beginning beyond the last one's reach.
    stride = nodes + height
    needed = np.unique((rows // length) * stride + cols)
    if not needed.size:
        return 0
    bounds = np.searchsorted(needed, np.arange(intervals + 1) * stride)
    at, ends, loaded = bounds[:-1].copy(), bounds[1:], 0
    while True:
        left = at < ends
        at, ends = at[left], ends[left]
        if not at.size:
            return loaded
        beyond = np.searchsorted(needed, needed[at] + height)
        loaded += int((needed[beyond - 1] - needed[at]).sum()) + at.size
        at = beyond
