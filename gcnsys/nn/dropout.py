"""Dropout with keyed masks, as a module: one module is one site."""

from torch import Tensor, nn

from gcnsys.errors import InputError
from gcnsys.kernels import DropoutKey, DroppedRows, Mask, SparseRows, keyed_dropout
from gcnsys.nn.first_hop import DroppedHop, FirstHop

Inputs = Tensor | SparseRows | FirstHop
"""What a model reads."""

Rows = Inputs | DroppedRows | DroppedHop
"""What a layer reads."""


class KeyedDropout(nn.Module):
    """Dropout whose mask depends on (seed, epoch, site, global node id, feature) alone.

    Args:
        rate: share of elements that are zeroed, in ``[0, 1)``.
    """

    row_wise = True

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise InputError(f"dropout must be in [0, 1), got {rate}")
        self.rate = rate
        self.key = DropoutKey(seed=0, epoch=0, site=0)

    def mask(self, node_ids: Tensor) -> Mask | None:
        """What is dropped of rows with the given global ids ``[n]``; None in evaluation."""
        return Mask(self.key, node_ids, self.rate) if self.training and self.rate else None

    def forward(self, x: Tensor, node_ids: Tensor) -> Tensor:
        """Drop from rows ``[n, F]`` with the given global ids ``[n]``; the identity in evaluation."""
        return keyed_dropout(x, self.key, node_ids, self.rate) if self.training else x

    def inputs(self, x: Inputs, node_ids: Tensor) -> Rows:
        """The same for constant inputs: carried out when the first layer multiplies them."""
        mask = self.mask(node_ids)
        if mask is None:
            return x
        if isinstance(x, SparseRows | FirstHop):
            return x.dropped(mask)
        return DroppedRows(x, mask)


def set_dropout_epoch(model: nn.Module, *, seed: int, epoch: int) -> None:
    """Give every dropout module of a model its masks of an epoch; sites count in module order.

    Args:
        model: with any number of :class:`KeyedDropout`.
        seed: of the run.
        epoch: from 0.
    """
    sites = (module for module in model.modules() if isinstance(module, KeyedDropout))
    for site, module in enumerate(sites):
        module.key = DropoutKey(seed, epoch, site)
