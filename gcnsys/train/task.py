"""What is learnt: a loss summed over nodes, and counts that add up over ranks to scores.

One's own task is a subclass with another loss; with other scores, with other counts as well. What is not
summed over labelled nodes has a :meth:`Task.training_loss` and :meth:`Task.tallies` of its own, as links do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from gcnsys.train.view import View


@dataclass(frozen=True, slots=True)
class Score:
    """How well some nodes are classified.

    Attributes:
        accuracy: share of nodes that are right; micro-F1 for multilabel targets; R² for numbers, the share
            of the variance that is explained; NaN without nodes.
        loss: mean over nodes.
        others: what else is said of them, by name.
    """

    accuracy: float
    loss: float
    others: Mapping[str, float] = field(default_factory=dict)


@dataclass(eq=False)
class Task:
    """Node classification, one label a node or several.

    A subclass may have an ``__init__`` and attributes of its own.

    Attributes:
        multilabel: targets are ``[n, C]`` bool instead of ``[n]`` int64.
    """

    multilabel: bool = False

    def size(self, view: View) -> int:
        """How much there is to train on in this rank's view."""
        return view.rows["train"].numel()

    def training_loss(self, outputs: Tensor, view: View, epoch: int) -> Tensor:
        """The summed loss of ``[D, C]`` outputs over this rank's share; it may ask other ranks."""
        rows = view.rows["train"]
        return self.losses(outputs[rows], view.y[rows]).sum()

    def tallies(self, outputs: Tensor, view: View) -> dict[str, Tensor]:
        """The counts of this rank's share, by ``train, val, test``."""
        return {name: self.counts(outputs[rows], view.y[rows]) for name, rows in view.rows.items()}

    def losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of each node ``[n]`` of ``[n, C]`` logits: cross-entropy, or binary ones of its labels."""
        if self.multilabel:
            return F.binary_cross_entropy_with_logits(logits, target.to(logits), reduction="none").sum(1)
        return F.cross_entropy(logits, target, reduction="none")

    def counts(self, logits: Tensor, target: Tensor) -> Tensor:
        """Float64 numbers that add up over nodes and ranks; here three counts, nodes, loss.

        The counts are right nodes, 0, 0; or true positives, false positives and false negatives.
        """
        loss = self.losses(logits, target).sum().double()
        nodes = loss.new_tensor(float(logits.shape[0]))
        if self.multilabel:
            said = logits > 0
            hits = (said & target).sum(), (said & ~target).sum(), (~said & target).sum()
        else:
            zero = nodes.new_zeros(())
            hits = (logits.argmax(1) == target).sum(), zero, zero
        return torch.stack([*(hit.double() for hit in hits), nodes, loss])

    def score(self, counts: Tensor) -> Score:
        """What summed counts amount to."""
        first, wrong, missed, nodes, loss = counts.tolist()
        if nodes == 0:
            return Score(float("nan"), float("nan"))
        if self.multilabel:
            said_or_true = 2 * first + wrong + missed
            return Score(2 * first / said_or_true if said_or_true else 0.0, loss / nodes)
        return Score(first / nodes, loss / nodes)


@dataclass(eq=False)
class Regression(Task):
    """One number a node, or several; targets are ``[n, T]`` float."""

    def losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """The squared error, averaged over a node's numbers."""
        return F.mse_loss(logits, target.to(logits), reduction="none").mean(1)

    def counts(self, logits: Tensor, target: Tensor) -> Tensor:
        """``[4 + T]``: squared errors, squares of targets, nodes, loss, and the sum of each target."""
        target = target.double()
        errors = (logits.double() - target).square().sum()
        nodes = target.new_tensor(float(target.shape[0]))
        few = torch.stack([errors, target.square().sum(), nodes, self.losses(logits, target).sum().double()])
        return torch.cat([few, target.sum(0)])

    def score(self, counts: Tensor) -> Score:
        errors, squares, nodes, loss = counts[:4].tolist()
        if nodes == 0:
            return Score(float("nan"), float("nan"))
        spread = squares - float(counts[4:].square().sum()) / nodes
        if spread <= 1e-12 * squares:  # all targets are equal: there is nothing to explain
            return Score(1.0 if errors <= 1e-12 * max(squares, 1e-300) else 0.0, loss / nodes)
        return Score(1 - errors / spread, loss / nodes)
