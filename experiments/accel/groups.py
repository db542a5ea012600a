"""Columns of figures with their bars, and how close a column must come."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from experiments.accel.fitting import Point, Score, best, scored


@dataclass(frozen=True)
class Group:
    """A column of figures.

    Attributes:
        name: of the column.
        unit: of its figures.
        scores: a figure each.
        bar: what is demanded, in words; empty: the column is only reported.
        met: whether it is.
        constant: that was fitted to this column; None: none was.
        note: what a reader must know.
    """

    name: str
    unit: str
    scores: list[Score]
    bar: str = ""
    met: bool | None = None
    constant: float | None = None
    note: str = ""

    @property
    def beats_null(self) -> bool:
        """Whether the mechanism's errors are smaller than the null model's, on average."""
        return mean_error(self.scores, "left_out") < mean_error(self.scores, "null")


@dataclass(frozen=True)
class Within:
    """How many of a column's points must be how close.

    Attributes:
        error: at most.
        least: points; None: all.
        ratio: errors are factors, so that ``error`` is the largest ratio either way.
        of: which points; None: all.
    """

    error: float
    least: int | None = None
    ratio: bool = False
    of: Sequence[str] | None = None

    def holds(self, scores: Sequence[Score]) -> bool:
        chosen = [score for score in scores if self.of is None or score.dataset in self.of]
        close = [self._close(score.left_out) for score in chosen]
        return sum(close) >= (len(close) if self.least is None else self.least)

    def _close(self, error: float) -> bool:
        if self.ratio:
            return 1 / self.error <= 1 + error <= self.error
        return abs(error) <= self.error


@dataclass(frozen=True)
class Table:
    """All groups, and what is left out."""

    groups: list[Group] = field(default_factory=list)

    def column(
        self, name: str, unit: str, points: Sequence[Point], *, fitted: bool = False, bar: str = "",
        bars: Sequence[Within] = (), note: str = "",
    ) -> None:  # fmt: skip
        """Score a column and add it."""
        scores = scored(points, fitted=fitted)
        met = all(each.holds(scores) for each in bars) if bars else None
        self.groups.append(Group(name, unit, scores, bar, met, best(points) if fitted else None, note))


def mean_error(scores: Sequence[Score], which: str) -> float:
    """The mean of absolute errors."""
    return sum(abs(getattr(score, which)) for score in scores) / max(1, len(scores))
