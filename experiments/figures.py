"""Figures of a check beside those on record: the same, near enough, or off by how much."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure measured now, beside what it may be.

    Attributes:
        what: it is of.
        now: what was measured; None if it was not.
        recorded: what it is compared with: a recorded figure, or a bound.
        allowed: in words.
        good: near enough; None: left out.
        why: left out.
    """

    what: str
    now: Any = None
    recorded: Any = None
    allowed: str = ""
    good: bool | None = None
    why: str = ""

    def __str__(self) -> str:
        if self.good is None:
            return f"{self.what}: left out: {self.why}"
        return f"{self.what}: {_short(self.now)}, {self.allowed} {_short(self.recorded)}"

    def json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        return cls(**values)


def same(what: str, now: Any, recorded: Any) -> Figure:
    """What must not differ at all: counts, names, lists of them."""
    return Figure(what, now, recorded, "recorded", now == recorded)


def near(what: str, now: float, recorded: float, within: float) -> Figure:
    """Off by at most ``within``."""
    return Figure(what, now, recorded, f"may be off by {within:g}, recorded", abs(now - recorded) <= within)


def close(what: str, now: float, recorded: float, share: float) -> Figure:
    """Off by at most a share of the recorded figure."""
    good = abs(now - recorded) <= share * abs(recorded)
    return Figure(what, now, recorded, f"may be off by {share:.3g} of it, recorded", good)


def at_least(what: str, now: float, bound: float, *, why: str = "at least") -> Figure:
    """No less than a bound."""
    return Figure(what, now, bound, why, now >= bound)


def at_most(what: str, now: float, bound: float, *, why: str = "at most") -> Figure:
    """No more than a bound."""
    return Figure(what, now, bound, why, now <= bound)


def best_of(
    measure: Callable[[], Mapping[str, float]], bounds: Mapping[str, float], *,
    first: Mapping[str, float] | None = None, why: str = "at least",
) -> Iterator[Figure]:  # fmt: skip
    """Gains of which none may be below its bound, measured up to three times while one is.

    The best of them counts: what else a machine does can hide a gain, but not make one.

    Args:
        measure: gains by what they are of.
        bounds: by the same names.
        first: gains that were measured already.
        why: what the bounds are.
    """
    best = dict(measure() if first is None else first)
    for _ in range(2):
        if all(best[what] >= bound for what, bound in bounds.items()):
            break
        best = {what: max(gain, best[what]) for what, gain in measure().items()}
    for what, bound in bounds.items():
        yield at_least(what, best[what], bound, why=why)


def left_out(what: str, why: str) -> Figure:
    """What could not be compared here."""
    return Figure(what, why=why)


def _short(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, float):
        return f"{value:.5g}"
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
