"""Normalization between layers; statistics run over all inner nodes of all ranks."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gcnsys.kernels import Block, RowNorm
from gcnsys.kernels.backend import summed
from gcnsys.nn.recompute import recomputing

Norm = Literal["none", "layer", "batch"]


class LayerNorm(nn.Module):
    """Normalize each row by itself (Ba et al. 2016); no rank needs another.

    Args:
        width: F.
        eps: added to each row's variance.
    """

    row_wise = True

    def __init__(self, width: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x: Tensor, block: Block) -> Tensor:
        """Each row ``[n, F]`` by itself; the block is not looked at."""
        return F.layer_norm(x, x.shape[1:], self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)

    def fused(self) -> RowNorm:
        """The same, for :func:`gcnsys.kernels.activation`."""
        return RowNorm(self.weight, self.bias, self.eps)


class BatchNorm(nn.Module):
    """Normalize each feature over the nodes of all ranks (Ioffe & Szegedy 2015).

    What ``torch.nn.BatchNorm1d`` computes on one device that holds all rows, gradients included:
    mean and variance are two sums over ranks, differentiated through.

    Args:
        width: F.
        eps: added to the variance.
        momentum: weight of a new batch in the running statistics that evaluation uses.
    """

    row_wise = False
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.eps, self.momentum = eps, momentum
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor, block: Block) -> Tensor:
        """Rows ``[D, F]`` of a block by the statistics of all ranks; collective while training."""
        return self._normalized(x.to(summed(x.dtype)), block).to(x.dtype)

    def _normalized(self, x: Tensor, block: Block) -> Tensor:
        if not self.training:
            return self._scaled(x - self.running_mean, self.running_var)
        mean, centred, variance, count = over_ranks(x, block)
        if not recomputing():
            track(self.running_mean, self.running_var, mean, variance, count, self.momentum)
        return self._scaled(centred, variance)

    def _scaled(self, centred: Tensor, variance: Tensor) -> Tensor:
        return centred * (variance + self.eps).rsqrt() * self.weight + self.bias


def over_ranks(x: Tensor, block: Block) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Over the rows of all ranks: the mean ``[F]``, ``x`` less it, the variance ``[F]``, their count."""
    sums = block.total(torch.cat([x.sum(0), x.new_full((1,), x.shape[0])]))  # one message for both
    count = sums[-1:].detach()
    mean = sums[:-1] / count
    centred = x - mean
    return mean, centred, block.total(centred.square().sum(0)) / count, count


@torch.no_grad()
def track(
    running_mean: Tensor, running_var: Tensor, mean: Tensor, variance: Tensor, count: Tensor, momentum: float
) -> None:
    """Take a batch of so many rows into running statistics, whose variance is the unbiased one."""
    running_mean.lerp_(mean, momentum)
    running_var.lerp_(variance * count / (count - 1).clamp(min=1), momentum)


def made_norm(name: Norm, width: int) -> LayerNorm | BatchNorm | None:
    """A norm of rows of this width."""
    if name == "none":
        return None
    return LayerNorm(width) if name == "layer" else BatchNorm(width)
