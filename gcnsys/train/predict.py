"""Predictions of a trained model for every node of a graph; nobody holds more than its part.

Rows are written to one file, in the numbering of the graph as it was given, so the file is the same for any
number of parts. Rank 0 alone writes it, a slice after the other: on a network's disk two machines that write
to one page of a file may undo what the other wrote.
"""

import math
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.files import move_into_place
from gcnsys.partition import Partitioning
from gcnsys.runtime import Comm, Placement
from gcnsys.train.trained import TrainedRun
from gcnsys.train.view import whole_view

_SLICE = 64 << 20
"""Bytes of rows that are written at a time."""

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
        InputError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    mapped: np.ndarray[Any, Any] | None = None
    try:
        with comm.agreed():
            if comm.rank == 0:
                path.parent.mkdir(parents=True, exist_ok=True)
                mapped = _laid_out(temporary, (num_nodes, *rows.shape[1:]), rows.numpy().dtype)
        for first, slice_of in _slices(ids, rows, num_nodes, comm):
            with comm.agreed():
                if mapped is not None:
                    mapped[first : first + len(slice_of)] = slice_of.numpy()
        with comm.agreed():
            if mapped is not None:
                mapped.flush()  # type: ignore[attr-defined]
                move_into_place(temporary, path)
    finally:
        if comm.rank == 0:
            temporary.unlink(missing_ok=True)


def _slices(ids: Tensor, rows: Tensor, num_nodes: int, comm: Comm) -> Iterator[tuple[int, Tensor]]:
    """All nodes' rows in the order of their ids, slice by slice: where it begins, and on rank 0 its rows."""
    order = ids.argsort()
    # Truth values cross as bytes.
    ids, rows = ids[order], (rows.view(torch.uint8) if rows.dtype == torch.bool else rows)[order]
    row_bytes = rows.element_size() * math.prod(rows.shape[1:])  # also of a rank without nodes
    length = max(1, _SLICE // max(1, row_bytes))
    starts = torch.arange(0, num_nodes + length, length)
    places = torch.searchsorted(ids, starts)
    table = torch.zeros(comm.size, starts.numel() - 1, dtype=torch.int64)
    table[comm.rank] = places.diff()
    table = comm.add(table, "control")
    for number, (low, high) in enumerate(pairwise(places.tolist())):
        sends = [high - low, *[0] * (comm.size - 1)]
        receives = table[:, number].tolist() if comm.rank == 0 else [0] * comm.size
        arrived = [comm.swap(each[low:high], sends, receives).land() for each in (ids, rows)]
        first = number * length
        found = torch.empty_like(arrived[1])
        found[arrived[0] - first] = arrived[1]
        yield first, found.view(torch.bool) if found.dtype == torch.uint8 else found


def _laid_out(path: Path, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> np.ndarray[Any, Any]:
    """An empty array whose room on the disk is taken: a full one must not show when a page is written."""
    np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    size = path.stat().st_size
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, size)
    return np.lib.format.open_memmap(path, mode="r+")
