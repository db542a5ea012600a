"""I-GCN (Geng et al., MICRO 2021): A(XW), island by island, while a locator finds the islands."""

from typing import Literal

from pydantic import Field

from gcnsys.accel.chip import Chip
from gcnsys.accel.estimate import StepCost
from gcnsys.accel.mechanisms.base import Mechanism, joined, streamed
from gcnsys.accel.step import Step
from gcnsys.accel.work import Order, Work


class IGCN(Mechanism):
    """Islands as tasks, their shared sums made once.

    In the first layer the locator works ahead of the consumer; the slower of the two sets the time, after all
    degrees have been looked at once for hubs. A search is taken to read an entry a cycle. Where no islands
    are given, every entry is read once and nothing is saved.

    Attributes:
        engines: searches at a time.
        detectors: degrees that are looked at in a cycle.
        sharing: use the sums that islands share.
    """

    kind: Literal["i-gcn"]
    engines: float = Field(gt=0)
    detectors: float = Field(gt=0)
    sharing: bool = True

    @property
    def order(self) -> Order:
        return "xw"

    def step(self, step: Step, work: Work, chip: Chip, efficiency: float) -> StepCost:
        islands = work.structure.islands
        kept = islands.kept if islands is not None and self.sharing else 1.0
        operations = step.aggregation * kept
        combination, aggregation = step.combination / chip.macs, operations / chip.macs
        scanned = islands.scanned if islands is not None else work.structure.entries
        locating = scanned / self.engines if step.first else 0.0
        detecting = work.structure.num_nodes / self.detectors if step.first else 0.0
        compute = detecting + max((combination + aggregation) / efficiency, locating)
        notes = {"operations": operations, "locating_cycles": detecting + locating}
        return joined(
            step, combination, aggregation, compute, streamed(step, work, self.order, chip), chip,
            macs=step.combination + operations, notes=notes,
        )  # fmt: skip
