"""Small graphs with awkward corners, ways to cut them, and training them over thread ranks."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from oracle import OPTIMIZERS, Outcome, Recipe
from torch import Tensor

from gcnsys.datasets.dataset import Dataset
from gcnsys.nn import Model, ModelSettings, build_model
from gcnsys.partition import assign, cut_dataset
from gcnsys.partition.assign import Request
from gcnsys.partition.order import Ordered
from gcnsys.runtime.choices import Choices
from gcnsys.testing.ranks import run_ranks
from gcnsys.train import Task, Trainer, views
from gcnsys.train.view import View

MAIN, UNTRAINED, ISLET, LONERS = 26, 8, 6, 2
NUM_NODES, NUM_FEATURES, NUM_CLASSES = MAIN + UNTRAINED + ISLET + LONERS, 10, 4

GRAPHS = ("undirected", "directed", "weighted", "weighted-undirected")
ASSIGNMENTS = ("metis", "random", "corners", "empty-rank")


@dataclass(frozen=True)
class Small:
    """A dataset, the same as dense arrays, and what each node is there for.

    ``groups``: 0 main, 1 connected to them but never trained, 2 an islet that hears nobody else
    (in a directed graph it is heard), 3 a node without edges and one with a self-loop only.
    """

    dataset: Dataset
    adjacency: Tensor
    x: Tensor
    groups: Tensor


@cache
def small(kind: str, *, multilabel: bool = False, sparse: bool = False) -> Small:
    """One graph of each kind; values are Gaussian, so that nothing sits on the edge of a ReLU."""
    draw = np.random.default_rng(7)
    groups = draw.permutation(np.repeat([0, 1, 2, 3], [MAIN, UNTRAINED, ISLET, LONERS]))
    at_home = (groups[:, None] == groups) | (groups[:, None] + groups == 1)
    edge = (draw.random((NUM_NODES, NUM_NODES)) < np.where(groups == 2, 0.5, 0.12)[:, None]) & at_home
    if "undirected" not in kind:
        edge |= (draw.random(edge.shape) < 0.1) & (groups[:, None] < 2) & (groups == 2)
    np.fill_diagonal(edge, draw.random(NUM_NODES) < 0.15)
    alone = np.flatnonzero(groups == 3)
    edge[alone], edge[:, alone], edge[alone[1], alone[1]] = False, False, True
    weight = draw.uniform(0.3, 2.0, edge.shape).astype(np.float32)
    if "undirected" in kind:
        edge, weight = edge | edge.T, np.triu(weight) + np.triu(weight, 1).T
    receiver, sender = np.nonzero(edge)
    order = draw.permutation(receiver.size)
    arrays: dict[str, np.ndarray] = {"edge_index": np.stack([sender, receiver])[:, order]}
    if "weighted" in kind:
        arrays["edge_weight"] = weight[receiver, sender][order]

    x = draw.normal(size=(NUM_NODES, NUM_FEATURES)).astype(np.float32)
    if sparse:
        x *= draw.random(x.shape) < 0.3
        x[3] = 0
        rows, columns = np.nonzero(x)
        counts = np.bincount(rows, minlength=NUM_NODES)
        arrays |= {"x_indptr": np.concatenate([[0], counts.cumsum()]), "x_indices": columns}
        arrays |= {"x_data": x[rows, columns], "x_shape": np.array(x.shape)}
    else:
        arrays["x"] = x
    y = draw.integers(0, NUM_CLASSES, NUM_NODES)
    trained = (groups != 1) & (draw.random(NUM_NODES) < 0.7)
    trained[alone] = True
    y[np.flatnonzero(~trained)[:3]] = -1
    other = draw.random(NUM_NODES) < 0.5
    arrays["y"] = draw.random((NUM_NODES, NUM_CLASSES)) < 0.4 if multilabel else y
    arrays |= {"train_mask": trained, "val_mask": ~trained & other, "test_mask": ~trained & ~other}
    dense = np.where(edge, weight if "weighted" in kind else 1.0, 0.0)
    dataset = Dataset.from_arrays(kind, arrays)
    return Small(dataset, torch.from_numpy(dense), torch.from_numpy(x), torch.from_numpy(groups))


def assigned(made: Small, name: str, num_parts: int) -> Tensor:
    """An assignment ``[N]``; on one part they are all the same."""
    if name in ("metis", "random") or num_parts == 1:
        method = "random" if name == "random" else "metis"
        return assign(made.dataset.graph, method, Request(num_parts, seed=3))
    dealt = torch.from_numpy(np.random.default_rng(11).permutation(NUM_NODES))
    if name == "empty-rank":
        nodes_of = torch.tensor([rank for rank in range(num_parts) if rank != 1])
        return nodes_of[dealt % (num_parts - 1)]
    # corners: the islet and the loners hear no other rank; one rank has nothing to train on.
    mains = max(1, num_parts - 2)
    part = dealt % mains
    part[made.groups == 1] = num_parts - 2
    part[made.groups >= 2] = num_parts - 1
    return part


def model_for(recipe: Recipe, *, hidden: int, side: str = "narrower", recompute: bool = False) -> Model:
    """A float32 model of the recipe's shape; no weight is zero, biases and norms included."""
    settings = ModelSettings(
        recipe.model, recipe.layers, hidden, recipe.linear_layers, recipe.dropout, recipe.norm,
        recipe.residual, recipe.gcn_norm, recipe.train_eps, side, recompute, heads=2, out_heads=3,
    )  # fmt: skip
    return perturbed(settings)


