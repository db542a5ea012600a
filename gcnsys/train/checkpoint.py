"""A checkpoint on disk: a folder ``epoch-N`` with what all ranks share, a file a rank, and a manifest.

``model.safetensors`` holds weights, those of the best epoch, and the optimizer's state;
``rank-00000.safetensors`` what a rank has to itself: random state, rows that a pipeline has under way, and
their averages. They are written to a folder of another name, which gets its own when all are there: a
checkpoint is whole or not there. Nothing in it is a pickle.
"""

import json
import logging
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from pydantic import Field
from torch import Tensor

from gcnsys import __version__
from gcnsys.errors import DamagedFileError, InputError
from gcnsys.files import Entry, flush, load_arrays, save_arrays
from gcnsys.manifest import Description, FileEntry, seal, unseal
from gcnsys.partition import Manifest as PartitioningManifest

FORMAT: Final = "gcnsys-checkpoint"
VERSION = 1
HOME = "checkpoints"
SHARED = "model.safetensors"
ABOUT = "about"
"""The array that holds, as JSON, what a file of arrays needs besides them."""

log = logging.getLogger(__name__)

REMEDY = "go on from an older checkpoint, or start the run again"
_NAME = re.compile(r"epoch-(\d{8})")
_UNFINISHED = re.compile(r"\.epoch-\d{8}\.(tmp|old)")


class Manifest(Description):
    """What a checkpoint is a checkpoint of.

    Attributes:
        epoch: how many epochs were done.
        spec: what the graph was loaded by; ``graph`` digest of its edges, ``partitioning`` of all that the
            ranks read of it, ``data`` what else two partitionings must have in common.
        stopped: the signal that ended the run here; 0: it went on, or ended by itself.
        settings: the run's configuration.
    """

    format: Literal["gcnsys-checkpoint"] = FORMAT
    version: int = VERSION
    made_by: str = __version__
    epoch: int = Field(ge=1)
    parts: int = Field(ge=1)
    spec: str
    graph: str
    partitioning: str
    data: dict[str, Any]
    stopped: int = 0
    settings: dict[str, Any]
    files: dict[str, FileEntry]


@dataclass(frozen=True, slots=True)
class State:
    """Arrays, and what is to be known about them, as JSON can hold it."""

    arrays: dict[str, Tensor]
    about: dict[str, Any]


def data_of(manifest: PartitioningManifest) -> dict[str, Any]:
    """What partitionings of the same data have in common besides the graph."""
    names = ("num_train", "num_val", "num_test", "num_features", "num_classes", "multilabel", "inductive")
    return {name: getattr(manifest, name) for name in (*names, "normalization", "nodes")}


def rank_file(rank: int) -> str:
    """The name of a rank's file."""
    return f"rank-{rank:05d}.safetensors"


def write_state(path: Path, state: State) -> Entry:
    """Write one file of a checkpoint and flush it."""
    text = json.dumps(state.about).encode()
    entry = save_arrays(path, {**state.arrays, ABOUT: torch.frombuffer(bytearray(text), dtype=torch.uint8)})
    flush(path)
    return entry


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that lies on the disk, its manifest read and checked."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path) -> "Checkpoint":
        """Open one; reads its manifest only.

        Raises:
            DamagedFileError: it is not one, or its manifest was altered or does not fit its name.
        """
        manifest = unseal(
            folder, Manifest, what="checkpoint", found_by="name a run's folder or one of its checkpoints",
            remedy=REMEDY, expected=(FORMAT, VERSION),
        )  # fmt: skip
        match = _NAME.fullmatch(folder.name)
        if match is None or int(match[1]) != manifest.epoch:
            raise DamagedFileError(f"{folder}: holds the state after epoch {manifest.epoch}; {REMEDY}")
        found = set(manifest.files)
        if len(found) != manifest.parts + 1 or found != {SHARED, *map(rank_file, range(manifest.parts))}:
            raise DamagedFileError(f"{folder}: its manifest names other files than it should; {REMEDY}")
        return cls(folder, manifest)

    def state(self, name: str) -> State:
        """One of its files, every byte of which is checked.

        Raises:
            DamagedFileError: it is missing or altered.
        """
        path = self.folder / name
        self.manifest.files[name].entry().check(path, str(path), remedy=REMEDY)
        arrays = load_arrays(path, name=str(path))
        try:
            about = json.loads(bytes(arrays.pop(ABOUT).numpy()))
        except (KeyError, ValueError, RecursionError) as error:
            raise DamagedFileError(f"{path}: array {ABOUT!r} is not as it was written; {REMEDY}") from error
        return State(arrays, about)


