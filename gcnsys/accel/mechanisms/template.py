"""A template of accelerators to search in: several sub-accelerators, each with elements and a buffer."""

import math
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field

from gcnsys.accel.chip import Chip
from gcnsys.accel.estimate import StepCost
from gcnsys.accel.mechanisms.base import Mechanism, is_resident, joined
from gcnsys.accel.step import Product, Step, WeightGroups
from gcnsys.accel.work import Order, Work

Dataflow = Literal["columns", "blocks", "islands"]
DATAFLOWS: tuple[Dataflow, ...] = get_args(Dataflow)
Loads = npt.NDArray[np.float64]


class Template(Mechanism):
    """Sub-accelerators that work side by side; the slowest sets the time.

    Rows belong to classes of degrees, and each class to a sub-accelerator; with more classes than those, the
    rest to the last one. How neighbours are added up is that of a published accelerator:

    - columns: rows balanced at run time, as in AWB-GCN;
    - blocks: the last sub-accelerator takes all entries outside of diagonal blocks, as in GCoD;
    - islands: sums are shared, as in I-GCN, the islands known beforehand.

    Attributes:
        dataflow: as said.
        layer_order: combination first, or on the narrower side.
        element_shares: of the chip's elements, of each sub-accelerator.
        buffer_shares: of its buffers.
        tile_columns: columns of the outputs that are made at a time; widths are padded to a multiple.
        skips_weights: leave zeros of weights out where each group of outputs keeps equally many and a tile
            holds whole groups: elements take the weights that are left, each with its place in the group. No
            published accelerator here does so; they leave out zeros of rows and of the matrix.
    """

    kind: Literal["template"]
    dataflow: Dataflow
    layer_order: Order = "xw"
    element_shares: list[float] = Field(min_length=1)
    buffer_shares: list[float] = Field(min_length=1)
    tile_columns: int = Field(ge=1)
    skips_weights: bool = False

    @property
    def order(self) -> Order:
        return self.layer_order

    def step(self, step: Step, work: Work, chip: Chip, efficiency: float) -> StepCost:
        combined, added, rows = self._loads(step, work)
        elements = np.floor(chip.macs * _normal(self.element_shares)).clip(min=1)
        combination, aggregation = float((combined / elements).max()), float((added / elements).max())
        compute = float(((combined + added) / elements).max()) / efficiency
        traffic = self._traffic(step, work, chip, rows)
        macs = sum(
            product.macs if self._skipped(product) is None else product.kept_macs for product in step.products
        )
        macs += step.aggregation * self._kept(work)
        return joined(step, combination, aggregation, compute, traffic, chip, macs=macs)

    def _kept(self, work: Work) -> float:
        islands = work.structure.islands
        return islands.kept if self.dataflow == "islands" and islands is not None else 1.0

    def _padded(self, columns: int) -> int:
        return math.ceil(columns / self.tile_columns) * self.tile_columns

    def _skipped(self, product: Product) -> WeightGroups | None:
        """The pattern by which weights are left out, if any are."""
        groups = product.weight_groups
        return groups if self.skips_weights and groups and self.tile_columns % groups.size == 0 else None

    def _slots(self, product: Product) -> int:
        """Columns that an entry of the rows is multiplied for, those of padding too."""
        groups, columns = self._skipped(product), self._padded(product.columns)
        return columns if groups is None else groups.columns(columns)

    def _weight_bytes(self, step: Step, chip: Chip) -> float:
        """Weights; with the place of each in its group where others are left out."""
        bits = 0.0
        for product in step.products:
            groups = self._skipped(product)
            place = 0 if groups is None else math.ceil(math.log2(groups.size))
            bits += product.weights * (chip.value_bits + place)
        return bits / 8

    def _loads(self, step: Step, work: Work) -> tuple[Loads, Loads, Loads]:
        """Combination, aggregation and rows of each sub-accelerator."""
        structure, subs = work.structure, len(self.element_shares)
        if structure.blocks is None or structure.matrix is None:
            even = np.full(subs, 1 / subs)
            combined = sum(product.nonzeros * self._slots(product) for product in step.products)
            return combined * even, self._kept(work) * step.entries * self._padded(step.width) * even, (
                structure.num_nodes * even
            )  # fmt: skip
        count = structure.blocks.count(structure.matrix)
        sub_of = np.minimum(count.class_of_node, subs - 1)
        rows = np.bincount(sub_of, minlength=subs).astype(float)
        loads = np.zeros(subs)
        for product in step.products:
            loads = loads + _rows_of(product, sub_of, rows) * self._slots(product)
        if self.dataflow == "blocks":
            entries: Loads = np.zeros(subs)
            for number, dense in enumerate(count.dense.tolist()):
                entries[min(number, subs - 1)] += dense
            entries[-1] += count.off
        else:
            entries = np.bincount(sub_of, np.diff(structure.matrix.indptr.numpy()), subs).astype(float)
        return loads, self._kept(work) * entries * self._padded(step.width), rows

    def _traffic(self, step: Step, work: Work, chip: Chip, rows: Loads) -> dict[str, float]:
        """Inputs in as many passes as there are runs of columns, weights for each run of rows."""
        if is_resident(work, self.order, chip):
            return {}
        nodes, value = work.structure.num_nodes, chip.value_bytes
        buffers = chip.on_chip_bytes * _normal(self.buffer_shares)[: rows.size] / 2
        runs = np.ceil(rows * min(self.tile_columns, max(1, step.width)) * value / buffers).clip(min=1)
        passes = math.ceil(max(1, step.width) / self.tile_columns)
        return {
            "matrix": passes * step.entries * chip.entry_bytes if step.width else 0.0,
            "rows read": passes * chip.rows_bytes(step.nonzeros, float(nodes * step.inputs)),
            "weights": float(runs.max()) * self._weight_bytes(step, chip),
            "rows written": nodes * step.outputs * value,
        }


def _normal(shares: list[float]) -> Loads:
    normal: Loads = np.array(shares) / sum(shares)
    return normal


def _rows_of(product: Product, sub_of: npt.NDArray[np.int64], rows: Loads) -> Loads:
    """Entries of a product's rows, by sub-accelerator."""
    if product.row_nonzeros is None:
        spread: Loads = product.nonzeros * rows / rows.sum()
        return spread
    counted: Loads = np.bincount(sub_of, product.row_nonzeros, rows.size).astype(float)
    return counted
