"""What an accelerator is made of. Units are in the names."""

from pydantic import Field

from gcnsys.accel.settings import Settings


class Chip(Settings):
    """Rates and sizes, as published.

    Attributes:
        macs: multiply-accumulates a cycle.
        clock_mhz: cycles a microsecond.
        on_chip_bytes: of all buffers.
        bandwidth_gb_per_s: off chip, 10^9 bytes a second.
        value_bits: of a feature, a weight or a matrix's value.
        index_bits: of the number that goes with each entry of a sparse matrix; 0: none is counted.
        power_watt: of the whole, where it is known.
        off_chip_pj_per_bit: energy of a bit that moves off chip, where it is known.
        resident: whether inputs that fit on chip are there before the clock starts.
    """

    macs: float = Field(gt=0)
    clock_mhz: float = Field(gt=0)
    on_chip_bytes: float = Field(gt=0)
    bandwidth_gb_per_s: float = Field(gt=0)
    value_bits: int = Field(32, ge=1, le=64)
    index_bits: int = Field(32, ge=0, le=64)
    power_watt: float | None = Field(None, gt=0)
    off_chip_pj_per_bit: float | None = Field(None, gt=0)
    resident: bool = False

    @property
    def macs_per_second(self) -> float:
        """The peak."""
        return self.macs * self.clock_mhz * 1e6

    @property
    def bytes_per_cycle(self) -> float:
        """Off chip."""
        return self.bandwidth_gb_per_s * 1e3 / self.clock_mhz

    @property
    def value_bytes(self) -> float:
        """Of a value."""
        return self.value_bits / 8

    @property
    def entry_bytes(self) -> float:
        """Of a value and its index."""
        return (self.value_bits + self.index_bits) / 8

    def rows_bytes(self, nonzeros: float, dense: float) -> float:
        """Rows in the smaller of two forms: entries with an index each, or all of them."""
        return min(nonzeros * self.entry_bytes, dense * self.value_bytes)

    def seconds(self, cycles: float) -> float:
        """How long so many cycles take."""
        return cycles / (self.clock_mhz * 1e6)
