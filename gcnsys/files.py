"""Files that are whole or not there, and that notice when they are altered.

Everything gcnsys writes goes to a temporary name beside its place, is flushed to the disk, and is
renamed. Arrays live in safetensors files; an :class:`Entry` remembers their checksums.
"""

import contextlib
import ctypes
import errno
import fcntl
import glob
import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import save_file
from torch import Tensor

from gcnsys.errors import DamagedFileError, InputError

CHUNK = 1 << 22  # bytes read at a time while hashing
_SECONDS_A_DAY = 86_400


def flush(path: Path) -> None:
    """Make sure that a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):  # one that comes of writing does not know the name
            error.filename = str(path)
        raise
    flush(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON document whole or not at all."""
    write(path, (json.dumps(value, indent=1) + "\n").encode())


def move_into_place(temporary: Path, path: Path) -> None:
    """Flush a file that was filled under a temporary name beside ``path``, and give it that name."""
    temporary.chmod(0o644)
    flush(temporary)
    os.replace(temporary, path)
    flush(path.parent)


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Let an error of the system that comes of writing, and does not know a name, say which it was."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # NumPy's, of a disk that took less than it was given
            raise OSError(errno.ENOSPC, str(error), str(path)) from error
        if error.filename is None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def new_folder(path: Path, *, holding: str, overwrite: bool = False) -> Iterator[Path]:
    """Fill a temporary folder that becomes ``path`` when the block ends, or vanishes if it raises.

    Args:
        path: where it will be.
        holding: a file that every such folder holds; one without it is never overwritten.
        overwrite: replace what is there.

    Raises:
        InputError: ``path`` exists and may not be overwritten.
    """
    path = Path(os.path.realpath(path))  # where a link leads, so that both lie on one disk
    if path.parent.is_dir():
        remove_leftovers(path)
    refuse_existing(path, overwrite=overwrite, holding=holding)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=_prefix(path), suffix=".tmp", dir=path.parent))
    handle = os.open(temporary, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with named(path):
            yield temporary
        os.chmod(temporary, 0o755)
        for entry in sorted(temporary.rglob("*")):
            entry.chmod(0o755 if entry.is_dir() else 0o644)
            flush(entry)
        flush(temporary)
        _put_in_place(temporary, path)
        flush(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    finally:
        os.close(handle)


def refuse_existing(path: Path, *, overwrite: bool, holding: str | None = None) -> None:
    """Find out before the work whether its result may be kept.

    Args:
        path: where it will be.
        overwrite: replace what is there.
        holding: the result is a folder with such a file, and only one like it is replaced.

    Raises:
        InputError: there is something already that may not be overwritten.
    """
    if not path.exists():
        return
    if not overwrite:
        raise InputError(f"{path} exists; choose another --out or pass --overwrite")
    if holding is None:
        return
    if not path.is_dir():
        raise InputError(f"{path} is not a folder; choose another --out")
    if any(path.iterdir()) and not (path / holding).exists():
        raise InputError(f"{path} holds something else (there is no {holding}); choose another --out")


def remove_leftovers(path: Path) -> None:
    """Put right what writers of a folder left behind that were killed: what nobody holds a lock on.

    Locks on a shared disk may be known to the machine alone that has them, so that what another machine
    writes is left to it for a day.
    """
    for kind in ("tmp", "old"):
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.{kind}"):
            with contextlib.suppress(OSError):
                ours = left.name.startswith(_prefix(path))
                if not ours and time.time() - left.stat().st_mtime < _SECONDS_A_DAY:
                    continue
                handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if kind == "old" and not path.exists():  # killed between its two steps
                        os.replace(left / path.name, path)
                    shutil.rmtree(left, ignore_errors=True)
                finally:
                    os.close(handle)


def _prefix(path: Path) -> str:
    """How what this machine writes beside a folder begins."""
    return f".{path.name}.{hashlib.sha256(platform.node().encode()).hexdigest()[:8]}."


def _put_in_place(temporary: Path, path: Path) -> None:
    if not path.exists():
        os.replace(temporary, path)
        return
    # A folder that is not empty cannot be replaced, but two can change places at once.
    if _exchange(temporary, path):
        shutil.rmtree(temporary, ignore_errors=True)
        return
    # Where that is not known, step the old one aside, and back if anything fails.
    aside = Path(tempfile.mkdtemp(prefix=_prefix(path), suffix=".old", dir=path.parent))
    handle = os.open(aside, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        os.replace(path, aside / path.name)
        try:
            os.replace(temporary, path)
        except BaseException:
            os.replace(aside / path.name, path)
            aside.rmdir()
            raise
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        os.close(handle)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places, whatever happens meanwhile; False where the system does not know how."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return int(rename(here, os.fsencode(one), here, os.fsencode(other), exchange)) == 0


def sha256(path: Path) -> str:
    """The digest of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def checksum(array: np.ndarray[Any, Any]) -> int:
    """The CRC-32 of an array's bytes; any single altered byte changes it."""
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a file of arrays must look like.

    Attributes:
        size: in bytes.
        sha256: of all its bytes.
        arrays: for each array its dtype, shape and CRC-32.
    """

    size: int
    sha256: str
    arrays: dict[str, dict[str, Any]]

    def check(self, path: Path, name: str, *, remedy: str = "build the partitioning again") -> None:
        """Compare a file with this entry.

        Args:
            path: where it is.
            name: what messages call it.
            remedy: what to do where they differ.

        Raises:
            DamagedFileError: it is missing, truncated or altered; arrays are named where they can be.
        """
        if not path.is_file():
            raise DamagedFileError(f"{name}: the file is missing; {remedy}")
        size = path.stat().st_size
        if size != self.size:
            raise DamagedFileError(f"{name}: {size} bytes where {self.size} were written; {remedy}")
        if sha256(path) != self.sha256:
            where = self._where(path)
            raise DamagedFileError(f"{name}: altered since it was written ({where}); {remedy}")

    def _where(self, path: Path) -> str:
        try:
            arrays = load_arrays(path, name=path.name)
            wrong = [
                name for name, about in self.arrays.items()
                if name not in arrays or checksum(arrays[name].numpy()) != about["crc32"]
            ]  # fmt: skip
        except DamagedFileError:
            return "its header cannot be read"
        return f"array {', '.join(wrong)}" if wrong else "its header"


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray[Any, Any] | Tensor]) -> Entry:
    """Write arrays to a safetensors file (not yet flushed: see :func:`new_folder`)."""
    plain = {
        name: np.asarray(array.numpy() if isinstance(array, Tensor) else array, order="C")
        for name, array in arrays.items()
    }
    try:
        save_file(plain, path)
    except safetensors.SafetensorError as error:
        raise InputError(
            f"{path}: cannot be written ({error}); free space or choose another place"
        ) from error
    about = {
        name: {"dtype": str(array.dtype), "shape": list(array.shape), "crc32": checksum(array)}
        for name, array in plain.items()
    }
    return Entry(path.stat().st_size, sha256(path), about)


def load_arrays(path: Path, *, name: str) -> dict[str, Tensor]:
    """Map a safetensors file into memory; pages are read when they are touched.

    Raises:
        DamagedFileError: it is missing or not such a file.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise DamagedFileError(f"{name}: the file is missing; build it again") from error
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise DamagedFileError(
            f"{name}: not a readable safetensors file ({error}); build it again"
        ) from error
