"""What ``manifest.json`` of a partitioning holds; its format is explained in ``partitions/README.md``."""

import hashlib
import re
from pathlib import Path
from typing import Final, Literal

import torch
from pydantic import Field, field_validator

from gcnsys.datasets.scaling import Scaling
from gcnsys.manifest import Description, FileEntry, seal, unseal

FORMAT: Final = "gcnsys-partitioning"
VERSION = 1

_FILE = re.compile(r"part-\d{5}/(graph|exchange|nodes|links)\.safetensors")


class PartSummary(Description):
    """The size of one part.

    Attributes:
        inner, halo, boundary: nodes owned, remote nodes copied, rows sent (over all receivers).
        inner_edges, halo_edges: edges that end here, by where they start.
        train, val, test: labelled inner nodes under each mask.
        sends: rows to each part.
        train_sends: rows to each part in the training graph.
    """

    inner: int
    halo: int
    boundary: int
    inner_edges: int
    halo_edges: int
    train: int
    val: int
    test: int
    sends: list[int]
    train_sends: list[int]


class Manifest(Description):
    """What a partitioning is, how it was made, and the checksums of its files.

    Attributes:
        dataset: the short name of what was cut; ``spec`` what it was loaded by.
        graph: digest of the edges, so that two partitionings of one graph can be told.
        nodes: digest of features, labels and masks; partitionings made before there was one lack it.
        edge_features: how many a graph's edges have; 0: none, or made before there were any.
        edge_kinds, node_kinds: how many there are; 0: nothing is said of kinds.
        order: of each part's inner nodes; partitionings made before there was a choice lack it.
        edge_cut: cut edges, an undirected one counted once.
        volume: rows that cross in one full exchange: the sum of halo sizes.
        regression: nodes have numbers instead of classes; ``num_classes`` says how many.
        held_out: how many edges are held out for validation and for testing, where links are what is learnt;
            None: nodes are.
        normalization: what features were scaled by; earlier partitionings may say ``auto``.
        mean, deviation: numbers a column that ``standard`` scaled them by; earlier partitionings lack them.
        mirrored: edges without a reverse one were given it; None: made before that was noted.
        notes: what was done to the data on the way.
    """

    format: Literal["gcnsys-partitioning"] = FORMAT
    version: int = VERSION
    made_by: str
    dataset: str
    spec: str
    graph: str
    nodes: str = ""
    num_nodes: int = Field(ge=1)
    num_edges: int = Field(ge=0)
    num_parts: int = Field(ge=1)
    num_features: int = Field(ge=1)
    num_classes: int = Field(ge=1)
    num_train: int
    num_val: int
    num_test: int
    multilabel: bool
    regression: bool = False
    sparse_features: bool
    weighted: bool
    symmetric: bool
    edge_features: int = Field(0, ge=0)
    edge_kinds: int = Field(0, ge=0)
    node_kinds: int = Field(0, ge=0)
    held_out: tuple[int, int] | None = None
    inductive: bool
    normalization: str
    mean: list[float] = Field(default_factory=list)
    deviation: list[float] = Field(default_factory=list)
    mirrored: bool | None = None
    method: str
    objective: str
    balance: str
    order: str = "natural"
    seed: int
    edge_cut: int
    volume: int
    seconds: dict[str, float]
    notes: list[str]
    parts: list[PartSummary]
    files: dict[str, FileEntry]

    @field_validator("files")
    @classmethod
    def _lie_in_the_folder(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        for name in files:
            if not _FILE.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of a part's file")
        return files

    @property
    def scaling(self) -> Scaling | None:
        """What the features were scaled by, where that was noted; otherwise None."""
        how, numbers = self.normalization, (torch.tensor(self.mean), torch.tensor(self.deviation))
        if how == "standard":
            return Scaling("standard", *numbers) if self.mean else None
        return Scaling("row") if how == "row" else Scaling() if how == "none" else None

    def write(self, folder: Path) -> None:
        """Write the manifest and the seal that guards it."""
        seal(folder, self)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read and check a manifest.

        Raises:
            DamagedFileError: there is none, it was altered, or it is of another version.
        """
        return unseal(
            folder, cls, what="partitioning", found_by="make one with: gcnsys partition build",
            remedy="build the partitioning again", expected=(FORMAT, VERSION),
        )  # fmt: skip

    @property
    def fingerprint(self) -> str:
        """A digest of everything the ranks read; equal partitionings have equal ones."""
        digest = hashlib.sha256()
        for name, entry in sorted(self.files.items()):
            digest.update(f"{name} {entry.sha256}\n".encode())
        return digest.hexdigest()[:16]
