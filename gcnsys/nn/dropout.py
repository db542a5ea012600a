"""Dropout with keyed masks, as a module: one module is one site."""

from typing import overload

from torch import Tensor, nn

from gcnsys.errors import InputError
from gcnsys.kernels import DropoutKey, SparseRows, keyed_dropout
from gcnsys.nn.first_hop import FirstHop


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

    @overload
    def forward(self, x: Tensor, node_ids: Tensor) -> Tensor: ...
    @overload
    def forward(self, x: SparseRows, node_ids: Tensor) -> SparseRows: ...
    @overload
    def forward(self, x: FirstHop, node_ids: Tensor) -> FirstHop: ...

    def forward(self, x: Tensor | SparseRows | FirstHop, node_ids: Tensor) -> Tensor | SparseRows | FirstHop:
        """Drop from rows with the given global ids ``[n]``; the identity in evaluation."""
        if not self.training or self.rate == 0:
            return x
        if isinstance(x, SparseRows):
            return x.dropped(self.key, node_ids, self.rate)
        if isinstance(x, FirstHop):
            own = None if x.own is None else self._dropped(x.own, node_ids)
            # Own rows and neighbours are one input of twice the width: features F to 2 F - 1.
            return FirstHop(own, self._dropped(x.neighbours, node_ids, first_feature=x.shape[1]))
        return self._dropped(x, node_ids)

    def _dropped(self, x: Tensor, node_ids: Tensor, first_feature: int = 0) -> Tensor:
        return keyed_dropout(x, self.key, node_ids, self.rate, first_feature=first_feature)


def set_dropout_epoch(model: nn.Module, *, seed: int, epoch: int) -> None:
    """Give every dropout module of a model its masks of this epoch; sites count in module order."""
    sites = (module for module in model.modules() if isinstance(module, KeyedDropout))
    for site, module in enumerate(sites):
        module.key = DropoutKey(seed, epoch, site)
