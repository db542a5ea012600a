"""Islands and a plan of shared sums as a folder: ``manifest.json``, its seal, and ``islands.safetensors``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from gcnsys.errors import DamagedFileError, InputError
from gcnsys.files import load_arrays, new_folder, save_arrays
from gcnsys.graph import CSR, Graph
from gcnsys.islands.locate import Islands
from gcnsys.islands.plan import ReusePlan
from gcnsys.manifest import NAME, Description, FileEntry, seal, unseal

FILE = "islands.safetensors"
_FORMAT: Literal["gcnsys-islands"] = "gcnsys-islands"
_VERSION: Literal[1] = 1


class Manifest(Description):
    """What a folder of islands says of itself."""

    format: Literal["gcnsys-islands"] = _FORMAT
    version: Literal[1] = _VERSION
    dataset: str
    rule: str
    settings: dict[str, float | None]
    num_nodes: int = Field(ge=0)
    num_levels: int = Field(ge=0)
    files: dict[str, FileEntry]


@dataclass(frozen=True, eq=False, slots=True)
class Saved:
    """What a folder holds."""

    manifest: Manifest
    islands: Islands
    plan: ReusePlan


def save(
    folder: Path, islands: Islands, plan: ReusePlan, *, dataset: str, rule: str,
    settings: dict[str, float | None], overwrite: bool = False,
) -> None:  # fmt: skip
    """Write a folder whole or not at all.

    Raises:
        InputError: there is one already, or something else.
    """
    graph = islands.graph.adjacency
    arrays = {"island_of": islands.island_of, "graph.indptr": graph.indptr, "graph.indices": graph.indices}
    for number, part in enumerate((*plan.levels, plan.rows)):
        arrays |= {f"plan.{number}.indptr": part.indptr, f"plan.{number}.indices": part.indices}
    if plan.rows.weight is not None:
        arrays["plan.weight"] = plan.rows.weight
    with new_folder(folder, holding=NAME, overwrite=overwrite) as temporary:
        entry = FileEntry.of(save_arrays(temporary / FILE, arrays))
        seal(temporary, Manifest(
            dataset=dataset, rule=rule, settings=settings, num_nodes=islands.graph.num_nodes,
            num_levels=len(plan.levels), files={FILE: entry},
        ))  # fmt: skip


def load(folder: Path) -> Saved:
    """Read a folder, every byte of it checked.

    Raises:
        DamagedFileError: it is none, or was altered.
    """
    remedy = "find the islands again"
    manifest = unseal(
        folder, Manifest, what="folder of islands", found_by="gcnsys islandize DATA --out makes one",
        remedy=remedy, expected=(_FORMAT, _VERSION),
    )  # fmt: skip
    if FILE not in manifest.files:
        raise DamagedFileError(f"{folder / NAME}: {FILE} is not listed; {remedy}")
    manifest.files[FILE].entry().check(folder / FILE, str(folder / FILE), remedy=remedy)
    arrays, count = load_arrays(folder / FILE, name=str(folder / FILE)), manifest.num_nodes
    try:
        graph = Graph(_matrix(arrays, "graph", count), True)
        levels, width = [], count
        for number in range(manifest.num_levels):
            levels.append(_matrix(arrays, f"plan.{number}", width))
            width += levels[-1].num_rows
        rows = _matrix(arrays, f"plan.{manifest.num_levels}", width, arrays.get("plan.weight"))
        island_of = arrays["island_of"]
    except (KeyError, InputError) as error:
        raise DamagedFileError(f"{folder / FILE}: {error}; {remedy}") from error
    if island_of.dtype != torch.int64 or island_of.shape != (count,) or rows.num_rows != count:
        raise DamagedFileError(f"{folder / FILE}: arrays do not fit {count} nodes; {remedy}")
    return Saved(manifest, Islands(graph, island_of), ReusePlan(tuple(levels), rows))


def _matrix(arrays: dict[str, Tensor], name: str, num_cols: int, weight: Tensor | None = None) -> CSR:
    csr = CSR(arrays[f"{name}.indptr"], arrays[f"{name}.indices"], num_cols, weight)
    return csr.check(name)
