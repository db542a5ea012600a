"""What the readers of other packages' data share: where files lie, how their loaders are run."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcnsys.errors import GcnsysError, InputError

Array = NDArray[Any]


def data_root() -> Path:
    """Where ``ogb:``, ``dgl:`` and ``pyg:`` look for data and put what they fetch."""
    return Path(os.environ.get("GCNSYS_DATA_ROOT") or "data").expanduser()


@contextlib.contextmanager
def foreign_code(spec: str, folder: Path) -> Iterator[None]:
    """Run another package's loader: its chatter goes to standard error, its warnings nowhere.

    If it fails, empty folders it has made are removed again.

    Raises:
        InputError: it failed; one sentence with the dataset, the folder and the cause.
    """
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        if absent:
            for path in (*sorted(folder.rglob("*"), reverse=True), *absent):
                with contextlib.suppress(OSError):
                    path.rmdir()
        if isinstance(error, GcnsysError):
            raise
        lines = str(error).splitlines() or ["no message"]
        cause = f"{type(error).__name__}: {lines[0][:300]}"
        raise InputError(
            f"{spec}: could not be read from {folder} or fetched to it ({cause}); put its files there, or "
            f"set GCNSYS_DATA_ROOT to the folder that has them"
        ) from error


def labels(y: Array) -> Array:
    """Class numbers ``[N]`` int64 out of ``[N]`` or ``[N, 1]``, -1 for NaN; other targets as they are."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 1 and y.dtype.kind == "f":
        y = np.where(np.isnan(y), -1, y)
        return y.astype(np.int64) if np.array_equal(y, np.floor(y)) else y
    return y
