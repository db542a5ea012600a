"""What is learnt: a loss summed over nodes, and counts that add up over ranks to scores.

One's own task is a subclass with another loss; with other scores, with other counts as well.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gcnsys.partition import Manifest


@dataclass(frozen=True, slots=True)
class Score:
    """How well some nodes are classified.

    Attributes:
        accuracy: share of nodes that are right; micro-F1 for multilabel targets; R² for numbers, the share
            of the variance that is explained; NaN without nodes.
        loss: mean over nodes.
    """

    accuracy: float
    loss: float


@dataclass(frozen=True, slots=True)
class Task:
    """Node classification, one label a node or several.

    Attributes:
        multilabel: targets are ``[n, C]`` bool instead of ``[n]`` int64.
    """

    multilabel: bool = False

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """The summed loss of ``[n, C]`` logits: cross-entropy, or binary cross-entropy over labels."""
        if self.multilabel:
            return F.binary_cross_entropy_with_logits(logits, target.to(logits), reduction="sum")
        return F.cross_entropy(logits, target, reduction="sum")

    def counts(self, logits: Tensor, target: Tensor) -> Tensor:
        """Float64 numbers that add up over nodes and ranks; here three counts, nodes, loss.

        The counts are right nodes, 0, 0; or true positives, false positives and false negatives.
        """
        loss = self.loss(logits, target).double()
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


@dataclass(frozen=True, slots=True)
class Regression(Task):
    """One number a node, or several; targets are ``[n, T]`` float."""

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """The squared error, averaged over a node's numbers and summed over nodes."""
        return F.mse_loss(logits, target.to(logits), reduction="sum") / target.shape[1]

    def counts(self, logits: Tensor, target: Tensor) -> Tensor:
        """``[4 + T]``: squared errors, squares of targets, nodes, loss, and the sum of each target."""
        target = target.double()
        errors = (logits.double() - target).square().sum()
        nodes = target.new_tensor(float(target.shape[0]))
        few = torch.stack([errors, target.square().sum(), nodes, self.loss(logits, target).double()])
        return torch.cat([few, target.sum(0)])

    def score(self, counts: Tensor) -> Score:
        errors, squares, nodes, loss = counts[:4].tolist()
        if nodes == 0:
            return Score(float("nan"), float("nan"))
        spread = squares - float(counts[4:].square().sum()) / nodes
        if spread <= 1e-12 * squares:  # all targets are equal: there is nothing to explain
            return Score(1.0 if errors <= 1e-12 * max(squares, 1e-300) else 0.0, loss / nodes)
        return Score(1 - errors / spread, loss / nodes)


def task_of(manifest: Manifest) -> Task:
    """What the labels of a partitioning suggest."""
    return Regression() if manifest.regression else Task(manifest.multilabel)
