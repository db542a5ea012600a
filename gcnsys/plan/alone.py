"""A rank of several that nobody talks to."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from gcnsys.runtime import Comm
from gcnsys.runtime.comm import Flight
from gcnsys.runtime.traffic import Kind, Traffic


class Alone(Comm):
    """What others would have sent has the right size here, and is zero; sums are of this rank's share.

    Args:
        size: how many ranks there are said to be; this is the first.
    """

    def __init__(self, size: int) -> None:
        self.rank, self.size, self.wire = 0, size, torch.device("cpu")
        self._timeout, self.heartbeat, self.traffic = 1.0, None, Traffic()
        self._marks = []

    def close(self) -> None:
        """There is nothing to let go of."""

    def separate_halo(self) -> None:
        """There are no connections."""

    def swap(self, rows: Tensor, send_counts: Sequence[int], recv_counts: Sequence[int]) -> Flight:
        sent = self._packed(rows)
        return Flight(sent.new_zeros(sum(recv_counts), *rows.shape[1:]), sent, [], self, rows.device)

    def share(self, tensor: Tensor) -> Tensor:
        return self._packed(tensor).clone()

    def texts(self, text: str) -> list[str]:
        return [text] * self.size

    @contextlib.contextmanager
    def agreed(self) -> Iterator[None]:
        yield

    def _reduced(self, tensor: Tensor, operation: Any, kind: Kind) -> Tensor:
        return self._packed(tensor).clone()
