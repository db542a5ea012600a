"""The search itself: Optuna proposes designs, a front of accuracy against latency is kept, and can go on."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gcnsys.errors import InputError
from gcnsys.registry import require
from gcnsys.search.journal import storage
from gcnsys.search.problem import Judged
from gcnsys.search.space import Design, chosen

_STRIDE = 1_000_003

Method = Literal["evolution", "bayes", "random"]

SLOWEST = 1e-3
"""Seconds: the corner that hypervolumes are measured from, with accuracy 0."""


@dataclass(frozen=True, slots=True)
class Found:
    """A design with its worth.

    Attributes:
        number: of the trial.
        design, judged: what was tried and what it came to.
    """

    number: int
    design: Design
    judged: Judged


class CoSearch:
    """A study of designs, kept in a file.

    Args:
        judge: what a design is worth.
        journal: where trials are kept; those that are there count. None: nowhere.
        method: evolution (NSGA-II), bayes (multi-objective TPE) or random.
        seed: of the proposals.

    Raises:
        MissingPackageError: Optuna is not installed.
        InputError: the file is of another search.
    """

    def __init__(
        self, judge: Callable[[Design], Judged], journal: Path | None = None, *, method: Method = "evolution",
        seed: int = 0,
    ) -> None:  # fmt: skip
        optuna = require("optuna", extra="search", purpose="a co-search")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._fixed: Callable[[dict[str, Any]], Any] = optuna.trial.FixedTrial
        self._complete = optuna.trial.TrialState.COMPLETE
        samplers = {
            "evolution": lambda seed: optuna.samplers.NSGAIISampler(population_size=40, seed=seed),
            "bayes": lambda seed: optuna.samplers.TPESampler(seed=seed),
            "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
        }
        try:
            self.study = optuna.create_study(
                study_name="cosearch", directions=["maximize", "minimize"],
                storage=None if journal is None else storage(journal), load_if_exists=True,
            )  # fmt: skip
        except (ValueError, KeyError) as error:
            raise InputError(
                f"{journal}: not a study of this search ({error}); choose another --out"
            ) from error
        # What goes on draws other numbers than it began with, or it would propose the same designs again.
        self.study.sampler = samplers[method]((seed + _STRIDE * len(self.study.trials)) % 2**32)
        self.judge = judge

    @property
    def done(self) -> int:
        """Trials that are complete."""
        return sum(trial.state == self._complete for trial in self.study.trials)

    def run(self, trials: int, told: Callable[[int], None] | None = None) -> None:
        """Go on until so many trials are complete."""

        def objective(trial: Any) -> tuple[float, float]:
            judged = self.judge(chosen(trial))
            return judged.accuracy, judged.seconds

        while self.done < trials:
            self.study.optimize(objective, n_trials=min(20, trials - self.done))
            if told:
                told(self.done)

    def found(self) -> list[Found]:
        """Everything that was tried, in order."""
        return [
            Found(trial.number, chosen(self._fixed(trial.params)), Judged(*trial.values))
            for trial in self.study.trials if trial.state == self._complete
        ]  # fmt: skip


def front(found: Sequence[Found]) -> list[Found]:
    """Those that nothing beats in both accuracy and latency, the fastest first."""
    best, kept = -math.inf, []
    for each in sorted(found, key=lambda one: (one.judged.seconds, -one.judged.accuracy)):
        if each.judged.accuracy > best:
            best = each.judged.accuracy
            kept.append(each)
    return kept


def hypervolume(found: Sequence[Found]) -> float:
    """What a front covers: accuracy times decades below :data:`SLOWEST`."""
    area, accuracy = 0.0, 0.0
    for each in front([one for one in found if one.judged.seconds < SLOWEST]):
        decades = math.log10(SLOWEST / each.judged.seconds)
        area += (each.judged.accuracy - accuracy) * decades
        accuracy = each.judged.accuracy
    return area
