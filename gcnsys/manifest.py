"""What a folder of arrays says of itself: ``manifest.json``, and a seal beside it that notices changes."""

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gcnsys.errors import DamagedFileError
from gcnsys.files import Entry, write

NAME = "manifest.json"
SEAL = "manifest.sha256"

_MOST_BYTES = 1 << 28

Described = TypeVar("Described", bound="Description")


class Description(BaseModel):
    """The base of all manifests: nothing missing, nothing unknown, no type stands for another."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FileEntry(Description):
    """See :class:`gcnsys.files.Entry`."""

    size: int = Field(ge=0)
    sha256: str
    arrays: dict[str, dict[str, Any]]

    def entry(self) -> Entry:
        return Entry(self.size, self.sha256, self.arrays)

    @classmethod
    def of(cls, entry: Entry) -> "FileEntry":
        return cls(size=entry.size, sha256=entry.sha256, arrays=entry.arrays)


def seal(folder: Path, manifest: Description) -> None:
    """Write a folder's manifest and the seal that guards it."""
    content = (manifest.model_dump_json(indent=1) + "\n").encode()
    write(folder / NAME, content)
    write(folder / SEAL, _seal(content))


def unseal(
    folder: Path, kind: type[Described], *, what: str, found_by: str, remedy: str, expected: tuple[str, int]
) -> Described:
    """Read and check a folder's manifest.

    Args:
        folder: where it is.
        kind: of manifest.
        what: the folder should be, for messages.
        found_by: how a person comes by one.
        remedy: what to do about one that is damaged.
        expected: its format and version.

    Raises:
        DamagedFileError: there is none, it was altered, or it is of another version.
    """
    path = folder / NAME
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DamagedFileError(f"{path}: larger than any {what} needs; {remedy}")
        content, seal = path.read_bytes(), (folder / SEAL).read_bytes()
    except OSError as error:
        raise DamagedFileError(
            f"{folder}: not a {what} ({Path(error.filename or path).name} cannot be read: {error.strerror}); "
            f"{found_by}"
        ) from error
    if _seal(content) != seal:
        raise DamagedFileError(f"{path}: {NAME} or {SEAL} was altered; {remedy}")
    try:
        about = json.loads(content)
        if (about.get("format"), about.get("version")) != expected:
            raise DamagedFileError(
                f"{path}: format {about.get('format')!r} version {about.get('version')!r}, this gcnsys "
                f"reads {expected[0]!r} version {expected[1]}; {remedy}"
            )
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise DamagedFileError(f"{path}: field {field}: {first['msg']}") from error
    except DamagedFileError:
        raise
    except (ValueError, AttributeError, RecursionError) as error:
        raise DamagedFileError(f"{path}: not JSON ({error}); {remedy}") from error


def _seal(content: bytes) -> bytes:
    return (hashlib.sha256(content).hexdigest() + "\n").encode()
