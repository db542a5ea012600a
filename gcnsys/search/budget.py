"""What an accelerator may use, and how many multiply-accumulates that is at a number of bits."""

import math
from dataclasses import dataclass, fields

from gcnsys.errors import InputError
from gcnsys.registry import unknown

MACS_PER_DSP = {32: 1.0, 16: 1.6, 8: 2.5}
"""Of a DSP slice, by bits. 8: GCoD's table V, 10 240 for 4096; 16: the geometric mean of both, presumed."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Resources that every design may use, the defaults those of GCoD's board (its table V).

    Attributes:
        dsp: slices that multiply.
        bram: bytes of buffers.
        bandwidth: off chip, 10^9 bytes a second.
        clock: at most, MHz.
    """

    dsp: float = 4096
    bram: float = 42e6
    bandwidth: float = 460
    clock: float = 330

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < math.inf:
                raise InputError(f"budget: {field.name} must be positive and finite, got {value:g}")
        if self.dsp < 1:
            raise InputError(f"budget: dsp must be at least 1, got {self.dsp:g}")

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """From ``dsp=4096,bram=42e6,...``; what is not named stays as it is.

        Raises:
            InputError: a name is unknown or given twice, or a value no number.
        """
        known, given = [field.name for field in fields(cls)], {}
        for piece in filter(None, text.split(",")):
            name, _, value = (part.strip() for part in piece.partition("="))
            if name not in known:
                raise unknown("budget", name, known)
            if name in given:
                raise InputError(f"budget: {name} is given twice; name it once")
            try:
                given[name] = float(value)
            except ValueError:
                raise InputError(f"budget: {piece!r} needs a number, such as dsp=4096") from None
        return cls(**given)

    def macs(self, bits: int) -> float:
        """Multiply-accumulates a cycle."""
        return float(int(self.dsp * MACS_PER_DSP[bits]))
