"""First-hop precompute: the aggregation of constant inputs is the same every epoch, so it is done once.

Layer 0 is then dropout(A x) W instead of A (dropout(x) W): another model under dropout, the same
without. It needs no communication at all.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gcnsys.kernels import Block, DroppedRows, Mask

_WIDTH = 64
"""Features aggregated at a time."""


@dataclass(frozen=True, eq=False, slots=True)
class FirstHop:
    """Inputs of which the first aggregation is done.

    Attributes:
        own: ``[D, F]`` the destinations' own rows; None for a layer that does not look at them.
        neighbours: ``[D, F]`` what the first layer's aggregation gave.
    """

    own: Tensor | None
    neighbours: Tensor

    @property
    def shape(self) -> torch.Size:
        """Of the aggregated rows, ``(D, F)``."""
        return self.neighbours.shape

    def head(self, rows: int) -> "FirstHop":
        """The first rows; shares memory."""
        return FirstHop(None if self.own is None else self.own[:rows], self.neighbours[:rows])

    def dropped(self, mask: Mask) -> "DroppedHop":
        """Own rows and neighbours under dropout, as one input of twice the width."""
        own = None if self.own is None else DroppedRows(self.own, mask)
        return DroppedHop(own, DroppedRows(self.neighbours, mask, self.neighbours.shape[1]))


@dataclass(frozen=True, eq=False, slots=True)
class DroppedHop:
    """A :class:`FirstHop` under dropout."""

    own: DroppedRows | None
    neighbours: DroppedRows


def first_hop(block: Block, aggregation: str, x: Tensor, *, needs_own: bool) -> FirstHop:
    """Aggregate the inputs once, exactly.

    Args:
        block: of the first layer.
        aggregation: ``sum``, ``mean``, or ``gcn`` with its norm, as ``gcn:out-in``.
        x: ``[S, F]``.
        needs_own: whether the layer also reads the rows themselves.
    """
    name, _, norm = aggregation.partition(":")
    neighbours = x.new_empty(block.output_ids.numel(), x.shape[1])
    with torch.no_grad():
        # A few features at a time: the halo of all of them may be as large as the inputs.
        for start in range(0, x.shape[1], _WIDTH):
            features = slice(start, start + _WIDTH)
            found = getattr(block, name)(x[:, features].contiguous(), *([norm] if norm else []))
            neighbours[:, features] = found
    return FirstHop(block.own(x) if needs_own else None, neighbours)
