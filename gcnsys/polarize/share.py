"""Handing every rank its part of a dataset that rank 0 holds, several times with the same cut."""

import itertools
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from gcnsys.datasets import Dataset
from gcnsys.errors import InputError, known_to_all
from gcnsys.partition import Cutting, Part, Partitioning, build, cut_dataset
from gcnsys.polarize.pipeline import Share
from gcnsys.runtime import Comm
from gcnsys.train import RunConfig


def alone(dataset: Dataset | None) -> Part:
    """The only part of a dataset, in memory: what one process shares with itself."""
    assert dataset is not None
    return cut_dataset(dataset, torch.zeros(dataset.graph.num_nodes, dtype=torch.int64), 1)[0]


@contextmanager
def shared(config: RunConfig, comm: Comm, home: Path | None) -> Iterator[Share]:
    """What hands every rank its part: in memory where one is all, else through a folder that all see.

    Args:
        config: how a dataset is cut the first time; later ones have the same nodes, and are cut alike.
        comm: the ranks.
        home: where that folder is made; None: where temporary ones are.

    Raises:
        InputError: ``home`` is None, and ranks run on several machines.
    """
    if comm.size == 1:
        yield alone
        return
    machines = len(set(comm.texts(platform.node())))
    if home is None and machines > 1:
        raise known_to_all(
            f"ranks run on {machines} machines: give --out on a disk that all of them see, where they are "
            f"handed their parts", InputError,
        )  # fmt: skip
    made = None
    with comm.agreed():
        if comm.rank == 0:
            if home is not None:
                home.mkdir(parents=True, exist_ok=True)
            made = tempfile.TemporaryDirectory(prefix=".gcnsys-", dir=home)
    folder = Path(comm.texts("" if made is None else made.name)[0])
    numbers, own = itertools.count(), config.model_copy(update={"parts": comm.size, "order": "natural"})
    cutting = own.cutting()

    def share(dataset: Dataset | None) -> Part:
        path = folder / str(next(numbers))
        with comm.agreed():
            if dataset is not None:
                nonlocal cutting
                build(dataset, cutting, path)
                cutting = _again(cutting, path, dataset.graph.num_nodes)
        with comm.agreed():
            return Partitioning.open(path).part(comm.rank)

    try:
        yield share
    finally:
        if made is not None:
            made.cleanup()


def _again(cutting: Cutting, folder: Path, num_nodes: int) -> Cutting:
    """How other edges between the same nodes are cut the same way as a partitioning."""
    cut = Partitioning.open(folder)
    assignment = torch.zeros(num_nodes, dtype=torch.int64)
    for rank in range(cut.num_parts):
        assignment[cut.inner_ids(rank)] = rank
    path = folder.with_suffix(".npy")
    np.save(path, assignment.numpy())
    return replace(cutting, method=f"file:{path}")
