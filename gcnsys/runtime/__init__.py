"""The process group, the halo exchange, and a part as blocks."""

from gcnsys.runtime.block import PartBlock
from gcnsys.runtime.comm import Comm, Flight
from gcnsys.runtime.process import Placement, joined
from gcnsys.runtime.traffic import Traffic

__all__ = ["Comm", "Flight", "PartBlock", "Placement", "Traffic", "joined"]
