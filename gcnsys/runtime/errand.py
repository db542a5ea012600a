"""Questions about nodes, to the ranks that hold them.

Letters: k nodes that this rank asks about, r that it is asked about, P parts.
"""

import torch
from torch import Tensor

from gcnsys.graph import CSR, offsets
from gcnsys.runtime.comm import Comm


class Errand:
    """Questions on their way to the owners, and the answers on their way back; every method is collective.

    Args:
        nodes: ``[k]`` places.
        starts: ``[P + 1]`` where each rank's places begin.
        comm: the ranks.
        said: ``[k]`` float64 that goes with each question; None: nothing.

    Attributes:
        rows: ``[r]`` inner rows that this rank is asked about, by who asks.
        heard: ``[r]`` what was said with them; ``[0]`` if nothing was.
    """

    def __init__(self, nodes: Tensor, starts: Tensor, comm: Comm, said: Tensor | None = None) -> None:
        self.comm = comm
        owner = torch.searchsorted(starts, nodes, right=True) - 1
        self._order = owner.argsort(stable=True)
        asked = torch.bincount(owner, minlength=comm.size)
        ones = [1] * comm.size
        coming = self._crossed(asked, ones, ones)
        self._asked, self._coming = asked.tolist(), coming.tolist()
        self.rows = self._crossed((nodes - starts[owner])[self._order], self._asked, self._coming)
        self.heard = torch.zeros(0, dtype=torch.float64)
        if said is not None:
            self.heard = self._crossed(said[self._order], self._asked, self._coming)

    def answered(self, values: Tensor) -> Tensor:
        """Answers ``[r, ...]``, a row a question, as ``[k, ...]`` in the order of this rank's own ones."""
        came = self._crossed(values, self._coming, self._asked)
        found = torch.empty_like(came)
        found[self._order] = came
        return found

    def listed(self, answers: CSR) -> CSR:
        """Answers of several entries each: ``[r, K]``, a row a question, as ``[k, K]``."""
        counts = answers.indptr.diff()
        came_counts = self._crossed(counts, self._coming, self._asked)
        leaving = [int(part.sum()) for part in counts.split(self._coming)]
        arriving = [int(part.sum()) for part in came_counts.split(self._asked)]

        def crossed(entries: Tensor) -> Tensor:
            return self._crossed(entries, leaving, arriving)

        came = answers.picked(offsets(came_counts), crossed(answers.indices), crossed)
        place = torch.empty_like(self._order)
        place[self._order] = torch.arange(place.numel())
        return came.take_rows(place)

    def _crossed(self, values: Tensor, leaving: list[int], arriving: list[int]) -> Tensor:
        rows = values[:, None] if values.ndim == 1 else values
        came = self.comm.swap(rows, leaving, arriving).land()
        return came[:, 0] if values.ndim == 1 else came
