"""A plan: every method on every cut, and the one to take."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gcnsys.plan.choice import Recommendation, recommend
from gcnsys.plan.methods import Method
from gcnsys.plan.network import Network
from gcnsys.plan.pace import Pace
from gcnsys.plan.predict import Prediction, predict
from gcnsys.plan.subject import Subject


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be expected.

    Attributes:
        predictions: one a method and cut.
        recommendation: the one to take.
        pace: they were made with.
        memory: bytes of a rank; None: as much as it takes.
    """

    predictions: tuple[Prediction, ...]
    recommendation: Recommendation
    pace: Pace
    memory: float | None

    def fits(self, prediction: Prediction) -> bool:
        """Whether no rank needs more memory than it has."""
        return self.memory is None or prediction.peak <= self.memory

    def plain(self) -> dict[str, Any]:
        """As numbers, texts and lists."""
        return {
            "predictions": [each.plain() | {"fits": self.fits(each)} for each in self.predictions],
            "recommended": self.recommendation.taken.plain() | {"reason": self.recommendation.because},
            "compute": self.pace.source, "memory": self.memory,
        }  # fmt: skip


def plan(
    subject: Subject, pace: Pace, network: Network, methods: Sequence[Method], *, base: int,
    memory: float | None = None,
) -> Plan:  # fmt: skip
    """Plan.

    Args:
        subject: for what.
        pace: how fast a rank computes.
        network: how fast rows cross.
        methods: that are weighed, the first one alone on one part, where nothing crosses.
        base: bytes that the interpreter and its libraries take.
        memory: bytes of a rank; None: as much as it takes.

    Raises:
        InputError: the model does not say what it sends, or nothing fits.
    """
    predictions = tuple(
        predict(cut, subject.job, method, pace, network, base=base)
        for cut in subject.cuts
        for method in (methods if cut.num_parts > 1 else methods[:1])
    )
    return Plan(predictions, recommend(predictions, memory), pace, memory)
