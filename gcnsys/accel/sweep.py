"""What if: an estimate along values of one field of an accelerator."""

import math
from dataclasses import dataclass

from gcnsys.accel.accelerator import Accelerator
from gcnsys.accel.estimate import Estimate
from gcnsys.accel.work import Work
from gcnsys.errors import InputError


@dataclass(frozen=True, slots=True)
class Sweep:
    """Values of a field.

    Attributes:
        field: of an accelerator, as ``Accelerator.changed`` takes it.
        values: ascending.
    """

    field: str
    values: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> "Sweep":
        """From ``field=low..high``, doubling; ``field=low..high/count``, as many; or ``field=a,b,c``.

        Raises:
            InputError: it is none of these.
        """
        field, equals, given = text.partition("=")
        try:
            if not equals or not field:
                raise ValueError(text)
            if ".." not in given:
                return cls(field, tuple(sorted({float(value) for value in given.split(",")})))
            ends, _, count = given.partition("/")
            low, high = (float(end) for end in ends.split(".."))
            if not 0 < low <= high < math.inf:
                raise ValueError(text)
            steps = int(count) - 1 if count else max(1, round(math.log2(high / low)))
            if steps < 1:
                raise ValueError(text)
        except ValueError:
            raise InputError(
                f"--sweep {text}: needs field=low..high, field=low..high/count or field=a,b,c with positive "
                f"numbers, such as macs=1024..16384"
            ) from None
        values = [low * (high / low) ** (step / steps) for step in range(steps + 1)]
        whole = low.is_integer() and high.is_integer() and low >= 8
        return cls(field, tuple(sorted({float(round(value)) if whole else value for value in values})))

    def run(self, accelerator: Accelerator, work: Work) -> list[tuple[float, Estimate]]:
        """An estimate for each value."""
        return [(value, accelerator.changed(self.field, value).estimate(work)) for value in self.values]
