"""A polarized graph as a folder: what an accelerator's model reads, and the graph as a dataset.

``manifest.json`` and its seal; ``polarized.safetensors`` with the layout, class and group of each subgraph,
the original graph in that order and the masks over its edges; ``graph.npz``, the polarized dataset in the
same order; ``parts``, the same as a partitioning; ``report.json``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from gcnsys.datasets import Dataset
from gcnsys.datasets.npz import save as save_dataset
from gcnsys.datasets.scaling import Scaling
from gcnsys.errors import DamagedFileError, InputError
from gcnsys.files import Entry, load_arrays, new_folder, save_arrays, sha256, write_json
from gcnsys.graph import CSR, Graph, Layout
from gcnsys.manifest import NAME, Description, FileEntry, seal, unseal
from gcnsys.partition import Cutting, build
from gcnsys.polarize.prune import kept_graph
from gcnsys.polarize.split import Split
from gcnsys.train.folder import plain

FILE, DATASET, REPORT, PARTS = "polarized.safetensors", "graph.npz", "report.json", "parts"
_FORMAT: Literal["gcnsys-polarized"] = "gcnsys-polarized"
_VERSION: Literal[1] = 1
_REMEDY = "polarize the graph again"


class Manifest(Description):
    """What a folder of a polarized graph says of itself."""

    format: Literal["gcnsys-polarized"] = _FORMAT
    version: Literal[1] = _VERSION
    dataset: str
    model: str
    num_nodes: int = Field(ge=0)
    num_edges: int = Field(ge=0)
    num_kept: int = Field(ge=0)
    symmetric: bool
    thresholds: list[float]
    masks: list[str]
    files: dict[str, FileEntry]


@dataclass(frozen=True, eq=False, slots=True)
class Saved:
    """What a folder holds. Letters: E edges of the original graph.

    Attributes:
        manifest: what it says of itself.
        division: layout, and class and group of each subgraph.
        original: the graph before, in the order of the layout.
        masks: ``[E]`` bool each: edges kept after a step, by name; the last is what is kept in the end.
        factors: ``[E]`` of the original's edges; None: they do not count.
    """

    manifest: Manifest
    division: Split
    original: Graph
    masks: dict[str, Tensor]
    factors: Tensor | None

    @property
    def graph(self) -> Graph:
        """The polarized graph, in the order of the layout."""
        return kept_graph(self.original, self.masks[self.manifest.masks[-1]], self.factors)


def save(
    folder: Path, division: Split, original: Graph, masks: Mapping[str, Tensor], dataset: Dataset,
    report: Mapping[str, Any], *, model: str, cutting: Cutting, factors: Tensor | None = None,
    overwrite: bool = False,
) -> None:  # fmt: skip
    """Write a folder whole or not at all.

    Args:
        folder: where to.
        division: of the nodes.
        original: the graph before, in the order of the layout.
        masks: over its edges, by the name of the step; the last is what is kept.
        dataset: the polarized one, in that order.
        report: figures.
        model: that it was tuned for.
        cutting: of the polarized graph into parts.
        factors: weights of edges, where they count.
        overwrite: replace what is there.

    Raises:
        InputError: there is one already, or something else.
    """
    layout, adjacency = division.layout, original.adjacency
    arrays = {
        "order": layout.order, "group_ptr": layout.group_ptr, "class_of": division.class_of,
        "group_of": division.group_of, "graph.indptr": adjacency.indptr, "graph.indices": adjacency.indices,
    }  # fmt: skip
    arrays |= {f"mask.{name}": mask for name, mask in masks.items()}
    if adjacency.weight is not None:
        arrays["graph.weight"] = adjacency.weight
    if factors is not None:
        arrays["factors"] = factors
    with new_folder(folder, holding=NAME, overwrite=overwrite) as temporary:
        files = {FILE: FileEntry.of(save_arrays(temporary / FILE, arrays))}
        save_dataset(dataset, temporary / DATASET)
        write_json(temporary / REPORT, plain(dict(report)))
        stored = replace(dataset, scaling=Scaling())  # its file holds what was scaled
        build(stored, cutting, temporary / PARTS, spec=f"npz:{folder / DATASET}")
        for name in (DATASET, REPORT):
            path = temporary / name
            files[name] = FileEntry.of(Entry(path.stat().st_size, sha256(path), {}))
        seal(temporary, Manifest(
            dataset=dataset.name, model=model, num_nodes=original.num_nodes, num_edges=original.num_edges,
            num_kept=dataset.graph.num_edges, symmetric=original.is_symmetric,
            thresholds=list(division.thresholds), masks=list(masks), files=files,
        ))  # fmt: skip


def load(folder: Path) -> Saved:
    """Read a folder, every byte of what describes it checked; ``parts`` has checks of its own.

    Raises:
        DamagedFileError: it is none, or was altered.
    """
    manifest = unseal(
        folder, Manifest, what="folder of a polarized graph",
        found_by="gcnsys polarize DATA --out makes one", remedy=_REMEDY, expected=(_FORMAT, _VERSION),
    )  # fmt: skip
    if not {FILE, DATASET, REPORT} <= set(manifest.files):
        raise DamagedFileError(f"{folder / NAME}: a file is not listed; {_REMEDY}")
    for name, entry in manifest.files.items():
        entry.entry().check(folder / name, str(folder / name), remedy=_REMEDY)
    arrays, count = load_arrays(folder / FILE, name=str(folder / FILE)), manifest.num_nodes
    try:
        csr = CSR(arrays["graph.indptr"], arrays["graph.indices"], count, arrays.get("graph.weight"))
        graph = Graph(csr.check("graph"), manifest.symmetric)
        layout = Layout(arrays["order"], arrays["group_ptr"])
        division = Split(layout, arrays["class_of"], arrays["group_of"], tuple(manifest.thresholds))
        masks = {name: arrays[f"mask.{name}"] for name in manifest.masks}
        fits = layout.order.numel() == count == graph.num_nodes and bool(masks)
        fits &= all(each.shape == (layout.num_groups,) for each in (division.class_of, division.group_of))
        fits &= all(mask.shape == (graph.num_edges,) and mask.dtype == torch.bool for mask in masks.values())
        fits &= "factors" not in arrays or arrays["factors"].shape == (graph.num_edges,)
    except (KeyError, InputError) as error:
        raise DamagedFileError(f"{folder / FILE}: {error}; {_REMEDY}") from error
    if not fits:
        raise DamagedFileError(f"{folder / FILE}: arrays do not fit {count} nodes; {_REMEDY}")
    return Saved(manifest, division, graph, masks, arrays.get("factors"))
