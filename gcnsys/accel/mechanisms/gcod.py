"""GCoD (You et al., HPCA 2022): diagonal blocks in a denser branch, the rest in a sparser one."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from gcnsys.accel.chip import Chip
from gcnsys.accel.estimate import StepCost
from gcnsys.accel.mechanisms.base import Mechanism, heaviest_share, is_resident, joined, streamed
from gcnsys.accel.step import Step
from gcnsys.accel.work import Order, Work

Pipeline = Literal["efficiency", "resource", "auto"]


@dataclass(frozen=True, slots=True)
class Branches:
    """The work of a step, by branch.

    Attributes:
        dense: combination and aggregation of each class's blocks.
        sparse: aggregation of all other entries.
        off: entries of the sparser branch.
        fetched: rows of XW that it finds in no buffer of the denser one.
    """

    dense: list[float]
    sparse: float
    off: float
    fetched: float


class GCoD(Mechanism):
    """Two branches, elements shared out in proportion to their work.

    The denser branch goes group by group and makes XW; the sparser one asks it for the rows that it needs. A
    query is served if both ends of an entry are of one group; rows of another group come from memory, once
    each. Where no blocks are given, the shares that the paper reports stand for them.

    Attributes:
        off_diagonal: the share of entries outside of blocks, where no blocks are given.
        forwarded: the share of the sparser branch's reads that queries serve, where no blocks are given.
        classes: of degrees, where no blocks are given.
        pipeline: keep all outputs on chip and make XW by rows (efficiency); keep one column of them and make
            XW by columns, all features again for each run of columns that fits (resource); or the first
            where outputs fit (auto).
        query: ask the denser branch's buffers; else all rows of the sparser branch come from memory.
    """

    kind: Literal["gcod"]
    off_diagonal: float = Field(ge=0, le=1)
    forwarded: float = Field(ge=0, le=1)
    classes: int = Field(ge=1)
    pipeline: Pipeline = "auto"
    query: bool = True

    @property
    def order(self) -> Order:
        return "xw"

    def branches(self, step: Step, work: Work) -> Branches:
        """How the work of a step is split."""
        structure = work.structure
        if structure.blocks is None or structure.matrix is None:
            off = self.off_diagonal * step.entries
            share = (step.combination + (step.entries - off) * step.width) / self.classes
            fetched = min(off, structure.num_nodes) * (1 - (self.forwarded if self.query else 0.0))
            return Branches([share] * self.classes, off * step.width, off, fetched)
        count = structure.blocks.count(structure.matrix)
        combined: npt.NDArray[np.float64] = np.zeros(count.members.size)
        for product in step.products:
            if product.row_nonzeros is None:
                combined = combined + product.macs * count.members / structure.num_nodes
            else:
                rows = np.bincount(count.class_of_node, product.row_nonzeros, count.members.size)
                combined = combined + rows * product.columns
        dense: list[float] = (combined + count.dense * step.width).tolist()
        fetched = count.fetched if self.query else count.sparse_columns
        return Branches(dense, float(count.off * step.width), count.off, fetched)

    def step(self, step: Step, work: Work, chip: Chip, efficiency: float) -> StepCost:
        branches = self.branches(step, work)
        busiest = heaviest_share([*branches.dense, branches.sparse], chip.macs)
        traffic = self._traffic(step, work, chip, branches)
        notes = {
            "sparse_branch_entries": branches.off,
            "sparse_branch_bytes": self.sparse_bytes(step, chip, branches),
            "dense_branch_cycles": heaviest_share(branches.dense, chip.macs),
        }
        combination = step.combination / chip.macs
        return joined(
            step, combination, step.aggregation / chip.macs, busiest / efficiency, traffic, chip, notes=notes
        )

    def sparse_bytes(self, step: Step, chip: Chip, branches: Branches) -> float:
        """What the sparser branch reads from memory: its entries, and rows that no query serves."""
        return branches.off * chip.entry_bytes + branches.fetched * step.width * chip.value_bytes

    def _traffic(self, step: Step, work: Work, chip: Chip, branches: Branches) -> dict[str, float]:
        traffic = streamed(step, work, self.order, chip)
        if is_resident(work, self.order, chip) or not step.width:
            return traffic
        outputs = work.structure.num_nodes * step.width * chip.value_bytes
        by_columns = self.pipeline == "resource" or (self.pipeline == "auto" and outputs > chip.on_chip_bytes)
        if by_columns:
            runs = max(1.0, outputs / chip.on_chip_bytes)
            traffic["rows read"] = traffic.get("rows read", 0.0) * runs
        elif outputs > chip.on_chip_bytes:
            traffic["partial sums"] = 2 * (outputs - chip.on_chip_bytes)
        entries = (step.entries - branches.off) * chip.entry_bytes
        return traffic | {"matrix": entries, "sparser branch": self.sparse_bytes(step, chip, branches)}
