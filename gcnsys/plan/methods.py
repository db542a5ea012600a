"""The methods that a plan weighs: points of the exchange's product of choices, and what each may cost.

Risks are ranks. 0 computes what one device does. 1 lost at most half a point of test accuracy at equal epochs
on every graph of this repository's experiments/methods. 2 lost more on one of them, or was not run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal

from gcnsys.errors import InputError
from gcnsys.kernels.quantize import wire_bytes
from gcnsys.partition.costs import Wire
from gcnsys.runtime.choices import Choices, Schedule
from gcnsys.runtime.rows import sample_size
from gcnsys.train.method import resolved

_DRAWN_ONCE = ("uniform", "importance")
"""Samplers that draw ``ceil(p n)`` rows of n."""

_BITS: dict[str, Literal[8, 16]] = {"bf16": 16, "int8": 8}

Risk = Literal[0, 1, 2]
RISKS = {0: "none", 1: "low", 2: "some"}

EXACT = "computes what one device does"
DRAWN = "rows are drawn without bias; p = 0.1 lost up to 0.5 points in experiments/methods"
FEW_DRAWN = "few rows are drawn; p = 0.01 lost up to 0.6 points in experiments/methods"
STALE = "rows are an epoch old; that lost up to 0.2 points in experiments/methods"
SMOOTHED = "rows are an epoch old and averaged; that lost up to 0.2 points in experiments/methods"
ROUNDED = "rows are rounded without bias; int8 lost up to 0.2 points in experiments/methods"
ALL_THREE = "drawn, an epoch old and rounded; with p = 0.1 that lost up to 0.5 points in experiments/methods"


@dataclass(frozen=True)
class Method:
    """A way for rows to cross.

    Attributes:
        name: for people.
        settings: of a run.
        risk: to accuracy, as above.
        because: why.
    """

    name: str
    settings: dict[str, Any]
    risk: Risk
    because: str

    @cached_property
    def choices(self) -> Choices:
        """What the runtime makes of it."""
        parts = resolved(self.settings)
        del parts["method"]
        return Choices(**parts)

    @property
    def schedule(self) -> Schedule:
        """When rows are waited for."""
        return self.choices.schedule

    @cached_property
    def wire(self) -> Wire:
        """What decides its traffic.

        Raises:
            InputError: a plug-in draws its rows, how many is not known.
        """
        choices = self.choices
        if choices.rows not in ("all", "none", *_DRAWN_ONCE):
            raise InputError(f"rows = {choices.rows}: how many a plug-in draws is not known to a plan")
        bits = _BITS.get(choices.codec)
        row_bytes = Wire().row_bytes if bits is None else partial(wire_bytes, bits=bits)
        if choices.rows == "all":
            return Wire(row_bytes=row_bytes)
        rate = 0.0 if choices.rows == "none" else choices.rate
        return Wire(partial(sample_size, rate), row_bytes, draws=True)


def methods(rates: Sequence[float] = (0.1, 0.01)) -> list[Method]:
    """All that are weighed, exact ones first.

    Args:
        rates: of rows that are drawn.

    Raises:
        InputError: a rate that is none.
    """
    for rate in rates:
        if not 0 < rate < 1:
            raise InputError(f"--rates {rate:g}: a share of boundary rows lies between 0 and 1")
    found = [
        Method("vanilla", {"method": "vanilla"}, 0, EXACT),
        Method("overlap", {"method": "vanilla", "schedule": "overlap"}, 0, EXACT),
    ]
    for rate in rates:
        because = DRAWN if rate >= 0.1 else FEW_DRAWN
        found.append(Method(f"bns {rate:g}", {"method": "bns", "rate": rate}, _risk(rate), because))
    found.append(Method("pipegcn", {"method": "pipegcn"}, 1, STALE))
    for kind in ("f", "g", "gf"):
        found.append(Method(f"pipegcn-{kind}", {"method": f"pipegcn-{kind}"}, 1, SMOOTHED))
    for codec in ("bf16", "int8"):
        found.append(Method(codec, {"method": "custom", "codec": codec}, 1, ROUNDED))
        staged = {"method": "custom", "codec": codec, "schedule": "overlap"}
        found.append(Method(f"overlap {codec}", staged, 1, ROUNDED))
    for rate in rates:
        mixed = {"method": "bns", "rate": rate, "schedule": "pipeline", "codec": "int8"}
        found.append(Method(f"bns {rate:g} pipeline int8", mixed, _risk(rate), ALL_THREE))
    return found


def _risk(rate: float) -> Risk:
    return 1 if rate >= 0.1 else 2
