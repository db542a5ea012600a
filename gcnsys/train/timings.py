"""What epochs took, all of them: a run of days has millions, so that each takes but a few numbers."""

from array import array

import numpy as np

from gcnsys.train.trainer import Epoch


class Timings:
    """Seconds by epoch, and the epochs at both ends.

    Attributes:
        first, last: epochs; there are none before one was added.
    """

    first: Epoch
    last: Epoch

    def __init__(self) -> None:
        kinds = ("seconds", "compute_seconds", "comm_seconds", "reduce_seconds")
        self._columns = {kind: array("d") for kind in kinds}

    def add(self, epoch: Epoch) -> None:
        """Take down one more."""
        if not self._columns["seconds"]:
            self.first = epoch
        self.last = epoch
        for kind, column in self._columns.items():
            column.append(getattr(epoch, kind))

    def median(self, kind: str) -> float:
        """Of one of the kinds of seconds; the first epoch, which warms caches, counts only alone."""
        values = np.asarray(self._columns[kind])
        return float(np.median(values[1:] if values.size > 1 else values))
