"""Draws in proportion to shares: among things at hand, or among those that all processes hold together.

Letters: m things, k different ones that were drawn, t draws, P processes.
"""

import torch
from torch import Tensor

from gcnsys.graph import ascending
from gcnsys.sampling.neighbourhood import Neighbourhood


class Shares:
    """Things to draw from, each in proportion to its share.

    Args:
        share: ``[m]``, at least 0.
    """

    def __init__(self, share: Tensor) -> None:
        self.share = share.double()
        self.ends = self.share.cumsum(0)
        self.total = float(self.ends[-1]) if share.numel() else 0.0
        self._last = int(torch.nonzero(share > 0)[-1]) if self.total > 0 else -1

    def at(self, offsets: Tensor) -> Tensor:
        """Whose share each number lies in, ``[t]``, from 0 to the total."""
        # Rounding may put a draw past the last place, or on one of no share.
        return torch.searchsorted(self.ends, offsets, right=True).clamp_(max=self._last)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw ``count`` times, with repetition.

        Returns:
            ``[k]`` ascending places that were drawn; ``[k]`` float64 times drawn over times expected.
        """
        if self._last < 0:
            return torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.float64)
        numbers = torch.rand(count, generator=generator, dtype=torch.float64)
        places, times = self.at(ascending(numbers) * self.total).unique_consecutive(return_counts=True)
        return places, times / (count * self.share[places] / self.total)


class CommonShares:
    """Things that all processes hold, each its own; collective.

    Args:
        graph: whose processes they are.
        share: ``[m]`` of those that this one holds, at least 0.
        known: ``[m, c]`` int64, what is to be known of one that is drawn.
    """

    def __init__(self, graph: Neighbourhood, share: Tensor, known: Tensor) -> None:
        self.graph, self.own, self.known = graph, Shares(share), known
        self._processes = Shares(graph.all_say(self.own.total))
        self.total = self._processes.total

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """What is known of ``count`` things, ``[count, c]``; of none where nothing has a share.

        In the order of processes and of their things: equal ones follow each other.
        """
        there = count if self.total > 0 else 0
        numbers = ascending(torch.rand(there, generator=generator, dtype=torch.float64)) * self.total
        process, offsets = torch.zeros(there, dtype=torch.int64), numbers
        if self._processes.share.numel() > 1:
            process = self._processes.at(numbers)
            offsets = numbers - (self._processes.ends - self._processes.share)[process]
        return self.graph.ask(process, offsets, lambda heard: self.known[self.own.at(heard)])
