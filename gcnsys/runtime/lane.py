"""One direction of one exchange: rows leave and, ``lag`` epochs later, are used.

What is under way is a value that carries its own draw. So rows are used at the positions and with the
scale they were drawn with, however many epochs ago that was, and their gradients return along that draw.
"""

import contextlib
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gcnsys.kernels.dropout import DropoutKey
from gcnsys.runtime.codec import Codec
from gcnsys.runtime.comm import Comm, Flight
from gcnsys.runtime.crossing import Crossing, Drawer, Share
from gcnsys.runtime.rows import Occasion
from gcnsys.runtime.smoothing import Running

Start = Literal["exact", "zero"]
"""What stands for rows of before the first epoch: this epoch's, waited for, or zeros."""


@dataclass(frozen=True, eq=False, slots=True)
class Arrival:
    """Rows to be used now.

    Attributes:
        rows: ``[k, F]``.
        crossing: the draw they left with.
        correction: ``[n]`` float64 of all rows that could have crossed, what to multiply by; None: 1.
    """

    rows: Tensor
    crossing: Crossing
    correction: Tensor | None = None


@dataclass(slots=True)
class Passage:
    """What one departure cost this rank.

    Attributes:
        sent_bytes: payload.
        waited_seconds: for rows, in calls and in waiting; of this thread: on a GPU nothing waits here.
        beside_seconds: of the work that can run while rows are under way.
    """

    sent_bytes: int = 0
    waited_seconds: float = 0.0
    beside_seconds: float = 0.0


@dataclass(frozen=True, eq=False, slots=True)
class Landed:
    """Rows that wait to be used, as they came.

    Attributes:
        wire: ``[k, ...]`` in the codec's form.
        occasion: when they were drawn; None: all of them cross.
        width: of the rows, decoded.
    """

    wire: Tensor
    occasion: Occasion | None
    width: int


@dataclass(frozen=True, eq=False, slots=True)
class _UnderWay:
    flight: Flight
    crossing: Crossing
    width: int
    dtype: torch.dtype


class Lane:
    """Features to halos, or (``back``) gradients of halo rows to their owners.

    Args:
        comm: the ranks.
        codec: in what form rows cross.
        back: gradients.
        at_once: wait for rows before anything else is done.
        lag: epochs between leaving and use.
        start: see :data:`Start`.
        smoothed: what averages arrivals; None: nothing does.
        keep: what arrived can be asked for again in the same epoch.
    """

    def __init__(
        self, comm: Comm, codec: Codec, *, back: bool, at_once: bool, lag: int = 0, start: Start = "exact",
        smoothed: Running | None = None, keep: bool = False,
    ) -> None:  # fmt: skip
        self.comm, self.codec, self.back, self.at_once = comm, codec, back, at_once
        self.lag, self.start, self.smoothed, self.keep = lag, start, smoothed, keep
        self.passage = Passage()
        self.under_way: deque[_UnderWay] = deque()
        self._due: Arrival | None = None
        self._last: tuple[Share, Share, Tensor] | None = None

    def depart(self, rows: Tensor, crossing: Crossing, key: DropoutKey, ids: Tensor) -> None:
        """Send ``[k, F]`` rows of a draw; collective.

        Args:
            rows: in the order of the draw.
            crossing: the draw.
            key: of random rounding.
            ids: ``[k]`` global ids of the rows.
        """
        leaving, arriving = self._ends(crossing)
        self.passage = Passage()
        if self.lag and len(self.under_way) == self.lag:
            self._due = self._used(self.under_way.popleft())
        with self._waiting():
            wire = self.codec.encode(rows, key, ids)
            flight = self.comm.swap(wire, leaving.counts, arriving.counts)
            if self.at_once:
                flight.land()
        self.passage.sent_bytes = wire.nbytes
        self._last = leaving, arriving, wire.new_empty(0, *wire.shape[1:])
        self.under_way.append(_UnderWay(flight, crossing, rows.shape[1], rows.dtype))

    def arrive(self) -> Arrival:
        """The rows that are used in this epoch; waits for them."""
        if self.lag == 0:
            return self._used(self.under_way.popleft())
        if self._due is not None:
            due, self._due = self._due, self._due if self.keep else None
            return due
        newest = self.under_way[-1]
        if self.start == "zero":
            size = self._ends(newest.crossing)[1].size
            rows = torch.zeros(size, newest.width, dtype=newest.dtype, device=newest.flight.home)
            return Arrival(rows, newest.crossing)
        return Arrival(self._landed(newest), newest.crossing)

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        """Charge the time a block takes to what can run while rows are under way."""
        began = time.perf_counter()
        yield
        self.passage.beside_seconds += time.perf_counter() - began

    def settle(self) -> None:
        """Wait for all that is under way; it stays there to be used."""
        for each in self.under_way:
            each.flight.land()

    def kept(self) -> list[Landed]:
        """What is under way, landed; collective, as all that is under way is waited for."""
        self.settle()
        return [Landed(each.flight.rows, each.crossing.occasion, each.width) for each in self.under_way]

    def take_up(
        self, landed: Sequence[Landed], drawer: Drawer, dtype: torch.dtype, home: torch.device
    ) -> None:
        """Go on with what another lane like this one kept.

        Args:
            landed: oldest first.
            drawer: draws the same rows again.
            dtype: of the rows, decoded.
            home: where they are used.
        """
        self.under_way.clear()
        for each in landed:
            wire, crossing = each.wire.to(self.comm.wire), drawer.at(each.occasion)
            if wire.shape[0] != self._ends(crossing)[1].size:
                raise ValueError(f"{wire.shape[0]} rows where {self._ends(crossing)[1].size} were drawn")
            flight = Flight(wire, wire[:0], [], self.comm, home)
            self.under_way.append(_UnderWay(flight, crossing, each.width, dtype))

    def rehearse(self) -> None:
        """Send as much as last time, of no meaning, and wait for it."""
        if self._last is not None:
            leaving, arriving, like = self._last
            rows = like.new_zeros(leaving.size, *like.shape[1:])
            self.comm.swap(rows, leaving.counts, arriving.counts).land()

    def _ends(self, crossing: Crossing) -> tuple[Share, Share]:
        """What leaves this rank, what comes to it."""
        return (crossing.arriving, crossing.sent) if self.back else (crossing.sent, crossing.arriving)

    def _used(self, came: _UnderWay) -> Arrival:
        rows, correction = self._landed(came), None
        if self.smoothed is not None:
            rows, correction = self.smoothed.update(rows, self._ends(came.crossing)[1].positions)
            self.comm.traffic.buffer_bytes += self.smoothed.nbytes
        return Arrival(rows, came.crossing, correction)

    def _landed(self, came: _UnderWay) -> Tensor:
        with self._waiting():
            wire = came.flight.land()
        rows = self.codec.decode(wire, came.width, came.dtype)
        if rows is not wire:
            self.comm.traffic.buffer_bytes += rows.nbytes
        return rows

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        before = self.comm.traffic.seconds["halo"]
        yield
        self.passage.waited_seconds += self.comm.traffic.seconds["halo"] - before
