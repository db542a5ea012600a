"""The folder of a run: what it was asked, what it did each epoch, what came out.

``config.toml`` (resolved), ``metrics.jsonl`` (a line an epoch), ``summary.json``, and the weights
``best.safetensors`` (by validation) and ``final.safetensors``; ``scaling.safetensors`` where features were
standardized, by what. Only rank 0 writes.
"""

import contextlib
import fcntl
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from gcnsys.datasets.scaling import Scaling
from gcnsys.errors import InputError
from gcnsys.files import move_into_place, save_arrays, write, write_json
from gcnsys.train.checkpoint import Checkpoints, run_folder
from gcnsys.train.config import RunConfig
from gcnsys.train.journal import Journal

CONFIG, METRICS, SUMMARY, SCALING = "config.toml", "metrics.jsonl", "summary.json", "scaling.safetensors"


def plain(value: Any) -> Any:
    """A value as JSON knows it: numbers that are not finite become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value


def default_folder(home: Path, name: str) -> Path:
    """A folder for a new run that does not exist yet: ``home/name-date-time[-n]``."""
    stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    for number in range(1000):
        folder = home / (stem if number == 0 else f"{stem}-{number}")
        if not folder.exists():
            return folder
    raise InputError(f"{home}: too many runs named {stem}; give --out")


class RunFolder:
    """A run's folder, being filled.

    Args:
        path: must not hold a run yet unless ``overwrite``.
        config: written when the run starts.
        overwrite: start over in a folder that holds one.

    Raises:
        InputError: there is a run already.
    """

    def __init__(self, path: Path, config: RunConfig, *, overwrite: bool = False) -> None:
        self.check(path, overwrite=overwrite)
        self.path, self.config = path, config
        self._handle: int | None = None
        self._journal: Journal | None = None

    def holds(self, run: Path) -> bool:
        """Whether a run, or the run of a checkpoint, is this one."""
        return run_folder(run).resolve() == self.path.resolve()

    def begin(self, done: int, *, own: bool) -> None:
        """Start a run, or take one up after so many epochs; nothing stands in the way of the next.

        Args:
            done: epochs.
            own: they were done in this folder.

        Raises:
            InputError: another process is filling this folder.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock()
        kept = b"".join(self._logged(done)) if own else b""
        Checkpoints(self.path).clean(above=done if own else 0)
        for name in (SUMMARY, SCALING, "best.safetensors", "final.safetensors"):
            (self.path / name).unlink(missing_ok=True)
        for trace in self.path.glob("trace-*.json"):
            trace.unlink()
        write(self.path / METRICS, kept)
        write(self.path / CONFIG, self.config.toml().encode())
        self._journal = Journal(self.path / METRICS)

    def _lock(self) -> None:
        self._handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise InputError(
                f"{self.path}: another process is training in this folder; wait for it, end it, or choose "
                f"another --out"
            ) from error

    def close(self) -> None:
        """Let others fill this folder."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def mark(self) -> Path:
        """A new file in the folder."""
        handle, name = tempfile.mkstemp(prefix=".here-", dir=self.path.resolve())
        os.close(handle)
        return Path(name)

    def _logged(self, epoch: int) -> Iterator[bytes]:
        """The lines of so many epochs; one that a crash cut short is none."""
        with contextlib.suppress(FileNotFoundError):
            for line in (self.path / METRICS).read_bytes().splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    if json.loads(line)["epoch"] < epoch:
                        yield line + b"\n"

    @staticmethod
    def check(path: Path, *, overwrite: bool) -> None:
        """Refuse a folder that holds a run already."""
        if (path / CONFIG).exists() and not overwrite:
            raise InputError(f"{path} holds a run already; choose another --out or pass --overwrite")

    def log(self, record: Mapping[str, Any]) -> None:
        """Add a line to ``metrics.jsonl``, before long.

        Raises:
            OSError: one before it could not be written.
        """
        assert self._journal is not None
        self._journal.add(json.dumps(plain(record)))

    def settle(self) -> None:
        """Wait until all lines of ``metrics.jsonl`` lie on the disk.

        Raises:
            OSError: one could not be written.
        """
        if self._journal is not None:
            self._journal.settle()

    def save_weights(self, name: str, state: Mapping[str, Tensor]) -> None:
        """Write ``NAME.safetensors`` whole or not at all."""
        self._save(f"{name}.safetensors", {key: tensor.detach().cpu() for key, tensor in state.items()})

    def save_scaling(self, scaling: Scaling | None) -> None:
        """Write by what features were standardized, if they were."""
        if scaling is not None and scaling.how == "standard":
            self._save(SCALING, {"mean": scaling.mean, "deviation": scaling.deviation})

    def _save(self, name: str, arrays: Mapping[str, Tensor]) -> None:
        temporary = self.path / f".{name}.tmp"
        save_arrays(temporary, arrays)
        move_into_place(temporary, self.path / name)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json``."""
        write_json(self.path / SUMMARY, plain(summary))
