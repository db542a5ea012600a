"""What some work costs on an accelerator. Estimates are estimates: never "measured"."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Bound = Literal["compute", "memory"]


@dataclass(frozen=True, slots=True)
class StepCost:
    """A step on an accelerator.

    Attributes:
        name: of the step.
        macs: multiply-accumulates that are done; operations that a mechanism saves are not.
        combination, aggregation: cycles of each by itself, memory left aside.
        compute: cycles of both together, memory left aside.
        traffic: bytes that cross the chip's edge, by what they are.
        memory: cycles that those take.
        cycles: of the step.
        notes: quantities of the mechanism, by name.
    """

    name: str
    macs: float
    combination: float
    aggregation: float
    compute: float
    traffic: dict[str, float]
    memory: float
    cycles: float
    notes: dict[str, float]

    @property
    def bytes(self) -> float:
        """Off chip, all kinds together."""
        return sum(self.traffic.values())

    @property
    def bound(self) -> Bound:
        """What sets the time, ``compute`` or ``memory``."""
        return "memory" if self.memory > self.compute else "compute"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A work on an accelerator.

    Attributes:
        accelerator, work: names.
        steps: one after the other.
        seconds: of all.
        clock_mhz: of the accelerator.
        peak: multiply-accumulates a cycle.
        joules: by what they are spent on; None: the accelerator's power is not known.
        factor: the estimate is likely wrong by no more than this factor.
        reason: where that factor comes from.
    """

    accelerator: str
    work: str
    steps: tuple[StepCost, ...]
    seconds: float
    clock_mhz: float
    peak: float
    joules: dict[str, float] | None
    factor: float
    reason: str

    @property
    def cycles(self) -> float:
        """Of all steps, one after the other."""
        return sum(step.cycles for step in self.steps)

    @property
    def macs(self) -> float:
        """Multiply-accumulates of all steps."""
        return sum(step.macs for step in self.steps)

    @property
    def bytes(self) -> float:
        """Off chip."""
        return sum(step.bytes for step in self.steps)

    @property
    def traffic(self) -> dict[str, float]:
        """Bytes off chip, by what they are."""
        return added(step.traffic for step in self.steps)

    @property
    def utilisation(self) -> float:
        """Of the peak."""
        return self.macs / (self.peak * self.cycles) if self.cycles else 0.0

    @property
    def bound(self) -> Bound:
        """What most of the time goes by."""
        by_memory = sum(step.cycles for step in self.steps if step.bound == "memory")
        return "memory" if 2 * by_memory > self.cycles else "compute"

    @property
    def energy(self) -> float | None:
        """Joules."""
        return None if self.joules is None else sum(self.joules.values())

    def speedup_over(self, baseline: "Estimate") -> float:
        """How many times faster than a baseline, by estimate."""
        return baseline.seconds / self.seconds

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "accelerator": self.accelerator, "work": self.work, "seconds": self.seconds,
            "seconds_low": self.seconds / self.factor, "seconds_high": self.seconds * self.factor,
            "uncertainty_factor": self.factor, "uncertainty_reason": self.reason, "cycles": self.cycles,
            "macs": self.macs, "utilisation": self.utilisation, "off_chip_bytes": self.bytes,
            "traffic_bytes": self.traffic, "bound": self.bound, "joules": self.energy,
            "joules_by_use": self.joules,
            "steps": [
                {
                    "name": step.name, "cycles": step.cycles, "compute_cycles": step.compute,
                    "memory_cycles": step.memory, "macs": step.macs, "bound": step.bound,
                    "combination_cycles": step.combination, "aggregation_cycles": step.aggregation,
                    "traffic_bytes": step.traffic, **step.notes,
                }
                for step in self.steps
            ],
        }  # fmt: skip


def added(parts: Iterable[dict[str, float]]) -> dict[str, float]:
    """Sums by name."""
    total: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + value
    return total
