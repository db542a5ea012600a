"""How good a partitioning is, and what a model trained on it will send and hold."""

from typing import Any

from gcnsys.partition.costs import Widths, Wire, loads, sent_bytes
from gcnsys.partition.manifest import Manifest


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


def expected(manifest: Manifest, widths: Widths) -> list[dict[str, Any]]:
    """Bytes a rank sends in an exact training epoch; where rows are left out, that is a bound."""
    plain = Wire()
    return [{"halo_bytes_sent_per_epoch": sent_bytes(load, widths, plain)} for load in loads(manifest)]
