"""What a rank sends and waits for, counted and timed."""

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Literal

import torch

Kind = Literal["halo", "reduce", "control"]


@dataclass(slots=True)
class Traffic:
    """What this rank sent and waited for, by kind.

    ``halo`` is rows and their gradients, ``reduce`` is gradients and statistics of the model,
    ``control`` everything else.

    Attributes:
        sent_bytes: payload handed to the network. An all-reduce of n bytes over P ranks counts
            2 (P - 1) / P n, what the ring algorithm sends.
        seconds: spent in calls and waiting for them.
        buffer_bytes: of the buffers that halo exchanges sent from and landed in.
        halo_bytes_to: of ``halo``, by the rank that they were for.
    """

    sent_bytes: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    buffer_bytes: int = 0
    halo_bytes_to: Counter[int] = field(default_factory=Counter)

    def copy(self) -> "Traffic":
        """The counts so far."""
        return Traffic(
            self.sent_bytes.copy(), self.seconds.copy(), self.buffer_bytes, self.halo_bytes_to.copy()
        )

    def took(self, other: "Traffic") -> None:
        """Count what somebody else sent, but not their time: it went by beside this one's."""
        self.sent_bytes.update(other.sent_bytes)
        self.halo_bytes_to.update(other.halo_bytes_to)
        self.buffer_bytes += other.buffer_bytes

    def since(self, before: "Traffic") -> "Traffic":
        """What was added since an earlier copy."""
        seconds = defaultdict(float, {k: v - before.seconds[k] for k, v in self.seconds.items()})
        sent = self.sent_bytes - before.sent_bytes
        sent_to = self.halo_bytes_to - before.halo_bytes_to
        return Traffic(sent, seconds, self.buffer_bytes - before.buffer_bytes, sent_to)


class Mark:
    """A moment: of this thread, or where rows lie on a GPU, of what that was given to do."""

    def __init__(self, wire: torch.device) -> None:
        self._event = torch.cuda.Event(enable_timing=True) if wire.type == "cuda" else None
        if self._event is not None:
            self._event.record(torch.cuda.current_stream(wire))
        self._clock = time.perf_counter()

    def since(self, other: "Mark") -> float:
        """Seconds from another one to this one."""
        if self._event is None or other._event is None:
            return self._clock - other._clock
        self._event.synchronize()
        return float(other._event.elapsed_time(self._event)) / 1e3
