"""Which design of a front is taken: the fastest whose model, trained alone, is as good as the baseline."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from gcnsys.search.problem import BASELINE, Problem
from gcnsys.search.space import Shape
from gcnsys.search.study import Found, front

SLACK = 0.02
"""How far below the baseline's a model's accuracy with shared weights may be to be tried alone."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Alone:
    """Means over seeds, each at the step that validated best.

    Attributes:
        val_acc, test_acc: on validation and on test nodes.
    """

    val_acc: float
    test_acc: float


@dataclass(frozen=True, slots=True)
class Choice:
    """What was taken.

    Attributes:
        found: the design.
        own, baseline: its model and the baseline GCN, trained alone.
    """

    found: Found
    own: Alone
    baseline: Alone

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "val_acc": self.own.val_acc, "test_acc": self.own.test_acc,
            "baseline_val_acc": self.baseline.val_acc, "baseline_test_acc": self.baseline.test_acc,
            "no_worse_than_baseline": self.own.val_acc >= self.baseline.val_acc,
        }  # fmt: skip


def choose(found: Sequence[Found], problem: Problem, *, seeds: int, steps: int) -> Choice:
    """Train models of the front alone, the fastest first, until one validates no worse than the baseline.

    If none does, the most accurate of them with shared weights is taken, and the choice says so.
    """
    trained: dict[Shape, Alone] = {}

    def alone(shape: Shape) -> Alone:
        if shape not in trained:
            log.info("training %s alone, %d seeds", shape, seeds)
            pairs = problem.alone(shape, seeds=seeds, steps=steps)
            trained[shape] = Alone(fmean(val for val, _ in pairs), fmean(test for _, test in pairs))
        return trained[shape]

    baseline, best = alone(BASELINE), front(found)
    least = problem.accuracy(BASELINE)[0] - SLACK
    for each in best:
        good = each.judged.accuracy >= least
        if good and alone(each.design.shape).val_acc >= baseline.val_acc:
            return Choice(each, alone(each.design.shape), baseline)
    return Choice(best[-1], alone(best[-1].design.shape), baseline)
