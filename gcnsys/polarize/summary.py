"""A polarized graph as one object of numbers: what the command prints and keeps."""

from typing import Any

import torch

from gcnsys.polarize.figures import figures, report
from gcnsys.polarize.learn import Learnt
from gcnsys.polarize.pipeline import Polarized


def summarized(found: Polarized, model: str) -> dict[str, Any]:
    """What came of it; on rank 0.

    Args:
        found: by :func:`gcnsys.polarize.polarize`.
        model: its name.
    """
    original, division = found.original, found.division
    assert original is not None
    assert division is not None
    assert found.after_tuning is not None
    assert found.kept is not None
    masks = {"tuned": found.after_tuning, "thin blocks dropped": found.kept}
    sizes = division.layout.group_ptr.diff().tolist()
    return {
        "dataset": original.name, "model": model, "parts": found.tuned.edges.comm.size,
        "nodes": original.graph.num_nodes, "edges": original.graph.num_edges,
        "subgraphs": sizes, "thresholds": list(division.thresholds),
        "inside_before": figures(original.graph, division, torch.ones_like(found.kept)).inside,
        **report(original.graph, division, masks),
        "accuracy_before": None if found.reference is None else _accuracy(found.reference),
        "accuracy_before_distilled": (
            None if found.distilled_reference is None else _accuracy(found.distilled_reference)
        ),
        "accuracy_after": _accuracy(found.retrained),
        "mask_distances": found.tuned.distances, "pretrain_distances": found.pretrain_distances,
        "polarization_weight": found.tuned.weight,
        "epochs": {
            "pretrain": found.pretrained.epochs, "tune": found.tuned.epochs,
            "retrain": found.retrained.epochs,
        },
        "seconds": {
            "pretrain": found.pretrained.seconds, "tune": found.tuned.seconds,
            "retrain": found.retrained.seconds,
        },
        "cost": None if found.cost is None else dict(zip(("epochs", "seconds"), found.cost, strict=True)),
    }  # fmt: skip


def _accuracy(learnt: Learnt) -> dict[str, float]:
    return {
        **learnt.accuracy, "best_epoch": learnt.best_epoch, "test_chosen_on_test": learnt.best_test
    }  # fmt: skip
