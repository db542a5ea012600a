"""In what form rows cross the wire."""

from typing import Protocol

import torch
from torch import Tensor

from gcnsys.kernels.dropout import DropoutKey
from gcnsys.kernels.quantize import Bits, dequantize, quantize
from gcnsys.registry import unknown


class Codec(Protocol):
    """Rows ``[n, F]`` to what is sent and back; the expectation of what comes out is what went in."""

    def encode(self, rows: Tensor, key: DropoutKey, ids: Tensor) -> Tensor:
        """What is sent, a row each.

        Args:
            rows: ``[n, F]``.
            key: what random rounding depends on besides row and feature.
            ids: ``[n]`` numbers of the rows.
        """
        ...

    def decode(self, wire: Tensor, width: int, dtype: torch.dtype) -> Tensor:
        """The rows ``[n, width]`` again."""
        ...


class Exact:
    """Rows as they are, in the type that the model computes in."""

    def encode(self, rows: Tensor, key: DropoutKey, ids: Tensor) -> Tensor:
        return rows

    def decode(self, wire: Tensor, width: int, dtype: torch.dtype) -> Tensor:
        return wire


class Rounded:
    """16 or 8 bits a number, rounded at random (:mod:`gcnsys.kernels.quantize`)."""

    def __init__(self, bits: Bits) -> None:
        self.bits: Bits = bits

    def encode(self, rows: Tensor, key: DropoutKey, ids: Tensor) -> Tensor:
        return quantize(rows, key, ids, self.bits)

    def decode(self, wire: Tensor, width: int, dtype: torch.dtype) -> Tensor:
        return dequantize(wire, width, dtype, self.bits)


CODECS: dict[str, Codec] = {"fp32": Exact(), "bf16": Rounded(16), "int8": Rounded(8)}


def codec(name: str) -> Codec:
    """A codec by name.

    Raises:
        UnknownNameError: there is none of this name.
    """
    if name not in CODECS:
        raise unknown("codec", name, CODECS)
    return CODECS[name]
