"""Rows in 8 or 16 bits a number, rounded up or down at random so that the expectation is exact.

Which way a number is rounded is a hash of (seed, epoch, site, row, feature), the one that dropout masks
are drawn with: whoever encodes a row, whenever, finds the same bits, and nothing is drawn from a
generator that a resumed run would have to restore.

- 16 bits: bfloat16, after 16 random bits were added below its last one.
- 8 bits: ``q = floor(x / s + u)`` with u uniform in [0, 1) and ``s = max |x| / 127`` of the row, which
  follows the row as a float32 (Alistarh et al. 2017, QSGD, with one level set a row). A row of smaller
  numbers than float32 has normal ones counts as 0; a row with a number that is not finite comes back as NaN.
"""

from typing import Literal

import torch
from torch import Tensor

from gcnsys.kernels.backend import native_for
from gcnsys.kernels.dropout import DropoutKey, hashed, row_words

Bits = Literal[8, 16]

_SMALLEST = torch.finfo(torch.float32).tiny


def wire_bytes(width: int, bits: Bits) -> int:
    """Bytes a row of so many numbers."""
    return width + 4 if bits == 8 else 2 * width


def quantize(x: Tensor, key: DropoutKey, ids: Tensor, bits: Bits) -> Tensor:
    """Encode ``[n, F]`` as uint8 ``[n, wire_bytes(F)]``.

    Args:
        x: float32, float64 (taken as float32) or bfloat16.
        key: what the rounding depends on besides row and feature.
        ids: ``[n]`` numbers of the rows: equal ones round alike.
        bits: a number.
    """
    x = x.detach().contiguous()
    a, b = row_words(key, ids)
    module = native_for(x)
    if module is not None:
        wire = torch.empty(x.shape[0], wire_bytes(x.shape[1], bits), dtype=torch.uint8)
        module.quantize(x, wire, a, b, bits, torch.get_num_threads())
        return wire
    features = torch.arange(x.shape[1], dtype=torch.int32, device=x.device)
    hashes = hashed(a[:, None], b[:, None], features)
    return _to_16(x.float(), hashes) if bits == 16 else _to_8(x.float(), hashes)


def dequantize(wire: Tensor, width: int, dtype: torch.dtype, bits: Bits) -> Tensor:
    """Decode what :func:`quantize` made: ``[n, width]``."""
    out = torch.empty(wire.shape[0], width, dtype=dtype, device=wire.device)
    module = native_for(out)
    if module is not None:
        module.dequantize(wire, out, bits, torch.get_num_threads())
        return out
    if not out.numel():
        return out
    if bits == 16:
        return out.copy_(wire.view(torch.bfloat16))
    # In memory of its own, where floats may lie; a single row counts as contiguous as it is.
    scale = wire[:, width:].clone(memory_format=torch.contiguous_format).view(torch.float32)
    return out.copy_(wire[:, :width].view(torch.int8).float() * scale)


def _to_16(x: Tensor, hashes: Tensor) -> Tensor:
    words = x.view(torch.int32)
    up = torch.where(x.isfinite(), (hashes >> 16) & 0xFFFF, torch.where(x.isnan(), ~words & 0x400000, 0))
    # int64: the sum of a word and what is added may pass the sign bit.
    halves = ((words.long() + up) >> 16) & 0xFFFF
    return torch.stack([halves & 0xFF, halves >> 8], 2).to(torch.uint8).flatten(1)


def _to_8(x: Tensor, hashes: Tensor) -> Tensor:
    # As bits, so that a NaN is larger than all other numbers and is not lost.
    largest = (x.view(torch.int32) & 0x7FFFFFFF).amax(1) if x.shape[1] else x.new_zeros(x.shape[0]).int()
    scale = largest.view(torch.float32) / 127
    scale = torch.where(scale < _SMALLEST, 0.0, scale)[:, None]
    usable = (scale > 0) & scale.isfinite()
    inverse = torch.where(usable, 1 / scale, 0.0)
    up = ((hashes >> 8) & 0xFFFFFF).float() * 2**-24
    levels = torch.where(usable, torch.floor(x * inverse + up).clamp(-127, 127), 0.0)
    return torch.cat([levels.to(torch.int8).view(torch.uint8), scale.view(torch.uint8)], 1)
