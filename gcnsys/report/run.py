"""A run as its folder tells it."""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from gcnsys.errors import DamagedFileError, InputError
from gcnsys.partition import Manifest
from gcnsys.train.folder import CONFIG, METRICS, SUMMARY
from gcnsys.train.summary import score_name

KINDS = ("compute", "comm", "reduce")
"""What an epoch's time goes to."""


_NEEDED = (
    "dataset", "model", "method", "parts", "epochs", "best_val_acc", "test_acc_at_best_val", "final_loss",
    "epoch_seconds_median", "bytes_sent_per_epoch", "exchange_buffer_bytes", "peak_rss_bytes",
    "seconds_total",
)  # fmt: skip
"""Of a summary."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run, finished or going on.

    Attributes:
        name: of the folder.
        folder: where it is.
        epochs: records of ``metrics.jsonl``.
        summary: of ``summary.json``; empty while the run goes on.
        config: of ``config.toml``.
    """

    name: str
    folder: Path
    epochs: list[dict[str, Any]]
    summary: dict[str, Any]
    config: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "Run":
        """Read a run folder; a run that is still going is fine.

        Raises:
            InputError: it is not one, a file of it cannot be read, or nothing was recorded yet.
        """
        epochs = _records(folder / METRICS)
        if not epochs:
            raise InputError(f"{folder}: no epoch was recorded yet; wait for the first one")
        try:
            config = tomllib.loads((folder / CONFIG).read_text(encoding="utf-8"))
            path = folder / SUMMARY
            summary = json.loads(path.read_text()) if path.exists() else {}
        except OSError as error:
            raise InputError(f"{error.filename}: {error.strerror}; name a run's folder") from error
        except ValueError as error:
            raise InputError(
                f"{folder}: {CONFIG} or {SUMMARY} was altered ({error}); train the run again"
            ) from error
        missing = [key for key in _NEEDED if path.exists() and key not in summary]
        if missing:
            raise InputError(f"{path}: {missing[0]} is missing; train the run again")
        return cls(folder.resolve().name, folder, epochs, summary, config)

    @property
    def finished(self) -> bool:
        return bool(self.summary)

    @property
    def score(self) -> str:
        """What its ``acc`` figures are."""
        return score_name(self.summary)

    @property
    def label(self) -> str:
        """Its name as a picture's text: no mathematics, and not hidden by an underscore in front."""
        name = self.name.replace("$", r"\$")
        return f" {name}" if name.startswith("_") else name

    def series(self, key: str) -> tuple[list[int], list[float]]:
        """Epochs, from 1, and values of a figure, where it was recorded."""
        pairs = [(e["epoch"] + 1, e[key]) for e in self.epochs if e.get(key) is not None]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]

    def by_time(self, key: str) -> tuple[list[float], list[float]]:
        """Seconds of training, evaluation not counted, and values of a figure."""
        clock = accumulate(e["seconds"] for e in self.epochs)
        pairs = [(at, e[key]) for at, e in zip(clock, self.epochs, strict=True) if e.get(key) is not None]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]

    def rank_seconds(self) -> dict[str, list[float]]:
        """A median epoch's seconds by :data:`KINDS`, a rank each; of rank 0 alone where no more is known."""
        if "seconds_by_rank" in self.summary:
            return {kind: self.summary["seconds_by_rank"][kind] for kind in KINDS}
        found = {}
        for kind in KINDS:
            values = sorted(self.series(f"{kind}_seconds")[1][1:] or self.series(f"{kind}_seconds")[1])
            found[kind] = [values[len(values) // 2]]
        return found

    def partitioning(self) -> Manifest:
        """What the run was trained on, if that is still there.

        Raises:
            InputError: it is not, or was cut again.
        """
        folder = Path(self.config.get("data", ""))
        if not folder.is_dir():
            raise InputError(f"{self.config.get('data')} is not a partitioning's folder here")
        try:
            manifest = Manifest.read(folder)
        except DamagedFileError as error:
            raise InputError(str(error)) from error
        if self.summary.get("partitioning", manifest.fingerprint) != manifest.fingerprint:
            raise InputError(f"{folder} was cut again after the run")
        return manifest


def begun(folder: Path) -> bool:
    """Whether a folder is a run's, which has recorded an epoch."""
    path = folder / METRICS
    return path.is_file() and path.stat().st_size > 0


def read_all(folders: Sequence[Path]) -> list[Run]:
    """Read runs; those whose folders have the same name are called by their paths."""
    runs = [Run.read(folder) for folder in folders]
    names = [run.name for run in runs]
    return [
        replace(run, name=str(run.folder)) if names.count(run.name) > 1 else run for run in runs
    ]  # fmt: skip


def _records(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not text"
        raise InputError(
            f"{path.parent}: not a run's folder ({METRICS}: {why}); gcnsys train fills one"
        ) from error
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            timed = {key: float(record[key]) for key in ("seconds", *(f"{kind}_seconds" for kind in KINDS))}
            records.append(record | timed | {"epoch": int(record["epoch"])})
        except (ValueError, TypeError, KeyError) as error:
            if number < len(lines):  # the last line may be half-written
                raise InputError(f"{path}: line {number} is not the record of an epoch") from error
    return records
