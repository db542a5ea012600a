"""Which boundary rows cross the wire in an epoch, and how much each then stands for.

A sampler draws from one ordered pair of ranks at a time. Sender and receiver call it with the same
arguments and find the same rows, so no row is ever named on the wire. What it draws with is integers
and correctly rounded divisions, which are the same on every machine.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.kernels.dropout import DropoutKey, row_words
from gcnsys.kernels.lots import drawn
from gcnsys.registry import Registry

_ONE = 1 << 32
"""An inclusion probability of 1, in the whole numbers that systematic sampling counts in."""


@dataclass(frozen=True, eq=False, slots=True)
class Boundary:
    """The rows that one rank can send to another.

    Attributes:
        sender, receiver: ranks.
        edges: ``[n]`` int64, how many edges of the receiver each row feeds.
    """

    sender: int
    receiver: int
    edges: Tensor

    @property
    def num_rows(self) -> int:
        """How many there are, n."""
        return self.edges.numel()


@dataclass(frozen=True, slots=True)
class Occasion:
    """When rows are drawn: the run's seed, the epoch, and the layer (0 where all share a draw)."""

    seed: int
    epoch: int
    layer: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Draw:
    """Some rows of a boundary.

    Attributes:
        positions: ``[k]`` int64, ascending, each in ``[0, n)``.
        scale: ``[k]`` float64: 1 / the probability with which each is drawn.
    """

    positions: Tensor
    scale: Tensor


class BoundarySampler(Protocol):
    """Draws rows. A third party's is published under the entry-point group ``gcnsys.boundary_samplers``.

    It is made with the rate, in ``[0, 1]``, that the user asked for.
    :func:`gcnsys.testing.samplers.check_boundary_sampler` says whether one keeps what the exchange relies on.
    """

    def draw(self, boundary: Boundary, occasion: Occasion) -> Draw:
        """Rows of one ordered pair of ranks; a pure function of its arguments.

        Args:
            boundary: the rows there are.
            occasion: what the draw depends on besides the pair.
        """
        ...


class SamplerFactory(Protocol):
    """What is registered: a sampler for a rate."""

    def __call__(self, rate: float, /) -> BoundarySampler: ...


SAMPLERS: Registry[SamplerFactory] = Registry("boundary sampler", "gcnsys.boundary_samplers")


def sampler(name: str, rate: float) -> BoundarySampler:
    """A sampler by name.

    Raises:
        InputError: nobody knows the name, or the rate is not in ``[0, 1]``.
    """
    if not 0 <= rate <= 1:
        raise InputError(f"rate = {rate:g}: the share of boundary rows to send must lie in [0, 1]")
    return SAMPLERS.get(name)(rate)


def sample_size(rate: float, num_rows: int) -> int:
    """``ceil(rate n)``, but for what rounding adds to a product that is a whole number."""
    return max(0, math.ceil(rate * num_rows - 1e-9))


def _key(boundary: Boundary, occasion: Occasion) -> DropoutKey:
    """That of an ordered pair and an occasion."""
    pair = (boundary.sender << 24 | boundary.receiver) << 8 | occasion.layer
    return DropoutKey(occasion.seed, occasion.epoch, -1 - pair)


@SAMPLERS.register("uniform")
class Uniform:
    """``ceil(p n)`` rows without replacement, each set of so many as likely as any other (BNS-GCN)."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def draw(self, boundary: Boundary, occasion: Occasion) -> Draw:
        return self.draw_all([boundary], occasion)[0]

    def draw_all(self, boundaries: Sequence[Boundary], occasion: Occasion) -> tuple[Draw, list[int]]:
        """The draws from several boundaries at once, which with many ranks takes less time.

        Returns:
            A draw from all their rows, one boundary after the other, and how many of each.
        """
        counts = [boundary.num_rows for boundary in boundaries]
        sizes = [sample_size(self.rate, count) for count in counts]
        positions = drawn([_key(boundary, occasion) for boundary in boundaries], counts, sizes)
        weights = [count / max(size, 1) for count, size in zip(counts, sizes, strict=True)]
        scale = torch.tensor(weights, dtype=torch.float64).repeat_interleave(torch.tensor(sizes).long())
        return Draw(positions, scale), sizes


@SAMPLERS.register("importance")
class Importance:
    """``ceil(p n)`` rows, each with a probability in proportion to the edges it feeds, at most 1.

    Systematic sampling: the probabilities lie end to end on a line, and a row is drawn where one of
    the points ``u, u + 1, u + 2, ...`` falls into its share. Rows that feed no edge are never drawn.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def draw(self, boundary: Boundary, occasion: Occasion) -> Draw:
        useful = int((boundary.edges > 0).sum())
        size = min(useful, sample_size(self.rate, boundary.num_rows))
        shares = inclusion(boundary.edges, size)
        ends = shares.cumsum(0)
        if size:
            # Shares are rounded down: the last useful row takes what is missing, less than one in 2^32 a row.
            last = int(torch.nonzero(boundary.edges)[-1])
            ends[last:] = size * _ONE
        start = int(row_words(_key(boundary, occasion), torch.zeros(1))[0]) & (_ONE - 1)
        points = torch.div(ends + start, _ONE, rounding_mode="floor")
        before = torch.cat([points.new_zeros(1), points[:-1]])
        positions = torch.nonzero(points > before).flatten()
        return Draw(positions, _ONE / shares[positions].double())


def inclusion(edges: Tensor, size: int) -> Tensor:
    """Probabilities ``min(1, c w)`` that add up to ``size``, in 2^32nds: ``[n]`` int64.

    Args:
        edges: ``[n]`` int64 weights w; at least ``size`` of them are positive.
        size: rows to draw.
    """
    weights, order = edges.sort(descending=True, stable=True)
    rest = weights.flip(0).cumsum(0).flip(0)  # of each and all smaller ones
    left = size - torch.arange(edges.numel())
    certain = int((weights * left >= rest).logical_and(left > 0).long().cumprod(0).sum())
    shares = torch.zeros_like(weights)
    shares[:certain] = _ONE
    if certain < min(size, edges.numel()):
        share = weights[certain:].double() * (size - certain) / int(rest[certain])
        shares[certain:] = (share * _ONE).long().clamp(max=_ONE)
    return torch.empty_like(shares).index_copy_(0, order, shares)
