"""The rows that cross in an epoch, as one rank sees them: what it sends and what it gets.

Both ends of a pair draw from the same arguments, so each knows the positions of the other. Nothing of
the graph is built anew for a draw: products skip absent columns and compute listed rows.

Letters: B boundary rows to all peers, h halo nodes, P ranks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gcnsys.errors import InputError, known_to_all
from gcnsys.partition import PartGraph
from gcnsys.runtime.comm import Comm
from gcnsys.runtime.rows import Boundary, BoundarySampler, Draw, Occasion, Uniform


@dataclass(frozen=True, eq=False)
class Share:
    """Some of n rows that are grouped by peer.

    Attributes:
        total: n.
        counts: ``[P]`` how many of each group.
        positions: ``[k]`` int64, ascending, in ``[0, n)``; None: all of them.
        scale: ``[n]`` float64 inverse inclusion probability, 0 where a row is absent; None: 1.
    """

    total: int
    counts: tuple[int, ...]
    positions: Tensor | None = None
    scale: Tensor | None = None

    @property
    def size(self) -> int:
        return sum(self.counts)

    def of(self, rows: Tensor) -> Tensor:
        """Those of n rows that cross, ``[k, ...]``."""
        return rows if self.positions is None else rows[self.positions]

    @cached_property
    def place(self) -> Tensor | None:
        """``[n]`` int64, which of the k rows each one is, -1 where it is absent; None: row i is row i."""
        if self.positions is None:
            return None
        place = self.positions.new_full((self.total,), -1)
        place[self.positions] = torch.arange(self.size, device=place.device)
        return place

    def scaled(self, like: Tensor, *others: Tensor | None) -> Tensor | None:
        """``[n]``: what a row is multiplied by, with other factors ``[n]``; None: 1."""
        factors = [factor for factor in (self.scale, *others) if factor is not None]
        if not factors:
            return None
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        product = factors[0] if len(factors) == 1 else torch.stack([f.double() for f in factors]).prod(0)
        return product.to(like.device, dtype)

    def to(self, device: torch.device | None) -> "Share":
        """The same in another memory."""
        if device is None or self.positions is None:
            return self
        scale = None if self.scale is None else self.scale.to(device)
        return Share(self.total, self.counts, self.positions.to(device), scale)


@dataclass(frozen=True, eq=False, slots=True)
class Crossing:
    """One draw over all pairs that this rank is an end of.

    Attributes:
        sent: of its boundary rows.
        arriving: of its halo rows.
        occasion: when it was drawn; None: whenever, as every row crosses.
    """

    sent: Share
    arriving: Share
    occasion: Occasion | None = None


class Drawer:
    """Draws what crosses one graph's boundaries; layers that share the graph share its draws.

    Args:
        graph: this rank's share.
        name: of the sampler, for messages.
        sampler: None: every row crosses.
        device: of the rows.
    """

    def __init__(
        self, graph: PartGraph, name: str = "all", sampler: BoundarySampler | None = None,
        device: torch.device | None = None,
    ) -> None:  # fmt: skip
        self.graph, self.name, self.sampler, self.device = graph, name, sampler, device
        plan, rank = graph.plan, graph.rank
        self._everything = Crossing(
            Share(len(plan.send_rows), plan.send_counts), Share(plan.num_halo, plan.recv_counts)
        )
        self._last: tuple[Occasion, Crossing] | None = None
        if sampler is None:
            return
        fed = torch.bincount(graph.halo.indices, minlength=graph.num_halo)
        self._leaving = [
            Boundary(rank, peer, edges)
            for peer, edges in enumerate(plan.send_edges.long().split(list(plan.send_counts)))
        ]
        self._coming = [
            Boundary(peer, rank, edges) for peer, edges in enumerate(fed.split(list(plan.recv_counts)))
        ]

    def at(self, occasion: Occasion | None) -> Crossing:
        """What crosses on an occasion."""
        if self.sampler is None or occasion is None:
            return self._everything
        if self._last is None or self._last[0] != occasion:
            sent = self._share(self._leaving, self.graph.plan.send_counts, occasion)
            arriving = self._share(self._coming, self.graph.plan.recv_counts, occasion)
            self._last = occasion, Crossing(sent.to(self.device), arriving.to(self.device), occasion)
        return self._last[1]

    def _share(self, boundaries: Sequence[Boundary], counts: Sequence[int], occasion: Occasion) -> Share:
        if type(self.sampler) is Uniform:  # one of a subclass may draw otherwise
            draw, sizes = self.sampler.draw_all(boundaries, occasion)
            return spread(draw, sizes, sum(counts))
        return joined(self.draws(boundaries, occasion), counts)

    def draws(self, boundaries: Sequence[Boundary], occasion: Occasion) -> list[Draw]:
        """A draw from each boundary, checked.

        Raises:
            InputError: the sampler draws what cannot cross.
        """
        assert self.sampler is not None
        made = []
        for boundary in boundaries:
            try:
                draw = self.sampler.draw(boundary, occasion)
                problem = fault(draw, boundary)
            except Exception as error:
                problem = f"raises {type(error).__name__} ({error})"
            if problem:
                raise InputError(
                    f"the boundary sampler {self.name!r} {problem}, for rank {boundary.receiver} of rank "
                    f"{boundary.sender}'s rows in epoch {occasion.epoch}; mend it "
                    f"(gcnsys.testing.samplers.check_boundary_sampler shows more)"
                )
            made.append(draw)
        return made

    def digest(self, occasion: Occasion) -> Tensor:
        """``[2, P, P]`` int64: what this rank drew as the sender and as the receiver of each pair."""
        ranks, rank = self.graph.num_parts, self.graph.rank
        table = torch.zeros(2, ranks, ranks, dtype=torch.int64)
        if self.sampler is not None:
            for peer, draw in enumerate(self.draws(self._leaving, occasion)):
                table[0, rank, peer] = _digest(draw)
            for peer, draw in enumerate(self.draws(self._coming, occasion)):
                table[1, peer, rank] = _digest(draw)
        return table


def agree_on_draws(looked_at: Sequence[tuple[Drawer, Occasion]], comm: Comm) -> None:
    """Make sure that both ends of every pair draw the same rows; collective.

    Args:
        looked_at: drawers and occasions, the same ones on all ranks.
        comm: the ranks.

    Raises:
        InputError: on every rank, if a sampler draws what cannot cross, or other rows on the two ends.
    """
    with comm.agreed():
        tables = [drawer.digest(occasion) for drawer, occasion in looked_at]
    if not tables:
        return
    sender, receiver = comm.add(torch.stack(tables), "control").unbind(1)
    differ = torch.nonzero(sender != receiver)
    if differ.numel():
        which, a, b = differ[0].tolist()
        drawer, occasion = looked_at[which]
        raise known_to_all(
            f"the boundary sampler {drawer.name!r} draws other rows on rank {a}, which sends them, than "
            f"on rank {b}, which gets them (epoch {occasion.epoch}); a draw must follow from its arguments",
            InputError,
        )


def joined(draws: Sequence[Draw], counts: Sequence[int]) -> Share:
    """The draws from groups of so many rows, as a share of all groups' rows."""
    starts = torch.tensor([0, *counts]).cumsum(0).tolist()
    positions = torch.cat([draw.positions + start for draw, start in zip(draws, starts, strict=False)])
    scale = torch.cat([draw.scale for draw in draws])
    return spread(Draw(positions, scale), [draw.positions.numel() for draw in draws], sum(counts))