def perturbed(settings: ModelSettings) -> Model:
    """A float32 model no weight of which is 0."""
    model = build_model(settings, NUM_FEATURES, NUM_CLASSES, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for value in model.parameters():
            value += 0.1 * torch.randn(value.shape, generator=generator)
    return model


def both_views(
    part, model, comm, *, first_hop="on", prune=True, dtype=torch.float64, choices=None
) -> tuple[View, View]:
    """What is trained on and what is evaluated on, on the CPU; pruned, unless batch norm forbids it."""
    pruned = "on" if prune and model.row_wise else "off"
    device = torch.device("cpu")
    return views(
        part, model, comm, choice=first_hop, prune=pruned, choices=choices, device=device, dtype=dtype
    )


def trained(
    recipe: Recipe, made: Small, assignment: Tensor, num_parts: int, *, hidden: int,
    side: str = "narrower", prune: bool = True, dtype: torch.dtype = torch.float64,
    recompute: bool = False, order: Ordered = "natural", choices: Choices | None = None,
) -> Outcome:  # fmt: skip
    """What gcnsys makes of a recipe; see :func:`trained_model`."""
    return trained_model(
        lambda: model_for(recipe, hidden=hidden, side=side, recompute=recompute), made, assignment, num_parts,
        first_hop="on" if recipe.first_hop and recipe.model not in ("gat", "gatv2") else "off",
        prune=prune, dtype=dtype, order=order, choices=choices, inductive=recipe.inductive,
        optimizer=recipe.optimizer, seed=recipe.seed, epochs=recipe.epochs,
    )  # fmt: skip


def trained_model(
    make, made: Small, assignment: Tensor, num_parts: int, *, first_hop: str = "off", prune: bool = True,
    dtype: torch.dtype = torch.float64, order: Ordered = "natural", choices: Choices | None = None,
    inductive: bool = False, optimizer: str = "adam", seed: int = 0, epochs: int = 20,
    weights: torch.dtype | None = None,
) -> Outcome:  # fmt: skip
    """What training a model over ranks comes to, rows of a type and weights of that or another; one gradient.

    Logits are NaN where a pruned evaluation leaves nodes out.
    """
    parts = cut_dataset(made.dataset, assignment, num_parts, inductive=inductive, order=order)

    def body(comm):
        part = parts[comm.rank]
        model = make().to(weights or dtype)
        training, evaluation = both_views(
            part, model, comm, first_hop=first_hop, prune=prune, dtype=dtype, choices=choices
        )
        stepped = OPTIMIZERS[optimizer]([p for p in model.parameters() if p.requires_grad])
        task = Task(made.dataset.is_multilabel)
        trainer = Trainer(model, training, evaluation, task, stepped, comm, seed=seed)
        losses = torch.tensor([epoch.loss for epoch in trainer.epochs(epochs)], dtype=torch.float64)
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        trainer.evaluate()  # the copies of the model are still identical
        return losses, gradient, evaluation.ids, trainer.logits()

    ranks = run_ranks(num_parts, body)
    losses, gradient, *_ = ranks[0]
    logits = torch.full((NUM_NODES, NUM_CLASSES), torch.nan, dtype=weights or dtype)
    for rank_losses, rank_gradient, ids, rank_logits in ranks:
        assert torch.equal(rank_losses, losses)
        assert torch.equal(rank_gradient, gradient)
        assert not rank_logits.isnan().any()
        logits[ids] = rank_logits
    data = made.dataset
    assert not logits[data.train_mask | data.val_mask | data.test_mask].isnan().any()
    return Outcome(losses, [gradient], logits)


def deviations(ours: Outcome, exact: Outcome) -> dict[str, float]:
    """max |a - b| / max |b| of logits (where ours are there), of the last gradient and of the loss curve."""
    there = ~ours.logits.isnan().any(1)
    pairs = {
        "logits": (ours.logits[there], exact.logits[there]),
        "gradient": (ours.gradients[-1], exact.gradients[-1]),
        "losses": (ours.losses, exact.losses),
    }
    return {what: float((a - b).abs().max() / b.abs().max()) for what, (a, b) in pairs.items()}
