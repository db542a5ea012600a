"""One process that replays what ranks send each other, epoch by epoch, with dense matrices.

All parts live in one ``[N, F]`` matrix. What a layer aggregates is a product with the edges inside parts,
and for every ordered pair of parts with the edges between them, of rows that crossed as the design says:
drawn, encoded, some epochs old, averaged. What attention sees is a matrix ``[N, F]`` for each part. Draws and
codecs are the package's (they have tests of their own); what is done with them is written down here a second
time.
"""

from collections import deque
from dataclasses import dataclass, field

import torch
from oracle import DenseNetwork, Outcome, Recipe, aggregation, fitted
from torch import Tensor

from gcnsys.kernels.dropout import DropoutKey
from gcnsys.runtime.choices import Choices
from gcnsys.runtime.codec import codec
from gcnsys.runtime.rows import Boundary, Occasion

Pair = tuple[int, int]


@dataclass
class Averages:
    """The published recurrence, a row of a pair at a time."""

    gamma: float
    corrected: bool
    mean: dict[tuple[Pair, int], Tensor] = field(default_factory=dict)
    count: dict[tuple[Pair, int], int] = field(default_factory=dict)

    def take(self, pair: Pair, nodes: Tensor, rows: Tensor) -> Tensor:
        found = []
        for node, row in zip(nodes.tolist(), rows, strict=True):
            key = pair, node
            self.mean[key] = self.gamma * self.mean.get(key, torch.zeros_like(row)) + (1 - self.gamma) * row
            self.count[key] = self.count.get(key, 0) + 1
            found.append(self.mean[key] / (1 - self.gamma ** self.count[key] if self.corrected else 1))
        return torch.stack(found) if found else rows


@dataclass
class Crossed:
    """What left in one epoch, by pair of (sender, receiver) parts: nodes, their scale, their rows."""

    nodes: dict[Pair, Tensor]
    scale: dict[Pair, Tensor]
    rows: dict[Pair, Tensor]


