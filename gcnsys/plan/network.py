"""What ranks talk over: a link each, as fast in both directions at once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Network:
    """A link.

    Attributes:
        bandwidth: bytes a second, each way.
        latency: seconds until the first byte of a message is there.
    """

    bandwidth: float
    latency: float = 0.0

    def transfer(self, leaving: float, arriving: float) -> float:
        """Seconds of an exchange that sends and gets so many bytes."""
        most = max(leaving, arriving)
        return self.latency + most / self.bandwidth if most else 0.0

    def reduction(self, sent: float, ranks: int) -> float:
        """Seconds of a ring all-reduce, in which a rank sends so many bytes."""
        return 2 * (ranks - 1) * self.latency + sent / self.bandwidth if ranks > 1 else 0.0


def ring_bytes(numbers: int, ranks: int, itemsize: int = 4) -> int:
    """Bytes that a rank sends while so many numbers are added up, as the runtime counts them."""
    return round(2 * (ranks - 1) / ranks * numbers * itemsize) if ranks > 1 else 0
