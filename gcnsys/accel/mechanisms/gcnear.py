"""GCNear (Zhou et al., 2021): sums are made beside the memory, products in one central engine."""

import math
from typing import Literal

import torch
from pydantic import Field

from gcnsys.accel.chip import Chip
from gcnsys.accel.estimate import StepCost
from gcnsys.accel.mechanisms.base import Mechanism, joined
from gcnsys.accel.step import Step
from gcnsys.accel.structure import Structure
from gcnsys.accel.work import Order, Work
from gcnsys.graph import CSR


class GCNear(Mechanism):
    """Near-memory engines on the buffer chips of memory modules, and a systolic array.

    Nodes are dealt out to modules evenly. Each module reads the rows of its own nodes, adds up those of a
    destination, and sends one row of sums; so a destination takes no more rows over the channels than there
    are modules. Local reads, sums, channels and the array work at the same time on consecutive shards.

    Attributes:
        modules: memory modules.
        local_gb_per_s: of all modules together, inside of them.
        near_gflops: of a module's engine.
        array: rows and columns of the systolic array; products are padded to it.
        near_memory: sums are made beside the memory; else every row crosses the channels.
        exchange: aggregate on the narrower side of a layer; else always the inputs first.
    """

    kind: Literal["gcnear"]
    modules: int = Field(ge=1)
    local_gb_per_s: float = Field(gt=0)
    near_gflops: float = Field(gt=0)
    array: int = Field(ge=1)
    near_memory: bool = True
    exchange: bool = True

    @property
    def order(self) -> Order:
        return "narrower" if self.exchange else "ax"

    def step(self, step: Step, work: Work, chip: Chip, efficiency: float) -> StepCost:
        value, nodes = chip.value_bytes, work.structure.num_nodes
        rows = step.entries * step.width * value
        products = sum(
            product.dense * math.ceil(product.columns / self.array) * self.array for product in step.products
        )
        combination = products / chip.macs
        reads = rows / (self.local_gb_per_s * 1e9)
        # A product and an addition each.
        sums = 2 * step.aggregation / (self.near_gflops * self.modules * 1e9)
        added = max(reads, sums) if self.near_memory else step.aggregation / chip.macs_per_second
        aggregation = added * chip.clock_mhz * 1e6
        sent = channel_rows(work.structure, self.modules) if self.near_memory else step.entries
        # What was combined first goes back to memory to be summed; else the array takes sums as they come.
        combined = step.width == step.outputs and (self.exchange or step.back)
        between = nodes * step.width * value if combined else 0.0
        traffic = {
            "sums": sent * step.width * value,
            "rows read": nodes * step.inputs * value,
            "rows written": nodes * step.outputs * value + between,
            "weights": step.weights * value,
        }
        notes = {"channel_rows": float(sent), "local_bytes": rows}
        busiest = max(combination, aggregation) / efficiency
        return joined(step, combination, aggregation, busiest, traffic, chip, notes=notes)


def channel_rows(structure: Structure, modules: int) -> float:
    """Rows of sums that cross the channels in one aggregation, a module and destination each.

    Node u is in module ``u mod modules``. Where the matrix is not known, neighbours are in modules at random
    and all nodes have the mean number of them.
    """
    if structure.matrix is None:
        mean = structure.entries / structure.num_nodes
        return float(structure.num_nodes * modules * (1 - (1 - 1 / modules) ** mean))
    return float(module_reads(structure.matrix, modules))


def module_reads(matrix: CSR, modules: int) -> int:
    """Pairs of a destination and a module that holds a neighbour of it."""
    pairs = matrix.rows().long() * modules + matrix.indices.long() % modules
    seen = torch.zeros(matrix.num_rows * modules, dtype=torch.bool)
    seen[pairs] = True
    return int(seen.sum())


def exchange_ratio(nodes: int, edges: int, before: int, after: int) -> float:
    """How many times fewer values move if a layer is combined before it is aggregated.

    By the paper's count: both passes read a row for each edge, and the other side's rows are moved once.

    Args:
        nodes: N.
        edges: without self-loops.
        before: width of the layer's inputs.
        after: width of its outputs.
    """
    return (2 * edges * before + nodes * after) / (2 * edges * after + nodes * before)
