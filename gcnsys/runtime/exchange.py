"""One layer's halo exchange, epoch after epoch.

A layer that aggregates more than once in an epoch has a pair of lanes for each time, told apart by their
order; computed again in backward (:mod:`gcnsys.nn.recompute`), it finds the same ones.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gcnsys.kernels.dropout import DropoutKey
from gcnsys.nn.recompute import recomputing
from gcnsys.partition import PartGraph
from gcnsys.runtime.choices import Choices
from gcnsys.runtime.codec import codec
from gcnsys.runtime.comm import Comm
from gcnsys.runtime.crossing import Crossing, Drawer
from gcnsys.runtime.lane import Lane, Passage
from gcnsys.runtime.rows import Occasion
from gcnsys.runtime.smoothing import Running

_ROUNDING = -(1 << 60)
"""Sites of random rounding lie below this; those of dropout and of draws do not."""


@dataclass(frozen=True, eq=False, slots=True)
class Lanes:
    """Both directions of one aggregation.

    Attributes:
        features, gradients: the lanes.
        repeated: a layer is computed again: what arrived before is used once more.
        number: of the aggregation in its layer.
    """

    features: Lane
    gradients: Lane
    repeated: bool
    number: int


class Exchange:
    """What a layer's boundary rows go through.

    Args:
        graph: this rank's share, or one layer of it.
        comm: the ranks.
        choices: how rows cross; by default exactly.
        drawer: of the rows; None: one of its own.
        layer: its number, which draws and rounding may depend on.
        device: of the rows.
        keep: layers are computed again in backward.
    """

    def __init__(
        self, graph: PartGraph, comm: Comm, choices: Choices | None = None, *, drawer: Drawer | None = None,
        layer: int = 0, device: torch.device | None = None, keep: bool = False,
    ) -> None:  # fmt: skip
        self.graph, self.comm, self.choices = graph, comm, choices or Choices()
        self.drawer = drawer or Drawer(graph, self.choices.rows, self.choices.sampler(), device)
        self.layer, self.keep, self.epoch = layer, keep, 0
        self._boundary_ids = graph.inner_ids[graph.plan.send_rows].to(device)
        self._halo_ids = graph.halo_ids.to(device)
        self._lanes: list[tuple[Lane, Lane]] = []
        self._uses = [0, 0]

    def begin(self, epoch: int) -> None:
        """What follows belongs to this epoch."""
        self.epoch, self._uses = epoch, [0, 0]

    @property
    def occasion(self) -> Occasion:
        """When rows are drawn now."""
        layer = self.layer if self.choices.draws_per == "layer" else 0
        return Occasion(self.choices.seed, self.epoch, layer)

    def lanes(self) -> Lanes:
        """The lanes of the next aggregation of this layer."""
        again, pipelined = recomputing(), self.choices.pipelined
        number = self._uses[again]
        self._uses[again] += 1
        pair = self.pair(number if pipelined else 0)
        return Lanes(*pair, again and pipelined, number)

    def send(self, lanes: Lanes, rows: Tensor) -> None:
        """Boundary rows, ``[b, F]`` in the order of :meth:`positions`, leave for the halos they lie in."""
        crossing = self.drawer.at(self.occasion)
        ids = crossing.sent.of(self._boundary_ids)
        lanes.features.depart(rows, crossing, self._key(lanes), ids)

    def positions(self) -> Tensor | None:
        """Which boundary rows leave now, ``[b]``; None: all."""
        return self.drawer.at(self.occasion).sent.positions

    def send_back(self, lanes: Lanes, crossing: Crossing, rows: Tensor) -> None:
        """Gradients of the halo rows of a draw, ``[a, F]``, leave for the owners."""
        ids = crossing.arriving.of(self._halo_ids)
        lanes.gradients.depart(rows, crossing, self._key(lanes, back=True), ids)

    def pair(self, place: int) -> tuple[Lane, Lane]:
        """The lanes of features and of gradients of an aggregation, made when they are first needed."""
        while place >= len(self._lanes):
            self._lanes.append((self._lane(back=False), self._lane(back=True)))
        return self._lanes[place]

    @property
    def num_pairs(self) -> int:
        """How many aggregations have had lanes so far."""
        return len(self._lanes)

    @property
    def passages(self) -> list[Passage]:
        """What the last departures cost, features before gradients."""
        return [lane.passage for pair in self._lanes for lane in pair]

    def settle(self) -> None:
        """Wait for all that is under way."""
        for pair in self._lanes:
            for lane in pair:
                lane.settle()

    def rehearse(self) -> None:
        """Send as much as last time, one lane after the other, each waited for."""
        for pair in self._lanes:
            for lane in pair:
                lane.rehearse()

    def _key(self, lanes: Lanes, *, back: bool = False) -> DropoutKey:
        # Copies of a row on several ranks have gradients of their own: they are rounded apart.
        sender = self.comm.rank + 1 if back else 0
        place = (self.layer << 16 | lanes.number) << 24 | sender
        return DropoutKey(self.choices.seed, self.epoch, _ROUNDING - place)

    def _lane(self, *, back: bool) -> Lane:
        choices = self.choices
        smooths = choices.smooths_gradients if back else choices.smooths_features
        rows = (self._boundary_ids if back else self._halo_ids).numel()
        return Lane(
            self.comm, codec(choices.codec), back=back, at_once=choices.schedule == "sync",
            lag=choices.staleness if choices.pipelined else 0, start=choices.first_epoch,
            smoothed=Running(rows, choices.gamma, corrected=choices.smoothing_start == "corrected")
            if smooths else None,
            keep=self.keep,
        )  # fmt: skip
