"""gcnsys on one part or several, its ranks as threads of this process."""

import tempfile
from pathlib import Path
from typing import Any

import torch

from experiments.accuracy.history import Evaluated, History
from gcnsys.datasets import Dataset
from gcnsys.partition import build
from gcnsys.runtime import Comm, Placement
from gcnsys.testing.ranks import run_ranks
from gcnsys.train import RunConfig
from gcnsys.train.run import run_part


def train(dataset: Dataset, config: RunConfig, num_parts: int = 1) -> History:
    """Cut the dataset, train on all parts, and keep what every evaluation said."""
    evaluations: list[Evaluated] = []

    def watch(record: dict[str, Any]) -> None:
        if "val_acc" in record:
            names = ("epoch", "val_acc", "val_loss", "test_acc")
            evaluations.append(Evaluated(*(record[name] for name in names)))

    def body(comm: Comm) -> dict[str, Any]:
        torch.set_num_threads(1)  # a new thread would start with the default count
        return run_part(partitioning, config, comm, Placement.choose("cpu", 0, 1), watch=watch)

    cutting = config.model_copy(update={"parts": num_parts}).cutting()
    with tempfile.TemporaryDirectory(prefix="gcnsys-") as temporary:
        partitioning = build(dataset, cutting, Path(temporary) / "partitioning")
        summary = run_ranks(num_parts, body, timeout=config.timeout)[0]
    history = History(evaluations)
    assert history.test_acc() == summary["test_acc_at_best_val"], "a model was chosen by another rule"
    return history
