"""Processors that are no accelerators: the slower of arithmetic and memory, at a share of their peak."""

from typing import Literal

from pydantic import Field

from gcnsys.accel.chip import Chip
from gcnsys.accel.estimate import StepCost
from gcnsys.accel.mechanisms.base import Mechanism, joined
from gcnsys.accel.work import Order, Step, Work


class Roofline(Mechanism):
    """A CPU or GPU with a graph library.

    A gather reads a row for each entry: no reuse in caches is presumed. Each layer adds the time that the
    library takes to start its operations.

    Attributes:
        dense_features: features are multiplied with their zeros.
        start_microseconds: of a layer, whatever its size.
        layer_order: narrower: as DGL does; or xw, as PyG does.
    """

    kind: Literal["roofline"]
    dense_features: bool = True
    start_microseconds: float = Field(0.0, ge=0)
    layer_order: Order = "narrower"

    @property
    def order(self) -> Order:
        return self.layer_order

    def step(self, step: Step, work: Work, chip: Chip, efficiency: float) -> StepCost:
        nodes, value = work.structure.num_nodes, chip.value_bytes
        products = sum(
            (product.dense if self.dense_features else product.nonzeros) * product.columns for product in step.products
        )
        read = nodes * step.inputs * value
        if not self.dense_features:
            read = chip.rows_bytes(step.nonzeros, float(nodes * step.inputs))
        traffic = {
            "matrix": step.entries * chip.entry_bytes if step.width else 0.0,
            "neighbours": step.entries * step.width * value,
            "rows read": read,
            "rows written": nodes * step.outputs * value,
            "weights": step.weights * value,
        }
        combination, aggregation = products / chip.macs, step.aggregation / chip.macs
        slowed = {name: size / efficiency for name, size in traffic.items()}
        cost = joined(step, combination, aggregation, (combination + aggregation) / efficiency, slowed, chip)
        start = self.start_microseconds * chip.clock_mhz
        return StepCost(
            cost.name, products + step.aggregation, combination, aggregation, cost.compute + start, traffic,
            cost.memory, cost.cycles + start, {},
        )  # fmt: skip
