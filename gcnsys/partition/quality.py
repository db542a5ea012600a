"""How good a partitioning is, and what a model trained on it will send and hold."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from gcnsys.partition.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Widths:
    """What crosses the wire in each layer, as :mod:`gcnsys.nn.conv` decides it.

    Attributes:
        features: width of rows that cross forward, one a layer; 0: nothing does.
        gradients: width of gradients that cross backward, one a layer.
        held: floats kept for each inner node from forward to backward.
    """

    features: tuple[int, ...]
    gradients: tuple[int, ...]
    held: int

    @classmethod
    def of(
        cls, widths: list[int], num_convs: int, *, precomputed: bool, sparse: bool, narrower: bool
    ) -> "Widths":
        """From the widths between layers, the input's and the number of classes included."""
        features, gradients = [], []
        for number, (wide_in, wide_out) in enumerate(pairwise(widths[: num_convs + 1])):
            # Sparse inputs are projected first, whatever the widths.
            projected = (narrower and wide_out < wide_in) or (number == 0 and sparse)
            crossing = wide_out if projected else wide_in
            features.append(0 if number == 0 and precomputed else crossing)
            # The gradient of constant inputs is never asked for.
            gradients.append(features[-1] if number or projected else 0)
        return cls(tuple(features), tuple(gradients), sum(widths[1:]) * 3)


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

    Traffic is exact. Memory counts edges (twice, for both directions), features, activations and
    exchange buffers; the interpreter and its libraries (about 300 MB) come on top.
    """
    costs: list[dict[str, Any]] = []
    for part in manifest.parts:
        halo = part.halo
        sends = part.boundary
        if manifest.inductive:
            sends = sum(part.train_sends)
            halo = sum(other.train_sends[len(costs)] for other in manifest.parts)
        forward = sends * sum(widths.features) * itemsize
        backward = halo * sum(widths.gradients) * itemsize
        edges = (part.inner_edges + part.halo_edges) * 2 * (4 + itemsize)
        nodes = part.inner * (manifest.num_features * (0 if manifest.sparse_features else 2) + widths.held)
        buffers = (part.boundary + part.halo) * max((*widths.features, 1)) * itemsize
        costs.append({
            "halo_bytes_sent_per_epoch": forward + backward,
            "memory_bytes": edges + nodes * itemsize + buffers,
        })  # fmt: skip
    return costs
