"""GCNAX (Li et al., HPCA 2021): A(XW) in tiles, its two products fused or not, whichever moves less."""

import math
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from gcnsys.accel.chip import Chip
from gcnsys.accel.estimate import StepCost
from gcnsys.accel.mechanisms.base import Mechanism
from gcnsys.accel.step import Step
from gcnsys.accel.work import Order, Work


@dataclass(frozen=True, slots=True)
class Tile:
    """Rows and columns of the dense matrix that stay on chip.

    Attributes:
        rows, columns: of the tile.
    """

    rows: float
    columns: float

    def elements(self, step: Step, nodes: int) -> dict[str, float]:
        """Values that cross the chip's edge in a step.

        Both sparse matrices are read for each run of columns, the weights for each run of rows. Fused, the
        sums of all outputs are written and read for each run of rows; else XW is written once and read for
        each of them, and the outputs are written once. Runs count as fractions: so they give the published
        counts to half a value.
        """
        columns, runs = max(1.0, step.width / self.columns), max(1.0, nodes / self.rows)
        return {
            "matrix": columns * step.entries,
            "rows read": columns * step.nonzeros,
            "weights": runs * step.weights,
            "dense rows": min(2 * runs, runs + 2) * nodes * step.width,
        }


class GCNAX(Mechanism):
    """Tiles of the dense matrix on chip.

    Attributes:
        tile_rows, tile_columns: of the tile; with ``search``, the fewest columns.
        search: find the tile that moves least, one for all layers of a work.
        dense_bytes: of the buffer that tiles share with outputs.
        dense_quarters: how many quarters of it hold the tile.
    """

    kind: Literal["gcnax"]
    tile_rows: int = Field(ge=1)
    tile_columns: int = Field(ge=1)
    search: bool = False
    dense_bytes: int = Field(ge=1)
    dense_quarters: int = Field(ge=1, le=3)

    @property
    def order(self) -> Order:
        return "xw"

    def tile(self, work: Work, chip: Chip) -> Tile:
        """The tile for a work."""
        if not self.search:
            return Tile(self.tile_rows, self.tile_columns)
        steps, nodes = work.steps(self.order), work.structure.num_nodes
        room = self.dense_bytes * self.dense_quarters / 4 / chip.value_bytes
        widest = max(step.width for step in steps)
        tried = range(
            self.tile_columns, max(self.tile_columns, widest) + self.tile_columns, self.tile_columns
        )
        tiles = [Tile(room // columns, columns) for columns in tried if room >= columns]
        return min(tiles, key=lambda tile: sum(sum(tile.elements(step, nodes).values()) for step in steps))

    def step(self, step: Step, work: Work, chip: Chip, efficiency: float) -> StepCost:
        tile = self.tile(work, chip)
        moved = tile.elements(step, work.structure.num_nodes)
        traffic = {name: count * chip.value_bytes for name, count in moved.items()}
        combination = sum(
            product.nonzeros * math.ceil(product.columns / chip.macs) for product in step.products
        )
        aggregation = step.entries * math.ceil(step.width / chip.macs)
        compute = (combination + aggregation) / efficiency
        memory = sum(traffic.values()) / chip.bytes_per_cycle
        # One after the other: the published cycles follow from the sum, not from the larger of the two.
        notes = {"elements": sum(moved.values()), "tile_rows": tile.rows, "tile_columns": tile.columns}
        return StepCost(
            step.name, step.macs, combination, aggregation, compute, traffic, memory, compute + memory, notes
        )
