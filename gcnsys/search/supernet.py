"""One-shot accuracy: a network that holds all others, trained once, of which each takes its slice.

Each kind of layer has its own weights; depths, widths, bits and pruned graphs share them. A step trains the
smallest, the largest and two shapes drawn at random of a kind (the sandwich rule of Yu et al., BigNAS,
ECCV 2020). Few bits are simulated by rounding, and weights that are left out by zeros; gradients pass through
both as if they were not there (for zeros: Zhou et al., "Learning N:M Fine-grained Structured Sparse Neural
Networks From Scratch", ICLR 2021).

Letters: N nodes, F features, C classes.
"""

import random
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gcnsys.datasets import Dataset
from gcnsys.errors import InputError
from gcnsys.graph import CSR
from gcnsys.kernels import Block
from gcnsys.search.space import BITS, DEPTHS, GROUP, KEPT, KINDS, PRUNED, WIDTHS, Shape

LEARNING_RATE, WEIGHT_DECAY, DROPOUT = 0.01, 5e-4, 0.5


class SlicedLayer(nn.Module):
    """A layer of any kind; a product uses the first rows and columns of its weights.

    Args:
        kind: of layer.
        inputs: widest.
        outputs: widest.
    """

    def __init__(self, kind: str, inputs: int, outputs: int) -> None:
        super().__init__()
        self.kind = kind
        shapes = {"neighbours": (inputs, outputs)}
        if kind == "sage":
            shapes["own"] = (inputs, outputs)
        if kind == "gin":
            shapes["second"] = (outputs, outputs)
        self.weights = nn.ParameterDict({
            name: nn.Parameter(nn.init.xavier_uniform_(torch.empty(shape))) for name, shape in shapes.items()
        })  # fmt: skip
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, block: Block, x: Tensor, inputs: int, outputs: int, bits: int, kept: int) -> Tensor:
        """``[N, inputs]`` (sparse or not) to ``[N, outputs]``."""
        rows = {"neighbours": inputs, "own": inputs, "second": outputs}
        weight = {
            name: rounded(thinned(each[: rows[name], :outputs], kept), bits)
            for name, each in self.weights.items()
        }
        projected = _product(x, weight["neighbours"])
        bias = self.bias[:outputs]
        if self.kind == "gcn":
            return block.gcn(projected) + bias
        if self.kind == "sage":
            return block.mean(projected) + _product(x, weight["own"]) + bias
        summed = (projected + block.sum(projected) + bias).relu()
        out: Tensor = summed @ weight["second"]
        return out


