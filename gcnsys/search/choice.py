"""Which design is taken: the fastest whose model, trained alone, is as good as the baseline.

Accuracy with shared weights is known to within a few points, so that designs near the front are tried too.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from gcnsys.search.problem import BASELINE, Problem
from gcnsys.search.space import Shape
from gcnsys.search.study import Found

SLACK = 0.02
"""How far a model may be below another's accuracy with shared weights, or the baseline's after some seeds."""

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
    """Train models alone, the fastest first, until one validates no worse than the baseline.

    A model is given up as soon as the mean over its seeds so far is :data:`SLACK` below the baseline's. If
    none is as good, the best of them is taken, and the choice says so.
    """
    baseline = _alone(BASELINE, problem, seeds=seeds, steps=steps)
    tried: dict[Shape, Choice] = {}
    for each in near_front(found, least=problem.accuracy(BASELINE)[0] - SLACK):
        shape = each.design.shape
        if shape in tried:
            continue
        own = baseline
        if shape != BASELINE:
            own = _alone(shape, problem, seeds=seeds, steps=steps, least=baseline.val_acc - SLACK)
        tried[shape] = Choice(each, own, baseline)
        if own.val_acc >= baseline.val_acc:
            break
    return max(tried.values(), key=lambda choice: choice.own.val_acc)


def near_front(found: Sequence[Found], *, least: float) -> list[Found]:
    """Those that no faster one is more accurate than by :data:`SLACK`, the fastest first.

    Args:
        found: all that was tried.
        least: accuracy below which none is taken, unless all are below it.
    """
    best, kept = -1.0, []
    least = min(least, max(each.judged.accuracy for each in found))
    for each in sorted(found, key=lambda one: (one.judged.seconds, -one.judged.accuracy)):
        if each.judged.accuracy >= max(least, best - SLACK):
            kept.append(each)
        best = max(best, each.judged.accuracy)
    return kept


def _alone(shape: Shape, problem: Problem, *, seeds: int, steps: int, least: float = 0.0) -> Alone:
    log.info("training %s alone, up to %d seeds", shape, seeds)
    pairs: list[tuple[float, float]] = []
    while len(pairs) < seeds and (not pairs or fmean(val for val, _ in pairs) >= least):
        pairs.append(problem.alone(shape, seed=len(pairs), steps=steps))
    return Alone(fmean(val for val, _ in pairs), fmean(test for _, test in pairs))
