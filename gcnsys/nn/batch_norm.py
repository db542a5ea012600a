"""Batch norm inside a foreign layer: over the nodes of all ranks, which the layer knows nothing of."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from torch import Tensor, nn

from gcnsys.errors import InputError
from gcnsys.kernels import Block
from gcnsys.nn.norm import over_ranks, track
from gcnsys.nn.recompute import recomputing

_block: ContextVar[Block | None] = ContextVar("block", default=None)


@contextlib.contextmanager
def with_block(block: Block) -> Iterator[None]:
    """While it runs, shared batch norm is over the nodes of this block and those of the other ranks."""
    token = _block.set(block)
    try:
        yield
    finally:
        _block.reset(token)


def shared(layer: nn.Module) -> nn.Module:
    """The layer, every batch norm in it replaced by a :class:`SharedBatchNorm` of the same weights."""
    if type(layer) is nn.BatchNorm1d:
        return SharedBatchNorm.of(layer)
    for name, child in layer.named_children():
        setattr(layer, name, shared(child))
    return layer


class SharedBatchNorm(nn.BatchNorm1d):
    """``torch.nn.BatchNorm1d`` with statistics over all ranks' destination rows.

    Where a layer hands it halo rows as well, they are normalized, but counted by their owners alone.
    """

    row_wise = False

    @classmethod
    def of(cls, plain: nn.BatchNorm1d) -> "SharedBatchNorm":
        """The same norm, weights and statistics, shared."""
        made = cls(plain.num_features, plain.eps, plain.momentum, plain.affine, plain.track_running_stats)
        made.train(plain.training)
        made.weight, made.bias = plain.weight, plain.bias
        made.running_mean, made.running_var = plain.running_mean, plain.running_var
        made.num_batches_tracked = plain.num_batches_tracked
        return made

    def forward(self, x: Tensor) -> Tensor:
        block = _block.get()
        if block is None or not (self.training or self.running_mean is None):
            return super().forward(x)
        rows = block.output_ids.numel()
        if x.ndim != 2 or x.shape[0] not in (rows, block.gathered_ids.numel()):
            raise InputError(
                f"batch norm inside a layer can be over nodes, of which there are {rows} here, got "
                f"{list(x.shape)}: over edges it is not that of a single device; use layer norm"
            )
        mean, centred, variance, count = over_ranks(x[:rows], block)
        if self.training and self.running_mean is not None and not recomputing():
            self._take_in(mean, variance, count)
        centred = centred if x.shape[0] == rows else x - mean
        out = centred * (variance + self.eps).rsqrt()
        return out if self.weight is None else out * self.weight + self.bias

    def _take_in(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        momentum = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:
                momentum = 1 / float(self.num_batches_tracked)
        assert momentum is not None
        track(self.running_mean, self.running_var, mean, variance, count, momentum)
