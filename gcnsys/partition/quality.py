"""How good a partitioning is, and what a model trained on it will send and hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gcnsys.partition.disk import part_folder
from gcnsys.partition.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Widths:
    """What crosses the wire and what is held in each layer, as :mod:`gcnsys.nn.conv` decides it.

    Attributes:
        features: width of rows that cross forward, one a layer; 0: nothing does.
        gradients: width of gradients that cross backward, one a layer.
        inputs: floats made of each inner node's dense features, besides the features themselves.
        hidden: floats kept of each inner node's hidden rows from forward to backward.
    """

    features: tuple[int, ...]
    gradients: tuple[int, ...]
    inputs: float
    hidden: int

    @classmethod
    def of(
        cls, hops: Sequence[tuple[int, int]], *, ready: int, inputs: int, needs_own: bool, hidden: int
    ) -> "Widths":
        """From what a model's aggregations move.

        Args:
            hops: the widths of rows and of their gradients, an aggregation each.
            ready: how many of the first ones are computed once.
            inputs: width of dense features; 0: they are sparse.
            needs_own: whether the model reads them beside those.
            hidden: see :class:`Widths`.
        """
        # A dropped copy (masks are drawn again, not kept); precomputed, also the neighbours' rows.
        dropped = 2 if ready and needs_own else 1
        left = [(0, 0)] * ready + list(hops[ready:])
        features, gradients = zip(*left, strict=True)
        return cls(features, gradients, float(inputs * (dropped + (ready > 0))), hidden)


def quality(manifest: Manifest) -> dict[str, float]:
    """Shares and balances; a balance is the largest part over the mean."""
    parts = manifest.parts
    return {
        "cut_share": sum(part.halo_edges for part in parts) / max(1, manifest.num_edges),
        "halo_per_inner": manifest.volume / manifest.num_nodes,
        "node_balance": _balance([part.inner for part in parts]),
        "edge_balance": _balance([part.inner_edges + part.halo_edges for part in parts]),
        "train_balance": _balance([part.train for part in parts]),
    }


def _balance(loads: list[int]) -> float:
    return max(loads) * len(loads) / sum(loads) if sum(loads) else 1.0


def expected(manifest: Manifest, widths: Widths, *, itemsize: int = 4) -> list[dict[str, Any]]:
    """Bytes a rank sends in a training epoch, and about how much memory its arrays take.

    Traffic is exact where nothing is pruned, else a bound. Memory counts the part's files, edge values
    and the transposed halo, inputs, activations and exchange buffers, as the native kernels need
    them; the interpreter and its libraries (about 300 MB) come on top.
    """
    costs: list[dict[str, Any]] = []
    for rank, part in enumerate(manifest.parts):
        sends, halo = part.boundary, part.halo
        if manifest.inductive:
            sends = sum(part.train_sends)
            halo = sum(sender.train_sends[rank] for sender in manifest.parts)
        forward = sends * sum(widths.features) * itemsize
        backward = halo * sum(widths.gradients) * itemsize
        folder = f"{part_folder(rank)}/"
        files = sum(entry.size for name, entry in manifest.files.items() if name.startswith(folder))
        flipped = part.halo_edges + (0 if manifest.symmetric else part.inner_edges)
        values = itemsize if manifest.weighted else 0
        edges = (part.inner_edges + part.halo_edges) * values + flipped * (4 + values)
        nodes = part.inner * (widths.inputs + widths.hidden) * itemsize
        buffers = 2 * (part.boundary + part.halo) * max(widths.features) * itemsize
        costs.append({
            "halo_bytes_sent_per_epoch": forward + backward,
            "memory_bytes": round(files + edges + nodes + buffers),
        })  # fmt: skip
    return costs
