"""What a training run did, and the one rule by which its model is chosen."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A model after an epoch (counted from 0)."""

    epoch: int
    val_acc: float
    val_loss: float
    test_acc: float


@dataclass(frozen=True, slots=True)
class History:
    """A run's evaluations, in order."""

    evaluations: list[Evaluated]

    def test_acc(self, epochs: int | None = None) -> float:
        """Test accuracy at the best validation accuracy of the first ``epochs`` (None: of all).

        Of equally accurate models the one with the smaller validation loss is taken, then the
        earlier one: gcnsys's own rule.
        """
        seen = [made for made in self.evaluations if epochs is None or made.epoch < epochs]
        return max(seen, key=lambda made: (made.val_acc, -made.val_loss)).test_acc
