"""AWB-GCN: sparse times dense, column after column, rows balanced over elements at run time."""

import math
from typing import Literal

import numpy as np
from pydantic import Field

from gcnsys.accel.chip import Chip
from gcnsys.accel.estimate import StepCost
from gcnsys.accel.mechanisms.balance import Balancing, column_cycles
from gcnsys.accel.mechanisms.base import Mechanism, joined, streamed
from gcnsys.accel.step import Step
from gcnsys.accel.structure import Counts
from gcnsys.accel.work import Order, Work


class AWBGCN(Mechanism):
    """A(XW), both products by columns of the dense matrix (Geng et al., MICRO 2020).

    Attributes:
        hops, switching, remapping: see :class:`gcnsys.accel.mechanisms.balance.Balancing`.
        columns_at_once: columns of the dense matrix that lanes take in one pass; elements are as many fewer.
        partial_rows: rows of partial sums that fit on chip; those of others are written and read again, as
            often as runs of so many rows follow each other. 0: all fit, and each input is read once.
    """

    kind: Literal["awb-gcn"]
    hops: int = Field(ge=0)
    switching: bool = True
    remapping: float = Field(ge=0)
    columns_at_once: int = Field(1, ge=1)
    partial_rows: int = Field(0, ge=0)

    @property
    def order(self) -> Order:
        return "xw"

    def step(self, step: Step, work: Work, chip: Chip, efficiency: float) -> StepCost:
        combination = sum(
            self._cycles(product.nonzeros, product.row_nonzeros, product.columns, chip)
            for product in step.products
        )
        rows = work.structure.row_entries
        aggregation = self._cycles(float(step.entries), rows, step.width, chip)
        compute = (combination + aggregation) / efficiency
        traffic = (
            self._spilled(step, work, chip) if self.partial_rows else streamed(step, work, self.order, chip)
        )
        return joined(step, combination, aggregation, compute, traffic, chip)

    def _cycles(self, nonzeros: float, rows: Counts | None, columns: int, chip: Chip) -> float:
        """Of one product; where rows are not known, elements are taken to be in balance."""
        passes = math.ceil(columns / self.columns_at_once)
        elements = chip.macs / self.columns_at_once
        if rows is None:
            return passes * math.ceil(nonzeros / elements)
        balancing = Balancing(hops=self.hops, switching=self.switching, remapping=self.remapping)
        return column_cycles(np.asarray(rows), elements, passes, balancing)

    def _spilled(self, step: Step, work: Work, chip: Chip) -> dict[str, float]:
        """Values that move where partial sums do not fit, in runs of rows and of columns.

        A run of columns reads both sparse matrices; a run of rows reads the weights, and writes and reads the
        partial sums of all outputs.
        """
        nodes, value = work.structure.num_nodes, chip.value_bytes
        times = max(1.0, nodes / self.partial_rows)
        passes = max(1.0, step.width / self.columns_at_once)
        return {
            "matrix": passes * step.entries * chip.entry_bytes,
            "rows read": passes * step.nonzeros * chip.entry_bytes,
            "weights": times * step.weights * value,
            "partial sums": 2 * times * nodes * step.width * value,
        }
