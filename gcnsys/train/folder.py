"""The folder of a run: what it was asked, what it did each epoch, what came out.

``config.toml`` (resolved), ``metrics.jsonl`` (a line an epoch), ``summary.json``, and the weights
``best.safetensors`` (by validation) and ``final.safetensors``. Only rank 0 writes.
"""

import contextlib
import json
import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.files import move_into_place, save_arrays, write, write_json
from gcnsys.train.checkpoint import Checkpoints
from gcnsys.train.config import RunConfig

CONFIG, METRICS, SUMMARY = "config.toml", "metrics.jsonl", "summary.json"


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

    def begin(self, done: int) -> None:
        """Start a run, or take one up after so many epochs; nothing stands in the way of the next."""
        Checkpoints(self.path).clean(above=done)
        if done:
            self._take_up(done)
        else:
            self._start()

    def _start(self) -> None:
        for name in (METRICS, SUMMARY, "best.safetensors", "final.safetensors"):
            (self.path / name).unlink(missing_ok=True)
        write(self.path / CONFIG, self.config.toml().encode())

    @staticmethod
    def check(path: Path, *, overwrite: bool) -> None:
        """Refuse a folder that holds a run already."""
        if (path / CONFIG).exists() and not overwrite:
            raise InputError(f"{path} holds a run already; choose another --out or pass --overwrite")

    def _take_up(self, epoch: int) -> None:
        kept = []
        with contextlib.suppress(FileNotFoundError):
            for line in (self.path / METRICS).read_bytes().splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):  # a line cut short by a crash
                    if json.loads(line)["epoch"] < epoch:
                        kept.append(line + b"\n")
        write(self.path / METRICS, b"".join(kept))
        (self.path / SUMMARY).unlink(missing_ok=True)
        write(self.path / CONFIG, self.config.toml().encode())

    def log(self, record: Mapping[str, Any]) -> None:
        """Add a line to ``metrics.jsonl``."""
        with (self.path / METRICS).open("a") as file:
            file.write(json.dumps(plain(record)) + "\n")

    def save_weights(self, name: str, state: Mapping[str, Tensor]) -> None:
        """Write ``NAME.safetensors`` whole or not at all."""
        temporary = self.path / f".{name}.safetensors.tmp"
        save_arrays(temporary, {key: tensor.detach().cpu() for key, tensor in state.items()})
        move_into_place(temporary, self.path / f"{name}.safetensors")

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json``."""
        write_json(self.path / SUMMARY, plain(summary))