class Layer:
    """The exchanges of one layer.

    Args:
        mixing: ``[N, N]`` what the layer multiplies by.
        edges: ``[N, N]`` bool, which edges it aggregates over (fewer where rows are pruned).
        part_of: ``[N]``.
        ids: ``[N]`` in the whole graph.
        choices: how rows cross.
        number: of the layer.
    """

    def __init__(
        self, mixing: Tensor, edges: Tensor, part_of: Tensor, ids: Tensor, choices: Choices, number: int
    ) -> None:
        self.mixing, self.edges, self.part_of, self.ids = mixing, edges, part_of, ids
        self.choices, self.number = choices, number
        self.inside = part_of[:, None] == part_of
        self.boundaries: dict[Pair, tuple[Tensor, Tensor]] = {}
        parts = int(part_of.max()) + 1
        for sender in range(parts):
            for receiver in range(parts):
                crossing = edges[part_of == receiver].T[part_of == sender]
                fed = crossing.sum(1)
                mine = torch.nonzero(part_of == sender).flatten()
                if sender != receiver:
                    self.boundaries[sender, receiver] = mine[fed > 0], fed[fed > 0]
        self.forth: deque[Crossed] = deque()
        self.back: deque[Crossed] = deque()
        self.features = self._averages(choices.smooths_features)
        self.gradients = self._averages(choices.smooths_gradients)

    def _averages(self, on: bool) -> Averages | None:
        return Averages(self.choices.gamma, self.choices.smoothing_start == "corrected") if on else None

    def mixed(self, x: Tensor, epoch: int) -> Tensor:
        """``mixing @ x`` as the ranks find it."""
        return _Mixed.apply(x, self, epoch)

    def gathered(self, x: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """What each part has of all rows, ``[P, N, F]``, and which of them, ``[P, N]`` bool."""
        return _Gathered.apply(x, self, epoch)

    def crossed(self, x: Tensor, epoch: int) -> Crossed:
        """What is used of the rows that parts send each other."""
        left = Crossed({}, {}, {})
        sampler = self.choices.sampler()
        for pair, (nodes, fed) in self.boundaries.items():
            chosen, scale = nodes, torch.ones(nodes.numel(), dtype=x.dtype)
            if sampler is not None:
                layer = self.number if self.choices.draws_per == "layer" else 0
                draw = sampler.draw(Boundary(*pair, fed), Occasion(self.choices.seed, epoch, layer))
                chosen, scale = nodes[draw.positions], draw.scale
            left.nodes[pair], left.scale[pair] = chosen, scale
            left.rows[pair] = self.coded(x[chosen], chosen, epoch, 0)
        return self.due(self.forth, left, self.features)

    def forward(self, x: Tensor, epoch: int) -> tuple[Tensor, Crossed]:
        used = self.crossed(x, epoch)
        y = (self.mixing * self.inside) @ x
        for pair, nodes in used.nodes.items():
            receivers = torch.nonzero(self.part_of == pair[1]).flatten()
            between = self.mixing[receivers][:, nodes]
            y[receivers] += between @ (used.rows[pair] * used.scale[pair][:, None])
        return y, used

    def backward(self, grad: Tensor, used: Crossed, epoch: int) -> Tensor:
        left = Crossed(used.nodes, used.scale, {})
        for pair, nodes in used.nodes.items():
            receivers = torch.nonzero(self.part_of == pair[1]).flatten()
            rows = self.mixing[receivers][:, nodes].T @ grad[receivers]
            left.rows[pair] = self.coded(rows, nodes, epoch, pair[1] + 1)
        returned = self.due(self.back, left, self.gradients)
        out = (self.mixing * self.inside).T @ grad
        for pair, nodes in returned.nodes.items():
            out.index_add_(0, nodes, returned.rows[pair] * returned.scale[pair][:, None])
        return out

    def coded(self, rows: Tensor, nodes: Tensor, epoch: int, sender: int) -> Tensor:
        """What is left of rows after the wire."""
        made = codec(self.choices.codec)
        key = DropoutKey(self.choices.seed, epoch, -(1 << 60) - (self.number << 40) - sender)
        return made.decode(made.encode(rows, key, self.ids[nodes]), rows.shape[1], rows.dtype).clone()

    def due(self, queue: deque[Crossed], left: Crossed, averages: Averages | None) -> Crossed:
        """What is used in the epoch in which ``left`` leaves."""
        queue.append(left)
        lag = self.choices.staleness if self.choices.pipelined else 0
        if len(queue) > lag:
            due = queue.popleft()
            if averages is None:
                return due
            rows = {pair: averages.take(pair, due.nodes[pair], rows) for pair, rows in due.rows.items()}
            return Crossed(due.nodes, due.scale, rows)
        if self.choices.first_epoch == "exact":
            return left
        return Crossed(left.nodes, left.scale, {pair: torch.zeros_like(r) for pair, r in left.rows.items()})


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, layer, epoch):
        used = layer.crossed(x, epoch)
        own = torch.nn.functional.one_hot(layer.part_of.long()).T.bool()
        rows, there = x * own[:, :, None], own.clone()
        for (_, receiver), nodes in used.nodes.items():
            rows[receiver, nodes], there[receiver, nodes] = used.rows[_, receiver], True
        ctx.layer, ctx.used, ctx.epoch, ctx.own = layer, used, epoch, own
        ctx.mark_non_differentiable(there)
        return rows, there

    @staticmethod
    def backward(ctx, grad, _):
        layer, left = ctx.layer, Crossed(ctx.used.nodes, ctx.used.scale, {})
        for pair, nodes in left.nodes.items():
            left.rows[pair] = layer.coded(grad[pair[1]][nodes], nodes, ctx.epoch, pair[1] + 1)
        returned = layer.due(layer.back, left, layer.gradients)
        out = (grad * ctx.own[:, :, None]).sum(0)
        for pair, nodes in returned.nodes.items():
            out.index_add_(0, nodes, returned.rows[pair])
        return out, None, None


class _Mixed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, layer, epoch):
        y, used = layer.forward(x, epoch)
        ctx.layer, ctx.used, ctx.epoch = layer, used, epoch
        return y

    @staticmethod
    def backward(ctx, grad):
        return ctx.layer.backward(grad, ctx.used, ctx.epoch), None, None