class Checkpoints:
    """The checkpoints of a run.

    Args:
        run: its folder.
        keep: how many of the last ones.
    """

    def __init__(self, run: Path, *, keep: int = 2) -> None:
        self.folder, self.keep = run / HOME, keep

    def epochs(self) -> list[int]:
        """Epochs after which there is a checkpoint, ascending."""
        if not self.folder.is_dir():
            return []
        found = (_NAME.fullmatch(path.name) for path in self.folder.iterdir() if path.is_dir())
        return sorted(int(match[1]) for match in found if match)

    def path(self, epoch: int) -> Path:
        """Where the checkpoint after so many epochs lies."""
        return self.folder / f"epoch-{epoch:08d}"

    def unfinished(self, epoch: int) -> Path:
        """Where the ranks fill it."""
        return self.folder / f".epoch-{epoch:08d}.tmp"

    def latest(self) -> Checkpoint | None:
        """The last one; None: there is none."""
        epochs = self.epochs()
        return Checkpoint.open(self.path(epochs[-1])) if epochs else None

    def complete(self, epoch: int, manifest: Manifest) -> None:
        """Make what all ranks have written a checkpoint, and let go of older ones."""
        temporary, path = self.unfinished(epoch), self.path(epoch)
        for name, entry in manifest.files.items():
            if not (temporary / name).is_file() or (temporary / name).stat().st_size != entry.size:
                raise InputError(
                    f"{temporary / name} is not there, or not whole, though its rank wrote it: the run's "
                    f"folder must be on a disk that all machines share; give another --out"
                )
        seal(temporary, manifest)
        if path.exists():  # of a run that was started over from further back
            self._remove(path)
        os.replace(temporary, path)
        flush(self.folder)
        for old in self.epochs()[: -self.keep]:
            try:
                self._remove(self.path(old))
            except OSError as error:  # no reason to end a run: the new one is there
                log.warning("%s cannot be removed (%s)", self.path(old), error.strerror)

    def clean(self, *, above: int | None = None) -> list[Path]:
        """Remove what a killed run left unfinished, which is returned, and checkpoints past an epoch."""
        if not self.folder.is_dir():
            return []
        removed = [path for path in self.folder.iterdir() if _UNFINISHED.fullmatch(path.name)]
        for path in removed:
            shutil.rmtree(path)
        for epoch in self.epochs():
            if above is not None and epoch > above:
                self._remove(self.path(epoch))
        return removed

    def _remove(self, path: Path) -> None:
        # Under its own name it is whole until it is gone.
        aside = path.with_name(f".{path.name}.old")
        os.replace(path, aside)
        shutil.rmtree(aside)


def run_folder(path: Path) -> Path:
    """The folder of a run, from itself or one of its checkpoints."""
    return path.parent.parent if path.parent.name == HOME else path


def named(path: Path) -> Checkpoint:
    """The checkpoint that a folder is, or the last one of the run that it is.

    Raises:
        InputError: it is neither, or the run has none.
    """
    if _NAME.fullmatch(path.name):
        return Checkpoint.open(path)
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; name a run's folder or one of its checkpoints")
    found = Checkpoints(path).latest()
    if found is None:
        raise InputError(f"{path} holds no checkpoint to go on from; start the run again with --overwrite")
    return found


def entries(texts: Sequence[str]) -> dict[str, FileEntry]:
    """What all ranks wrote, from what each of them says."""
    together: dict[str, FileEntry] = {}
    for text in texts:
        together |= {name: FileEntry.model_validate(entry) for name, entry in json.loads(text).items()}
    return together


def described(written: Mapping[str, Entry]) -> str:
    """What this rank wrote, for :func:`entries`."""
    return json.dumps({name: FileEntry.of(entry).model_dump() for name, entry in written.items()})
