"""What the ranks tell each other at the end of an epoch, at no cost: it rides on the loss's reduction.

So all of them know the same after the same epoch, and act alike, without a message of its own.
"""

from dataclasses import astuple, dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Votes:
    """How many ranks say something; of one rank, 0 or 1.

    Attributes:
        stop: it was asked to stop.
        save: it is time for a checkpoint (rank 0's clock decides).
        written: its share of a checkpoint lies on the disk.
        lost: its share cannot be written, for a reason that may have passed by the next one.
        failed: it has met something that it cannot go on with.
    """

    stop: int = 0
    save: int = 0
    written: int = 0
    lost: int = 0
    failed: int = 0

    def joined(self, like: Tensor) -> Tensor:
        """``[5]`` numbers that can be added up over ranks."""
        return like.new_tensor(astuple(self))

    @classmethod
    def counted(cls, numbers: Tensor) -> "Votes":
        """Of all ranks, from their sum."""
        return cls(*(round(number) for number in numbers.tolist()))
