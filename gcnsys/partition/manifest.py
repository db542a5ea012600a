"""What ``manifest.json`` of a partitioning holds; its format is explained in ``partitions/README.md``."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gcnsys.errors import DamagedFileError
from gcnsys.files import Entry, write

FORMAT: Final = "gcnsys-partitioning"
VERSION = 1
NAME = "manifest.json"
SEAL = "manifest.sha256"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class PartSummary(_Model):
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


class FileEntry(_Model):
    """See :class:`gcnsys.files.Entry`."""

    size: int = Field(ge=0)
    sha256: str
    arrays: dict[str, dict[str, Any]]

    def entry(self) -> Entry:
        return Entry(self.size, self.sha256, self.arrays)


class Manifest(_Model):
    """What a partitioning is, how it was made, and the checksums of its files.

    Attributes:
        dataset: the short name of what was cut; ``spec`` what it was loaded by.
        graph: digest of the edges, so that two partitionings of one graph can be told.
        order: of each part's inner nodes; partitionings made before there was a choice lack it.
        edge_cut: cut edges, an undirected one counted once.
        volume: rows that cross in one full exchange: the sum of halo sizes.
        notes: what was done to the data on the way.
    """

    format: Literal["gcnsys-partitioning"] = FORMAT
    version: int = VERSION
    made_by: str
    dataset: str
    spec: str
    graph: str
    num_nodes: int = Field(ge=1)
    num_edges: int = Field(ge=0)
    num_parts: int = Field(ge=1)
    num_features: int = Field(ge=1)
    num_classes: int = Field(ge=1)
    num_train: int
    num_val: int
    num_test: int
    multilabel: bool
    sparse_features: bool
    weighted: bool
    symmetric: bool
    inductive: bool
    normalization: str
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

    def write(self, folder: Path) -> None:
        """Write the manifest and the seal that guards it."""
        content = (self.model_dump_json(indent=1) + "\n").encode()
        write(folder / NAME, content)
        write(folder / SEAL, _seal(content))

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read and check a manifest.

        Raises:
            DamagedFileError: there is none, it was altered, or it is of another version.
        """
        path = folder / NAME
        try:
            content, seal = path.read_bytes(), (folder / SEAL).read_bytes()
        except OSError as error:
            raise DamagedFileError(
                f"{folder}: not a partitioning ({Path(error.filename).name} cannot be read: "
                f"{error.strerror}); make one with: gcnsys partition build"
            ) from error
        if _seal(content) != seal:
            raise DamagedFileError(f"{path}: {NAME} or {SEAL} was altered; build the partitioning again")
        try:
            about = json.loads(content)
            if about.get("format") != FORMAT or about.get("version") != VERSION:
                raise DamagedFileError(
                    f"{path}: format {about.get('format')!r} version {about.get('version')!r}, this gcnsys "
                    f"reads {FORMAT!r} version {VERSION}; build the partitioning again"
                )
            return cls.model_validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise DamagedFileError(f"{path}: field {field}: {first['msg']}") from error
        except (ValueError, AttributeError) as error:
            if isinstance(error, DamagedFileError):
                raise
            raise DamagedFileError(f"{path}: not JSON ({error}); build the partitioning again") from error

    @property
    def fingerprint(self) -> str:
        """A digest of everything the ranks read; equal partitionings have equal ones."""
        digest = hashlib.sha256()
        for name, entry in sorted(self.files.items()):
            digest.update(f"{name} {entry.sha256}\n".encode())
        return digest.hexdigest()[:16]


def _seal(content: bytes) -> bytes:
    return (hashlib.sha256(content).hexdigest() + "\n").encode()
