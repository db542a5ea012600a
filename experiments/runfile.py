"""Run files of experiments: keys of ``RunConfig``, datasets named relative to the folder of real graphs."""

import os
from pathlib import Path
from typing import Any

from gcnsys.errors import InputError
from gcnsys.train import RunConfig

ROOT = Path(__file__).resolve().parents[1]


def data_folder() -> Path:
    """The folder of real graphs: ``GCNSYS_DATA``, or ``../shared/data`` beside the checkout.

    Raises:
        InputError: there is none.
    """
    folder = Path(os.environ.get("GCNSYS_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        raise InputError(f"no real graphs in {folder}; name their folder in GCNSYS_DATA")
    return folder


def read(path: Path, data: Path, /, **changes: Any) -> RunConfig:
    """A run file as a configuration.

    Args:
        path: of the run file; its ``data`` may be ``npz:NAME`` or ``npy:NAME`` in the data folder.
        data: that folder.
        changes: other values than the file's.

    Raises:
        InputError: it cannot be read, or says something that is no run.
    """
    values = RunConfig.read(path) | changes
    kind, colon, name = str(values.get("data", "")).partition(":")
    if kind in ("npz", "npy") and colon:
        values["data"] = f"{kind}:{data / name}"
    return RunConfig.checked(values)
