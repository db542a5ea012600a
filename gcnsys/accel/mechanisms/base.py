"""What every mechanism is: from a step of work and a chip to cycles and bytes."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

from gcnsys.accel.chip import Chip
from gcnsys.accel.estimate import StepCost
from gcnsys.accel.settings import Settings
from gcnsys.accel.step import Step
from gcnsys.accel.work import Order, Work


class Mechanism(Settings, ABC):
    """How an accelerator computes. Its fields are those of ``[mechanism]`` in an accelerator file."""

    @property
    @abstractmethod
    def order(self) -> Order:
        """Which of a layer's products comes first."""

    @abstractmethod
    def step(self, step: Step, work: Work, chip: Chip, efficiency: float) -> StepCost:
        """A step's cost.

        Args:
            step: of the work, in :attr:`order`.
            work: it belongs to.
            chip: what computes.
            efficiency: the share of the modelled rate that is reached: the accelerator's one constant.
        """

    def steps(self, work: Work, chip: Chip, efficiency: float) -> list[StepCost]:
        """The costs of all steps; with training, of the weights' update as well."""
        costs = [self.step(step, work, chip, efficiency) for step in work.steps(self.order)]
        if work.training:
            costs.append(update(work, chip))
        return costs


def update(work: Work, chip: Chip) -> StepCost:
    """New weights from old ones and gradients: three numbers of memory and an operation for each."""
    traffic = {"weights": 3 * work.update * chip.value_bytes}
    compute, memory = work.update / chip.macs, traffic["weights"] / chip.bytes_per_cycle
    return StepCost("update", work.update, compute, 0.0, compute, traffic, memory, max(compute, memory), {})


def joined(
    step: Step, combination: float, aggregation: float, compute: float, traffic: dict[str, float], chip: Chip,
    *, macs: float | None = None, notes: dict[str, float] | None = None,
) -> StepCost:  # fmt: skip
    """A step whose memory works while it computes: the slower of the two sets the time."""
    memory = sum(traffic.values()) / chip.bytes_per_cycle
    return StepCost(
        step.name, step.macs if macs is None else macs, combination, aggregation, compute, traffic, memory,
        max(compute, memory), notes or {},
    )  # fmt: skip


def input_bytes(work: Work, order: Order, chip: Chip) -> float:
    """The matrix, the features and all weights, which an accelerator may hold from the start."""
    steps = work.steps(order)
    features = chip.rows_bytes(steps[0].nonzeros, float(work.structure.num_nodes * steps[0].inputs))
    weights = sum(step.weights for step in steps[: len(work.layers)]) * chip.value_bytes
    return work.structure.entries * chip.entry_bytes + features + weights


def is_resident(work: Work, order: Order, chip: Chip) -> bool:
    """Whether nothing but results needs to cross the chip's edge, and those are not waited for.

    This is what the published latencies of small graphs presume: reading the inputs once would take several
    times as long as they say.
    """
    return chip.resident and not work.training and input_bytes(work, order, chip) <= chip.on_chip_bytes


def streamed(step: Step, work: Work, order: Order, chip: Chip) -> dict[str, float]:
    """Bytes of a step that reads each input once; of rows between layers, what does not fit on chip."""
    if is_resident(work, order, chip):
        return {}
    nodes, value = work.structure.num_nodes, chip.value_bytes
    read = chip.rows_bytes(step.nonzeros, float(nodes * step.inputs))
    written = nodes * step.outputs * value
    traffic = {
        "matrix": step.entries * chip.entry_bytes if step.width else 0.0,
        "weights": step.weights * value,
    }
    traffic["rows read"] = read if step.first else max(0.0, read - chip.on_chip_bytes)
    traffic["rows written"] = written if step.last else max(0.0, written - chip.on_chip_bytes)
    if work.training:  # what is kept from forth to back is written and read, whatever fits now
        traffic |= {"rows read": read, "rows written": written}
    return {name: size for name, size in traffic.items() if size}


def heaviest_share(loads: Iterable[float], units: float) -> float:
    """Cycles of parallel branches that whole units are shared out to so that the slowest is fastest."""
    loads = [load for load in loads if load > 0]
    if not loads:
        return 0.0
    if len(loads) > units:
        return max(sum(loads) / units, max(loads))  # fewer units than branches: they take turns
    low, high = sum(loads) / units, max(loads)
    for _ in range(64):
        middle = (low + high) / 2
        if sum(-(-load // middle) for load in loads) <= units:
            high = middle
        else:
            low = middle
    return high