class ReplayedNetwork(DenseNetwork):
    """A network whose training passes aggregate through :class:`Layer`; narrower sides cross.

    Args:
        layers: one a convolution; those of precomputed first hops are not used.
        side: what crosses.
    """

    def __init__(self, recipe: Recipe, weights, dtype, layers: list[Layer], side: str) -> None:
        super().__init__(recipe, weights, dtype)
        self.layers, self.side = layers, side

    def __call__(self, adjacency: Tensor, x: Tensor, nodes: Tensor, epoch: int | None) -> Tensor:
        recipe = self.recipe
        if epoch is None:
            return super().__call__(adjacency, x, nodes, epoch)
        h, attends = x, recipe.model in ("gat", "gatv2")
        for number in range(recipe.layers):
            own = self.dropped(h, number + attends * recipe.layers, nodes, epoch)
            if attends:
                h = self.attended_by_parts(adjacency, number, own, nodes, epoch)
                if number < recipe.layers - 1:
                    h = torch.nn.functional.elu(self.normalized(h, number, training=True))
                continue
            if number == 0 and recipe.first_hop:
                found = self.layers[0].mixing @ x
                neighbours = self.dropped(found, 0, nodes, epoch, first=x.shape[1])
                h = self.convolved(number, own, neighbours)
            else:
                h = self.exchanged(number, own, epoch)
            if number < recipe.layers - 1:
                h = self.normalized(h, number, training=True).relu()
        return h

    def attended_by_parts(
        self, adjacency: Tensor, number: int, x: Tensor, nodes: Tensor, epoch: int
    ) -> Tensor:
        """Each part attends to the rows that it has: those that crossed, and its own as they are now."""
        layer, name = self.layers[number], f"convs.{number}"
        linear = f"{name}.{'linear' if self.recipe.model == 'gat' else 'neighbours'}"
        weight = self.values[f"{linear}.weight"]
        if self.side == "narrower" and weight.shape[0] < weight.shape[1]:
            rows, there = layer.gathered(self.linear(x, linear), epoch)
        else:
            rows, there = layer.gathered(x, epoch)
            rows = self.linear(rows, linear)
        found = torch.empty(0)
        for part, (seen, present) in enumerate(zip(rows, there, strict=True)):
            edges = adjacency * (present & (layer.edges | (layer.part_of[:, None] == layer.part_of)))
            out = self.attended(edges, number, x, nodes, epoch, projected=seen)
            found = out if part == 0 else torch.where((layer.part_of == part)[:, None], out, found)
        return found

    def exchanged(self, number: int, own: Tensor, epoch: int) -> Tensor:
        layer, name = self.layers[number], f"convs.{number}"
        first = {"gcn": "linear", "sage": "neighbours", "gin": "hidden"}[self.recipe.model]
        weight = self.values[f"{name}.{first}.weight"]
        last = "output" if first == "hidden" else first
        if self.side == "input" or self.values[f"{name}.{last}.weight"].shape[0] >= weight.shape[1]:
            return self.convolved(number, own, layer.mixed(own, epoch))
        bias, h = self.values[f"{name}.{first}.bias"], own @ weight.T
        if self.recipe.model == "gcn":
            return layer.mixed(h, epoch) + bias
        if self.recipe.model == "sage":
            return self.linear(own, f"{name}.own") + layer.mixed(h, epoch) + bias
        h = (1 + self.values[f"{name}.eps"]) * h + layer.mixed(h, epoch) + bias
        return self.linear(h.relu(), f"{name}.output")


def replayed(
    recipe: Recipe, adjacency: Tensor, x: Tensor, y: Tensor, train_mask: Tensor, weights, part_of: Tensor,
    choices: Choices, *, side: str = "narrower", edges: list[Tensor] | None = None,
) -> Outcome:  # fmt: skip
    """Train as the ranks do, in float64.

    Args:
        edges: ``[N, N]`` bool for each convolution: the edges it needs; None: all.
    """
    dtype = torch.float64
    adjacency, x = adjacency.to(dtype), x.to(dtype)
    seen = torch.nonzero(train_mask).flatten() if recipe.inductive else torch.arange(x.shape[0])
    inside = adjacency[seen][:, seen]
    mixing = aggregation(recipe, inside)
    needed = edges or [inside != 0] * recipe.layers
    layers = [
        Layer(mixing, there, part_of[seen], seen, choices, number) for number, there in enumerate(needed)
    ]
    network = ReplayedNetwork(recipe, weights, dtype, layers, side)
    return fitted(network, adjacency, x, y, train_mask)
