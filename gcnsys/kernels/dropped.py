"""Constant rows under dropout that is carried out only while they are multiplied."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gcnsys.kernels.backend import summed
from gcnsys.kernels.dropout import Mask, drop_into, keyed_dropout
from gcnsys.kernels.half import widens

_CHUNK = 1 << 19
"""Elements dropped at a time: a buffer that stays in the cache until the product has read it."""


@dataclass(frozen=True, eq=False, slots=True)
class DroppedRows:
    """``dropout(x)`` of input rows that need no gradient; never written down as a whole.

    Attributes:
        x: ``[n, F]``.
        mask: of these rows.
        first_feature: number of the first column, where ``x`` is a slice of something wider.
    """

    x: Tensor
    mask: Mask
    first_feature: int = 0

    @property
    def shape(self) -> torch.Size:
        """Of the rows, ``(n, F)``."""
        return self.x.shape

    def times(self, weight: Tensor) -> Tensor:
        """The product ``dropout(x) W``: ``[F, out] -> [n, out]`` of its type, differentiable in W."""
        out: Tensor = _Product.apply(weight, self)
        return out

    def to_dense(self) -> Tensor:
        """All elements, ``[n, F]``."""
        mask = self.mask
        return keyed_dropout(self.x, mask.key, mask.node_ids, mask.rate, first_feature=self.first_feature)


class _Product(torch.autograd.Function):
    """``Y = D W`` over pieces of D that are dropped as they are needed; the gradient of W is ``D^T G``."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: DroppedRows) -> Tensor:
        ctx.rows, ctx.words = rows, rows.mask.words()
        out = rows.x.new_empty(rows.x.shape[0], weight.shape[1])
        if widens(rows.x):
            for piece, dropped in _pieces(rows, ctx.words):
                out[piece] = dropped.float() @ weight
            return out
        weight = weight.to(rows.x.dtype)
        for piece, dropped in _pieces(rows, ctx.words):
            torch.mm(dropped, weight, out=out[piece])
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        rows: DroppedRows = ctx.rows
        wide = summed(rows.x.dtype)
        out = rows.x.new_zeros(rows.x.shape[1], grads[0].shape[1], dtype=wide)
        for piece, dropped in _pieces(rows, ctx.words):
            if wide == rows.x.dtype or widens(rows.x):
                out.addmm_(dropped.to(wide).t(), grads[0][piece].to(wide))
            else:  # rows of few bits: sums of pieces need more
                out += dropped.t() @ grads[0][piece]
        return out, None


def _pieces(rows: DroppedRows, words: tuple[Tensor, Tensor]) -> Iterator[tuple[slice, Tensor]]:
    n, width = rows.x.shape
    step = max(1, _CHUNK // max(1, width)) if rows.x.device.type == "cpu" else max(1, n)
    buffer = rows.x.new_empty(min(step, n), width)
    for start in range(0, n, step):
        piece = slice(start, min(n, start + step))
        dropped = buffer[: piece.stop - start]
        drop_into(
            rows.x[piece], words[0][piece], words[1][piece], rows.mask.rate, dropped,
            first_feature=rows.first_feature,
        )  # fmt: skip
        yield piece, dropped
