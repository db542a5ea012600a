"""Dropout whose mask depends on what is dropped, not on who drops it or in which order.

The mask of an element is a hash of (seed, epoch, site, global node id, feature). So every rank
draws the mask that a single device would draw, a copy of a row carries the same mask on both
sides of the wire, and a run that is resumed goes on with the masks it would have had.

The hash: the four numbers of a row go through the 64-bit finalizer of SplitMix64 into two 32-bit
words ``a`` and ``b``; an element mixes ``a``, the feature and ``b`` with the 32-bit finalizer of
MurmurHash3 and is kept if the result, read as a signed number, is at least rate 2^32 - 2^31.
``tests/test_kernels.py`` repeats it independently with NumPy's unsigned integers.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gcnsys.kernels.backend import native_for
from gcnsys.kernels.matrix import Matrix

# Unsigned constants written as the signed integers of the same bits.
_GOLDEN64 = 0x9E3779B97F4A7C15 - 2**64
_MIX64 = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)
_GOLDEN32 = 0x9E3779B1 - 2**32
_MIX32 = (0x85EBCA6B - 2**32, 0xC2B2AE35 - 2**32)

_CHUNK = 1 << 16
"""Elements hashed at a time on a CPU: few enough for the temporaries to stay in its cache."""

_GPU_CHUNK = 1 << 26
"""The same on a GPU: a hash has several temporaries, which together would be larger than the rows."""


@dataclass(frozen=True, slots=True)
class DropoutKey:
    """What a mask depends on besides the element: the run's seed, the epoch and the place."""

    seed: int
    epoch: int
    site: int


@dataclass(frozen=True, eq=False, slots=True)
class Mask:
    """Which elements of some rows are dropped: drawn where it is needed, never stored.

    Attributes:
        key: what it depends on.
        node_ids: ``[n]`` global ids of the rows.
        rate: in ``(0, 1)``.
    """

    key: DropoutKey
    node_ids: Tensor
    rate: float

    def words(self) -> tuple[Tensor, Tensor]:
        """Two int32 words ``[n]``, all that a kernel needs of it."""
        return row_words(self.key, self.node_ids)


def _scrambled(words: Tensor) -> Tensor:
    for shift, factor in ((30, _MIX64[0]), (27, _MIX64[1])):
        words = (words ^ ((words >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return words ^ ((words >> 31) & ((1 << 33) - 1))


def steps(key: DropoutKey) -> tuple[int, int, int]:
    """What is added to a node's id in turn, modulo 2^64."""
    first, second, third = ((part + 1) * _GOLDEN64 % 2**64 for part in (key.site, key.epoch, key.seed))
    return first, second, third


def signed_steps(key: DropoutKey) -> tuple[int, ...]:
    """The same as signed numbers of the same bits."""
    return tuple(step - 2**64 if step >= 2**63 else step for step in steps(key))


def row_words(key: DropoutKey, node_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Two int32 words ``[n]`` for each of the given nodes."""
    words = node_ids.long()
    for step in signed_steps(key):
        words = _scrambled(words + step)
    low = (words << 32) >> 32
    return low.to(torch.int32), (words >> 32).to(torch.int32)


def threshold(rate: float) -> int:
    """The hash, as an unsigned number, from which an element survives."""
    return min(int(rate * 2**32), 2**32 - 1)


def hashed(a: Tensor, b: Tensor, features: Tensor) -> Tensor:
    """32 bits as int32 for each element, for words and feature numbers (int32) that broadcast together."""
    h = (features * _GOLDEN32) ^ a
    h ^= (h >> 16) & 0xFFFF
    h *= _MIX32[0]
    h ^= (h >> 13) & 0x7FFFF
    h ^= b
    h *= _MIX32[1]
    h ^= (h >> 16) & 0xFFFF
    return h


def kept(a: Tensor, b: Tensor, features: Tensor, rate: float) -> Tensor:
    """Which elements survive, for words and feature numbers (int32) that broadcast together."""
    # As an unsigned number h is uniform in [0, 2^32); the sign bit flipped, so is the order of signed ones.
    return hashed(a, b, features) >= threshold(rate) - 2**31


def drop_into(x: Tensor, a: Tensor, b: Tensor, rate: float, out: Tensor, *, first_feature: int = 0) -> None:
    """Write dropped rows ``[n, F]`` into ``out``, given the words of each row."""
    module = native_for(x)
    if module is not None:
        parts = threshold(rate), 1 / (1 - rate), torch.get_num_threads()
        module.dropout(x, out, a, b, first_feature, *parts)
        return
    width = x.shape[1]
    features = torch.arange(first_feature, first_feature + width, dtype=torch.int32, device=x.device)
    step = max(1, (_CHUNK if x.device.type == "cpu" else _GPU_CHUNK) // max(1, width))
    for start in range(0, x.shape[0], step):
        rows = slice(start, start + step)
        mask = kept(a[rows, None], b[rows, None], features, rate)
        torch.mul(x[rows], mask, out=out[rows])
    out.mul_(1 / (1 - rate))


def drop_entries(matrix: Matrix, values: Tensor, mask: Mask, *, transposed: bool = False) -> Tensor:
    """Entries ``[nnz]`` of a sparse matrix ``[n, F]``, or of its transpose, with 0 for what is dropped."""
    (a, b), rate = mask.words(), mask.rate
    if native_for(values) is not None:
        out = torch.empty_like(values)
        parts = threshold(rate), 1 / (1 - rate), torch.get_num_threads()
        matrix.native().dropout(values, out, a, b, transposed, *parts)
        return out
    nodes, features = matrix.csr.rows(), matrix.csr.indices
    if transposed:
        nodes, features = features, nodes
    nodes = nodes.long()
    survives = kept(a[nodes], b[nodes], features.to(torch.int32), rate)
    return (values * survives).mul_(1 / (1 - rate))


class _KeyedDropout(torch.autograd.Function):
    """``y = m * x / (1 - rate)``; the gradient is ``m * g / (1 - rate)``.

    The mask is drawn again in backward: nothing but two words a row is kept.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, key: DropoutKey, node_ids: Tensor, rate: float, first_feature: int
    ) -> Tensor:
        ctx.rate, ctx.first_feature = rate, first_feature
        words = row_words(key, node_ids)
        ctx.save_for_backward(*words)
        return _dropped(x, *words, rate, first_feature)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        a, b = ctx.saved_tensors
        return _dropped(grads[0], a, b, ctx.rate, ctx.first_feature), None, None, None, None


def _dropped(x: Tensor, a: Tensor, b: Tensor, rate: float, first_feature: int) -> Tensor:
    x = x.detach().contiguous()
    out = torch.empty_like(x)
    drop_into(x, a, b, rate, out, first_feature=first_feature)
    return out


def keyed_dropout(
    x: Tensor, key: DropoutKey, node_ids: Tensor, rate: float, *, first_feature: int = 0
) -> Tensor:
    """Zero each element of ``[n, F]`` with probability ``rate``, scale the others by ``1 / (1 - rate)``.

    Args:
        x: ``[n, F]``.
        key: what the mask depends on.
        node_ids: ``[n]`` global ids of the rows.
        rate: in ``[0, 1)``.
        first_feature: number of the first column, where ``x`` is a slice of something wider.
    """
    if rate == 0:
        return x
    dropped: Tensor = _KeyedDropout.apply(x, key, node_ids, rate, first_feature)
    return dropped
