"""What tells whether a dataset has changed since it was read."""

from pathlib import Path
from typing import Any

from gcnsys.datasets.foreign import data_root
from gcnsys.datasets.spec import loaders
from gcnsys.errors import InputError

_MADE = ("digits", "synthetic")
"""Never change."""

_FOREIGN = ("ogb", "dgl", "pyg")
"""Lie under :func:`gcnsys.datasets.foreign.data_root`, and do not change there."""


def stamp(spec: str) -> list[Any] | None:
    """Lists, numbers and texts that differ once a dataset does; None: nobody can tell.

    Of ``npz:`` and ``npy:`` the name, size and date of each file. A plug-in's loader may have a
    function ``stamp(argument)`` of its own for this.

    Args:
        spec: a dataset, spelled out (:func:`gcnsys.datasets.spec.canonical`).
    """
    kind, _, argument = spec.partition(":")
    if kind in ("npz", "npy"):
        root = Path(argument).expanduser()
        files = sorted(root.glob("*.npy")) if root.is_dir() else [root] if root.exists() else []
        return [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    if kind in _MADE:
        return []
    if kind in _FOREIGN:
        return [str(data_root().resolve())]
    try:
        own = getattr(loaders.get(kind), "stamp", None)
    except InputError:  # a plug-in that is not to be had here: what was cut of its data may be
        return None
    return None if own is None else [own(argument)]
