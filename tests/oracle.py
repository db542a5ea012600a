"""Training on one device with dense matrices: what every partitioned run is compared with.

Shares no code with gcnsys. The layers are those of Kipf & Welling 2017 (GCN), Hamilton et al. 2017
(GraphSAGE, mean), Xu et al. 2019 (GIN) and Veličković et al. 2018 (GAT), as products with a dense
``[N, N]`` matrix whose row receives; always aggregated first, whatever gcnsys does. Weights go by the
names of a state dict.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Recipe:
    """What is trained, and how."""

    model: str = "gcn"
    layers: int = 2
    linear_layers: int = 0
    dropout: float = 0.0
    norm: str = "none"
    residual: bool = False
    gcn_norm: str = "symmetric"
    train_eps: bool = False
    first_hop: bool = True
    inductive: bool = False
    multilabel: bool = False
    epochs: int = 20
    optimizer: str = "adam"
    seed: int = 0


OPTIMIZERS = {
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    "still": lambda parameters: torch.optim.SGD(parameters, lr=0.0),
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
}


@dataclass(frozen=True)
class Outcome:
    """``losses [epochs]``, each epoch's flat gradient, ``logits [N, C]`` after the last step."""

    losses: Tensor
    gradients: list[Tensor]
    logits: Tensor


def scrambled(words: np.ndarray) -> np.ndarray:
    """SplitMix64's finalizer."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def keep_mask(
    rate: float, seed: int, epoch: int, site: int, nodes: np.ndarray, features: np.ndarray
) -> np.ndarray:
    """Which elements ``[nodes, features]`` survive dropout."""
    a, b = node_words(seed, epoch, site, nodes)
    return survives(rate, a[:, None], b[:, None], features.astype(np.uint32)[None, :])


def keep_edges(rate: float, seed: int, epoch: int, site: int, nodes: np.ndarray, heads: int) -> np.ndarray:
    """Which attention weights ``[receivers, senders, heads]`` survive dropout."""
    a, b = node_words(seed, epoch, site, nodes)
    with np.errstate(over="ignore"):
        features = a[None, :, None] + np.arange(heads, dtype=np.uint32)
    return survives(rate, a[:, None, None], b[:, None, None], features)


def node_words(seed: int, epoch: int, site: int, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two 32-bit words a node."""
    with np.errstate(over="ignore"):
        words = nodes.astype(np.uint64)
        for part in (site, epoch, seed):
            words = scrambled(words + np.uint64((part + 1) * 0x9E3779B97F4A7C15 % 2**64))
    return (words & np.uint64(0xFFFFFFFF)).astype(np.uint32), (words >> np.uint64(32)).astype(np.uint32)


