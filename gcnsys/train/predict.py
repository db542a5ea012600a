"""Predictions of a trained model for every node of a graph; nobody holds more than its part.

Ranks write their rows into one file, in the numbering of the graph as it was given, so the file is the same
for any number of parts.
"""

import os
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.files import move_into_place
from gcnsys.partition import Partitioning
from gcnsys.runtime import Comm, Placement
from gcnsys.train.trained import TrainedRun
from gcnsys.train.view import whole_view

Kind = Literal["logits", "probabilities", "classes"]
"""What is written: ``[N, C]`` float32 or float64, the same through softmax (sigmoid, for several labels a
node), or the class ``[N]`` int64 (``[N, C]`` bool)."""


@torch.no_grad()
def predictions(
    run: TrainedRun, partitioning: Partitioning, comm: Comm, placement: Placement
) -> tuple[Tensor, Tensor]:
    """This rank's nodes, ``[n]`` int64, and their exact logits, ``[n, C]``; collective.

    Raises:
        InputError: the graph's features are not as wide as those the model was trained on.
    """
    with comm.agreed():
        width = partitioning.manifest.num_features
        if width != run.num_features:
            raise InputError(
                f"{partitioning.manifest.dataset} has {width} features a node, but the model in {run.folder} "
                f"was trained on {run.num_features}; give a graph with the same features"
            )
        part = partitioning.part(comm.rank, checked=True)
        model = run.model().to(placement.device)
    dtype = getattr(torch, run.config.dtype)
    view = whole_view(part, model, comm, choice=run.config.first_hop, device=placement.device, dtype=dtype)
    return view.ids.cpu(), model(view.blocks, view.inputs).cpu()


def as_kind(logits: Tensor, kind: Kind, *, multilabel: bool) -> Tensor:
    """Logits as what was asked for."""
    if kind == "logits":
        return logits
    if kind == "probabilities":
        return logits.sigmoid() if multilabel else logits.softmax(1)
    return logits > 0 if multilabel else logits.argmax(1)


def write_rows(path: Path, ids: Tensor, rows: Tensor, num_nodes: int, comm: Comm) -> None:
    """Write every rank's rows to one ``.npy`` file, whole or not at all; collective.

    Args:
        path: of the file.
        ids: ``[n]`` of this rank's nodes.
        rows: ``[n, ...]``.
        num_nodes: on all ranks together.
        comm: the ranks.

    Raises:
        InputError: it cannot be written, or a rank does not see the folder.
    """
    temporary, values = path.with_name(f".{path.name}.tmp"), rows.numpy()
    try:
        with comm.agreed():
            if comm.rank == 0:
                path.parent.mkdir(parents=True, exist_ok=True)
                _laid_out(temporary, (num_nodes, *values.shape[1:]), values.dtype)
        with comm.agreed():
            if not temporary.exists():
                raise InputError(
                    f"{path.parent}: rank {comm.rank} does not see it; give --out on a disk that all share"
                )
            mapped = np.lib.format.open_memmap(temporary, mode="r+")
            mapped[ids.numpy()] = values
            mapped.flush()
        with comm.agreed():
            if comm.rank == 0:
                move_into_place(temporary, path)
    finally:
        if comm.rank == 0:
            temporary.unlink(missing_ok=True)


def _laid_out(path: Path, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
    """An empty array whose room on the disk is taken: a full one must not show when a page is written."""
    np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    size = path.stat().st_size
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, size)
