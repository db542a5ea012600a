"""Dataset names: ``name[:argument]`` -> a loader."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from gcnsys.datasets.dataset import Dataset, Split
from gcnsys.datasets.held_out import hold_out
from gcnsys.datasets.normalize import Normalization, normalized
from gcnsys.datasets.scaling import Scaling
from gcnsys.errors import InputError
from gcnsys.registry import Registry

Loader = Callable[[str], Mapping[str, Any]]
"""The text after the colon -> arrays under the names of the npz schema."""

loaders: Registry[Loader] = Registry("dataset", "gcnsys.datasets")


def _late(module: str, function: str = "read") -> Loader:
    """A loader whose module is imported when it is used: some take seconds."""

    def read(argument: str) -> Mapping[str, Any]:
        arrays: Mapping[str, Any] = getattr(import_module(f"gcnsys.datasets.{module}"), function)(argument)
        return arrays

    return read


for _kind in ("digits", "synthetic", "ogb", "dgl", "pyg"):
    loaders.register(_kind)(_late(_kind))
loaders.register("npz")(_late("npz", "read_npz"))
loaders.register("npy")(_late("npz", "read_npy"))


def short_name(spec: str) -> str:
    """What a dataset is called in folders and reports: ``npz:data/cora.npz`` -> ``cora``."""
    kind, _, argument = spec.partition(":")
    if kind in ("npz", "npy"):
        return Path(argument).resolve().stem or kind
    return spec.replace(":", "-").replace("/", "-").replace(",", "-").replace("=", "")


def canonical(spec: str) -> str:
    """Spell a dataset out: a bare path to an ``.npz`` file or an array folder gets its kind."""
    if ":" not in spec:
        path = Path(spec)
        if path.suffix == ".npz":
            return f"npz:{spec}"
        if (path / "edge_index.npy").is_file():
            return f"npy:{spec}"
    return spec


def load(
    spec: str, *, split: Split | None = None, undirected: bool = True,
    normalization: Normalization | Scaling = "auto",
) -> Dataset:  # fmt: skip
    """Load a dataset by name.

    Args:
        spec: ``digits``, ``npz:PATH``, ``npy:DIR``, ``synthetic:...``, ``ogb:NAME``, ``dgl:NAME``,
            ``pyg:NAME``, a plug-in's name, or the bare path of an npz file.
        split: shares and seed, used where the dataset brings no masks, or of links; or of nothing: no labels
            are needed.
        undirected: add the reverse of every edge.
        normalization: of the features; ``auto`` is the published default of this dataset, a scaling that of
            another one.

    Raises:
        InputError: nothing of that name, or its content cannot be used.
    """
    spec = canonical(spec)
    kind, _, argument = spec.partition(":")
    if not kind:
        raise InputError(f"a dataset is name[:argument], got {spec!r}; known: {', '.join(loaders.names())}")
    arrays = loaders.get(kind)(argument)
    dataset = Dataset.from_arrays(short_name(spec), arrays, split)
    if undirected:
        dataset = dataset.undirected()
    if split is not None and split.of == "links":
        dataset = hold_out(dataset, split)
    return normalized(dataset, normalization)