def survives(rate: float, a: np.ndarray, b: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Whether numbers are kept, by the words of their nodes."""
    with np.errstate(over="ignore"):
        # MurmurHash3's 32-bit finalizer, with b mixed in halfway.
        h = features * np.uint32(0x9E3779B1) ^ a
        h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
        h = ((h ^ (h >> np.uint32(13))) ^ b) * np.uint32(0xC2B2AE35)
        h ^= h >> np.uint32(16)
    # The words are compared as signed numbers.
    return h.view(np.int32).astype(np.int64) >= min(int(rate * 2**32), 2**32 - 1) - 2**31


def aggregation(recipe: Recipe, adjacency: Tensor) -> Tensor:
    """The matrix that a layer multiplies by."""
    if recipe.model == "gin":
        return adjacency
    if recipe.model == "sage":
        total = adjacency.sum(1, keepdim=True)
        return torch.where(total > 0, adjacency / total, 0.0)
    looped = adjacency + torch.diag((adjacency.diag() == 0).to(adjacency))
    receiver = looped.sum(1)
    sender = receiver if recipe.gcn_norm == "symmetric" else looped.sum(0)
    return looped / receiver.sqrt()[:, None] / sender.sqrt()[None, :]


class DenseNetwork:
    """Dropout, convolution, norm, ReLU, residual, layer after layer."""

    def __init__(self, recipe: Recipe, weights: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        self.recipe = recipe
        self.values = {name: value.detach().to(dtype).clone() for name, value in weights.items()}
        for name, value in self.values.items():
            frozen = ".running_" in name or (name.endswith(".eps") and not recipe.train_eps)
            value.requires_grad_(not frozen)
        self.learnt = [value for value in self.values.values() if value.requires_grad]

    def linear(self, x: Tensor, name: str) -> Tensor:
        y = x @ self.values[f"{name}.weight"].T
        return y + self.values[f"{name}.bias"] if f"{name}.bias" in self.values else y

    def dropped(self, x: Tensor, site: int, nodes: Tensor, epoch: int | None, first: int = 0) -> Tensor:
        rate = self.recipe.dropout
        if epoch is None or rate == 0:
            return x
        features = np.arange(first, first + x.shape[1])
        mask = keep_mask(rate, self.recipe.seed, epoch, site, nodes.numpy(), features)
        return x * torch.from_numpy(mask).to(x) / (1 - rate)

    def convolved(self, number: int, own: Tensor, neighbours: Tensor) -> Tensor:
        name = f"convs.{number}"
        if self.recipe.model == "gcn":
            return self.linear(neighbours, f"{name}.linear")
        if self.recipe.model == "sage":
            return self.linear(own, f"{name}.own") + self.linear(neighbours, f"{name}.neighbours")
        mixed = (1 + self.values[f"{name}.eps"]) * own + neighbours
        return self.linear(self.linear(mixed, f"{name}.hidden").relu(), f"{name}.output")

    def attended(
        self, adjacency: Tensor, number: int, x: Tensor, nodes: Tensor, epoch: int | None,
        projected: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Attention to rows ``x``, or to others that are projected already."""
        name, rate = f"convs.{number}", self.recipe.dropout
        if self.recipe.model == "gat":
            own, neighbours = self.values[f"{name}.own"], self.values[f"{name}.neighbours"]
            heads, features = own.shape
            h = self.linear(x, f"{name}.linear") if projected is None else projected
            h = h.view(-1, heads, features)
            logits = F.leaky_relu((h * own).sum(2)[:, None] + (h * neighbours).sum(2)[None], 0.2)
        else:
            vector = self.values[f"{name}.vector"]
            heads, features = vector.shape
            h = self.linear(x, f"{name}.neighbours") if projected is None else projected
            h = h.view(-1, heads, features)
            own = self.linear(x, f"{name}.own").view(-1, heads, features)
            logits = (F.leaky_relu(own[:, None] + h[None], 0.2) * vector).sum(3)
        edge = (adjacency != 0) | torch.eye(x.shape[0], dtype=torch.bool)
        weight = logits.masked_fill(~edge[:, :, None], -torch.inf).softmax(1)
        if epoch is not None and rate:
            mask = keep_edges(rate, self.recipe.seed, epoch, number, nodes.numpy(), heads)
            weight = weight * torch.from_numpy(mask).to(x) / (1 - rate)
        out = torch.einsum("vuh,uhf->vhf", weight, h)
        last = number == self.recipe.layers - 1
        out = out.mean(1) if last else out.flatten(1)
        return out + self.values[f"{name}.bias"] if f"{name}.bias" in self.values else out

    def normalized(self, x: Tensor, number: int, *, training: bool) -> Tensor:
        if self.recipe.norm == "none":
            return x
        weight, bias = (self.values[f"norms.{number}.{end}"] for end in ("weight", "bias"))
        if self.recipe.norm == "layer":
            return F.layer_norm(x, x.shape[1:], weight, bias)
        mean, variance = (self.values[f"norms.{number}.running_{end}"] for end in ("mean", "var"))
        return F.batch_norm(x, mean, variance, weight, bias, training=training)  # as BatchNorm1d calls it

    def __call__(self, adjacency: Tensor, x: Tensor, nodes: Tensor, epoch: int | None) -> Tensor:
        """Logits of all rows; ``epoch`` None means evaluation."""
        recipe, mixing = self.recipe, aggregation(self.recipe, adjacency)
        num_convs, h = recipe.layers - recipe.linear_layers, x
        attends = recipe.model in ("gat", "gatv2")
        for number in range(recipe.layers):
            came = h
            if number == 0 and recipe.first_hop and not attends:
                own = self.dropped(x, 0, nodes, epoch)
                neighbours = self.dropped(mixing @ x, 0, nodes, epoch, first=x.shape[1])
            else:
                # Attention has a site of its own in every layer; they come first.
                own = self.dropped(h, number + attends * num_convs, nodes, epoch)
                neighbours = mixing @ own
            if number < num_convs and attends:
                h = self.attended(adjacency, number, own, nodes, epoch)
            elif number < num_convs:
                h = self.convolved(number, own, neighbours)
            else:
                h = self.linear(own, f"linears.{number - num_convs}")
            if number < recipe.layers - 1:
                h = self.normalized(h, number, training=epoch is not None)
                h = F.elu(h) if attends else h.relu()
                if recipe.residual and number > 0 and came.shape == h.shape:
                    h = h + came
        return h


def summed_loss(recipe: Recipe, logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy over nodes, or binary cross-entropy over nodes and labels."""
    if recipe.multilabel:
        return -(F.logsigmoid(logits) * y + F.logsigmoid(-logits) * ~y).sum()
    return -logits.log_softmax(1)[torch.arange(y.numel()), y].sum()


def train(
    recipe: Recipe, adjacency: Tensor, x: Tensor, y: Tensor, train_mask: Tensor,
    weights: Mapping[str, Tensor], dtype: torch.dtype = torch.float64,
) -> Outcome:  # fmt: skip
    """Train from the given weights; every step sees the whole training graph."""
    network = DenseNetwork(recipe, weights, dtype)
    return fitted(network, adjacency.to(dtype), x.to(dtype), y, train_mask)


def fitted(network: DenseNetwork, adjacency: Tensor, x: Tensor, y: Tensor, train_mask: Tensor) -> Outcome:
    """Train a network by its recipe."""
    recipe = network.recipe
    optimizer = OPTIMIZERS[recipe.optimizer](network.learnt)
    everyone, trained = torch.arange(x.shape[0]), torch.nonzero(train_mask).flatten()
    seen = trained if recipe.inductive else everyone
    rows = torch.nonzero(train_mask[seen]).flatten()
    losses, gradients = [], []
    for epoch in range(recipe.epochs):
        logits = network(adjacency[seen][:, seen], x[seen], seen, epoch)
        loss = summed_loss(recipe, logits[rows], y[seen][rows]) / trained.numel()
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.detach())
        gradients.append(torch.cat([value.grad.flatten() for value in network.learnt]))
        optimizer.step()
    with torch.no_grad():
        return Outcome(torch.stack(losses), gradients, network(adjacency, x, everyone, None))
