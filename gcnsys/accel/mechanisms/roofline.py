"""Processors that are no accelerators: the slower of arithmetic and memory, at a share of their peak."""

from typing import Literal

from pydantic import Field

from gcnsys.accel.chip import Chip
from gcnsys.accel.estimate import StepCost
from gcnsys.accel.mechanisms.base import Mechanism
from gcnsys.accel.step import Step
from gcnsys.accel.work import Order, Work

_REUSED_BYTES = 1 << 25
"""Tensors up to here come from memory that the process has already touched (glibc's largest threshold)."""


class Roofline(Mechanism):
    """A CPU or GPU with a graph library.

    Neighbours' rows are read once an entry; of those that a cache holds, no more than once. Between products,
    a library scales, adds biases, cuts off and drops out in operations of their own, each of which reads and
    writes all rows; large results lie in memory that the system first has to clear.

    Attributes:
        dense_features: features are multiplied with their zeros.
        start_microseconds: of a layer, whatever its size: the library's way to its operations.
        layer_order: narrower: as DGL does; or xw, as PyG does.
        row_passes: times that a layer's output rows are read or written between its products, a direction.
        message_passes: times that a row for each entry is read or written, where messages are kept.
        fresh_rows: results of such operations, a direction, that lie in fresh memory.
        fresh_bytes: what a fresh byte costs beyond writing it, in bytes moved.
    """

    kind: Literal["roofline"]
    dense_features: bool = True
    start_microseconds: float = Field(0.0, ge=0)
    layer_order: Order = "narrower"
    row_passes: float = Field(0.0, ge=0)
    message_passes: float = Field(0.0, ge=0)
    fresh_rows: float = Field(0.0, ge=0)
    fresh_bytes: float = Field(0.0, ge=0)

    @property
    def order(self) -> Order:
        return self.layer_order

    def step(self, step: Step, work: Work, chip: Chip, efficiency: float) -> StepCost:
        nodes, value = work.structure.num_nodes, chip.value_bytes
        products = sum(
            (product.dense if self.dense_features else product.nonzeros) * product.columns
            for product in step.products
        )
        read = nodes * step.inputs * value
        if not self.dense_features:
            read = chip.rows_bytes(step.nonzeros, float(nodes * step.inputs))
        entries, gathered = step.entries * step.width * value, nodes * step.width * value
        missed = max(0.0, 1 - chip.on_chip_bytes / gathered) if gathered else 0.0
        # Backwards, "inputs" are the rows of gradients; that is what scaling, biases and the rest work on.
        outputs = nodes * (step.inputs if step.back else step.outputs) * value
        fresh = self.fresh_rows * outputs if outputs > _REUSED_BYTES else 0.0
        traffic = {
            "matrix": step.entries * chip.entry_bytes if step.width else 0.0,
            "neighbours": min(gathered, entries) + missed * max(0.0, entries - gathered),
            "messages": self.message_passes * entries,
            "rows read": read,
            "rows written": nodes * step.outputs * value,
            "between products": self.row_passes * outputs,
            "fresh memory": self.fresh_bytes * fresh,
            "weights": step.weights * value,
        }
        combination, aggregation = products / chip.macs, step.aggregation / chip.macs
        memory = sum(traffic.values()) / chip.bytes_per_cycle / efficiency
        start = self.start_microseconds * chip.clock_mhz
        compute = (combination + aggregation) / efficiency
        return StepCost(
            step.name, products + step.aggregation, combination, aggregation, compute, traffic, memory,
            max(compute, memory) + start, {},
        )  # fmt: skip
