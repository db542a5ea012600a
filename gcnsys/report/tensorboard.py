"""Runs as logs that TensorBoard shows."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from gcnsys.registry import require
from gcnsys.report.run import Run


def write(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Write every figure of every epoch, a folder a run; returns the folders.

    Raises:
        MissingPackageError: the package tensorboard is not there.
    """
    require("tensorboard", extra="tensorboard", purpose="writing logs for TensorBoard")
    with warnings.catch_warnings():  # what it imports is its own affair
        warnings.simplefilter("ignore")
        from torch.utils.tensorboard import SummaryWriter
    written = []
    for run in runs:
        path = folder / run.name.strip("/").replace("/", "-")
        for old in path.glob("events.out.tfevents.*"):
            old.unlink()
        at = 0.0
        with SummaryWriter(str(path)) as writer:
            for record in run.epochs:
                at += record["seconds"]
                for key, value in record.items():
                    if isinstance(value, int | float) and key != "epoch":
                        writer.add_scalar(key, value, record["epoch"] + 1, walltime=at)
        written.append(path)
    return written