def spread(draw: Draw, sizes: Sequence[int], total: int) -> Share:
    """A draw from all groups' rows, so many of each, as a share of them."""
    if draw.positions.numel() == total and bool((draw.scale == 1).all()):
        return Share(total, tuple(sizes))
    scale = torch.zeros(total, dtype=torch.float64).index_copy_(0, draw.positions, draw.scale)
    return Share(total, tuple(sizes), draw.positions, scale)


def fault(draw: Draw, boundary: Boundary) -> str | None:
    """What is wrong with a draw, as the end of a sentence."""
    positions, scale = draw.positions, draw.scale
    if positions.dtype != torch.int64 or positions.dim() != 1 or scale.shape != positions.shape:
        return "must give positions [k] int64 and a scale [k] for them"
    if scale.dtype != torch.float64 or not bool(((scale >= 1) & scale.isfinite()).all()):
        return "gives a scale that is not a float64 of at least 1, the inverse of a probability"
    outside = positions[(positions < 0) | (positions >= boundary.num_rows)]
    if outside.numel():
        return f"draws row {int(outside[0])} of {boundary.num_rows}"
    if bool((positions.diff() <= 0).any()):
        return "draws rows that do not ascend"
    return None


def _digest(draw: Draw) -> int:
    words = torch.cat([draw.positions, draw.scale.view(torch.int64)])
    order = 2 * torch.arange(words.numel()) + 1
    return (int(((words ^ (words >> 29)) * 0x2545F4914F6CDD1D * order).sum()) >> 2) | 1
