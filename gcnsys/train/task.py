"""What is learnt: a loss summed over nodes, and counts that add up over ranks to scores."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class Score:
    """How well some nodes are classified.

    Attributes:
        accuracy: share of nodes that are right; micro-F1 for multilabel targets; NaN without nodes.
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
        """``[5]`` float64 numbers that add up over nodes and ranks: three counts, nodes, loss.

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