class SuperNet(nn.Module):
    """All shapes of the space over one graph and its pruned copies.

    Args:
        dataset: with masks.
        blocks: of the graph, by the share of edges that is pruned.
        seed: of weights, dropout and drawn shapes.

    Raises:
        InputError: the dataset has several labels a node or none to validate on.
    """

    def __init__(self, dataset: Dataset, blocks: Mapping[float, Block], *, seed: int) -> None:
        super().__init__()
        if dataset.is_multilabel or dataset.is_regression:
            raise InputError(f"{dataset.name}: the search wants one class a node")
        if not bool(dataset.val_mask.any()):
            raise InputError(f"{dataset.name}: no node to validate on; give a split with some")
        torch.manual_seed(seed)
        self.random = random.Random(seed)
        self.dataset, self.blocks = dataset, dict(blocks)
        self.x = _features(dataset.x)
        widest, hidden = max(WIDTHS), max(DEPTHS) - 1
        inputs = [dataset.num_features, *[widest] * (hidden - 1)]
        self.hidden = nn.ModuleDict(
            {kind: nn.ModuleList(SlicedLayer(kind, width, widest) for width in inputs) for kind in KINDS}
        )
        self.last = nn.ModuleDict({kind: SlicedLayer(kind, widest, dataset.num_classes) for kind in KINDS})

    def forward(self, shape: Shape) -> tuple[Tensor, list[float]]:
        """Logits ``[N, C]``, and the share of each hidden layer's rows that is not zero."""
        block, h, shares = self.blocks[shape.pruned], self._dropped(), list[float]()
        width = self.dataset.num_features
        layers = self.hidden[shape.kind]
        assert isinstance(layers, nn.ModuleList)
        for layer in layers[: shape.layers - 1]:
            h = layer(block, h, width, shape.hidden, shape.bits, shape.kept).relu()
            shares.append(float(torch.count_nonzero(h)) / h.numel())
            h = rounded(F.dropout(h, DROPOUT, self.training), shape.bits)
            width = shape.hidden
        logits: Tensor = self.last[shape.kind](
            block, h, width, self.dataset.num_classes, shape.bits, shape.kept
        )
        return logits, shares

    def _dropped(self) -> Tensor:
        """Features after dropout; sparse ones stay so."""
        if not self.training:
            return self.x
        if not self.x.is_sparse:
            return F.dropout(self.x, DROPOUT)
        return _sparse(self.x.indices(), F.dropout(self.x.values(), DROPOUT), tuple(self.x.shape))

    def loss(self, shape: Shape) -> Tensor:
        """Cross-entropy over the training nodes."""
        mask = self.dataset.train_mask
        return F.cross_entropy(self(shape)[0][mask], self.dataset.y[mask])

    @torch.no_grad()
    def judged(self, shape: Shape) -> tuple[float, float, list[float]]:
        """Accuracy on validation and on test nodes, and the shares of hidden rows that are not zero."""
        was, _ = self.training, self.eval()
        logits, shares = self(shape)
        self.train(was)
        right = logits.argmax(1) == self.dataset.y
        val, test = (
            float(right[mask].double().mean()) for mask in (self.dataset.val_mask, self.dataset.test_mask)
        )
        return val, test, shares

    def fit(self, steps: int) -> None:
        """Train all shapes together."""
        optimizer = self._optimizer()
        for _ in range(steps):
            self._step(optimizer, self._sandwich())

    def fit_alone(self, shape: Shape, steps: int) -> tuple[float, float]:
        """Train one shape; accuracy on validation and on test nodes when validation was best."""
        optimizer, best = self._optimizer(), (-1.0, 0.0)
        for number in range(1, steps + 1):
            self._step(optimizer, [shape])
            if number % 5 == 0 or number == steps:
                val, test, _ = self.judged(shape)
                best = max(best, (val, test), key=lambda pair: pair[0])
        return best

    def _optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def _step(self, optimizer: torch.optim.Optimizer, shapes: Sequence[Shape]) -> None:
        self.train()
        optimizer.zero_grad()
        for shape in shapes:
            self.loss(shape).backward()
        optimizer.step()

    def _sandwich(self) -> list[Shape]:
        draw = self.random
        kind = draw.choice(KINDS)
        ends = [(min(DEPTHS), min(WIDTHS), min(KEPT)), (max(DEPTHS), max(WIDTHS), max(KEPT))]
        ends += [(draw.choice(DEPTHS), draw.choice(WIDTHS), draw.choice(KEPT)) for _ in range(2)]
        return [
            Shape(kind, layers, hidden, draw.choice(BITS), draw.choice(PRUNED), kept)
            for layers, hidden, kept in ends
        ]


def rounded(x: Tensor, bits: int) -> Tensor:
    """Values on a grid of so many bits, symmetric around zero; gradients pass as if they were not rounded."""
    if bits >= 32:
        return x
    step = x.detach().abs().amax().clamp(min=1e-12) / (2 ** (bits - 1) - 1)
    difference: Tensor = ((x / step).round() * step - x).detach()
    return x + difference


def thinned(weight: Tensor, kept: int) -> Tensor:
    """``[R, C]``: of each :data:`GROUP` columns of a row the largest, others zero; gradients pass to all."""
    if kept >= GROUP:
        return weight
    sizes = F.pad(weight.detach().abs(), (0, -weight.shape[1] % GROUP), value=-1.0)
    groups = sizes.reshape(weight.shape[0], -1, GROUP)
    mask = torch.zeros_like(groups).scatter_(2, groups.topk(kept, dim=2).indices, 1.0)
    mask = mask.reshape(sizes.shape)[:, : weight.shape[1]]
    difference: Tensor = (weight * mask - weight).detach()
    return weight + difference


def _features(x: Tensor | CSR) -> Tensor:
    if isinstance(x, Tensor):
        return x
    values = torch.ones(x.num_edges) if x.weight is None else x.weight
    indices = torch.stack([x.rows().long(), x.indices.long()])
    return _sparse(indices, values, (x.num_rows, x.num_cols))


def _sparse(indices: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A sparse tensor of entries that are known to be in order."""
    return torch.sparse_coo_tensor(indices, values, shape, is_coalesced=True, check_invariants=False)


def _product(x: Tensor, weight: Tensor) -> Tensor:
    return torch.sparse.mm(x, weight) if x.is_sparse else x @ weight
