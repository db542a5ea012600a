"""One constant for a column, fitted in logarithms, and scored with each dataset left out in turn."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Model = Callable[[float], float]
"""A constant -> what is predicted."""


@dataclass(frozen=True)
class Point:
    """A published figure and what stands beside it.

    Attributes:
        label: for people.
        dataset: what is left out together.
        published: the figure.
        model: of the mechanism.
        null: operations over peak, or 1 for a ratio; times one constant it is the null model.
    """

    label: str
    dataset: str
    published: float
    model: Model
    null: float


@dataclass(frozen=True)
class Score:
    """A point with its errors, as shares of the published figure.

    Attributes:
        ours: predicted with the constant of all points.
        error: of that.
        left_out: the error with a constant that never saw this dataset; ``error`` where nothing is fitted.
        null: the null model's, with its own constant left out alike.
        unfitted: what the mechanism alone says, its constant 1.
    """

    label: str
    dataset: str
    published: float
    ours: float
    error: float
    left_out: float
    null: float
    unfitted: float


def best(points: Sequence[Point], low: float = 0.01, high: float = 1.0) -> float:
    """The constant of the least squares in logarithms: a grid, then halved around its best, to 0.0001."""

    def loss(constant: float) -> float:
        return sum(math.log(point.model(constant) / point.published) ** 2 for point in points)

    ratio = (high / low) ** (1 / 40)
    found = min((low * ratio**step for step in range(41)), key=loss)
    while ratio > 1.0001:
        ratio = math.sqrt(ratio)
        found = min((found / ratio, found, min(high, found * ratio)), key=loss)
    return found


def scored(points: Sequence[Point], *, fitted: bool) -> list[Score]:
    """Every point with its errors.

    Args:
        points: of one column.
        fitted: the mechanism has a constant; else it is called with 1.
    """
    constant = best(points) if fitted else 1.0
    scores = []
    for point in points:
        others = [other for other in points if other.dataset != point.dataset]
        ours = point.model(constant)
        unseen = point.model(best(others)) if fitted else ours
        scale = math.exp(sum(math.log(o.published / o.null) for o in others) / len(others))
        scores.append(Score(
            point.label, point.dataset, point.published, ours, ours / point.published - 1,
            unseen / point.published - 1, scale * point.null / point.published - 1,
            point.model(1.0) / point.published - 1,
        ))  # fmt: skip
    return scores
