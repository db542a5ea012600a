"""``npz:PATH`` and ``npy:DIR``: arrays on disk, never pickled objects."""

import math
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from gcnsys.datasets.dataset import Dataset
from gcnsys.errors import DamagedFileError, InputError
from gcnsys.files import move_into_place, named, new_folder

NAMES = (
    "edge_index", "edge_weight", "edge_attr", "edge_type", "node_type", "is_symmetric",
    "x", "x_indptr", "x_indices", "x_data", "x_shape",
    "y", "target", "train_mask", "val_mask", "test_mask",
)  # fmt: skip

_ODD = (ValueError, OverflowError, RecursionError, SyntaxError, tokenize.TokenError)
"""What reading a header that makes no sense may raise."""

_ZIP_END = 22 + 65535  # bytes that a zip file's last record may take
_MOST_DEFLATED = 1040  # bytes that one compressed byte can stand for


def read_npz(argument: str) -> Mapping[str, Any]:
    """Read an ``.npz`` file."""
    path = _existing(argument, "npz:PATH")
    if path.is_dir():
        raise InputError(f"{path}: npz: takes one archive; for a folder of .npy files use npy:{path}")
    with path.open("rb") as file:
        magic = file.read(6)
    if magic.startswith(b"\x93NUMPY"):
        raise InputError(f"{path}: a single array, not an .npz archive of named ones")
    if not magic.startswith(b"PK"):
        raise DamagedFileError(f"{path}: not an .npz archive; copy or make it again")
    try:
        return _members(path)
    except InputError:
        raise
    except _ODD as error:
        raise _unreadable(path, error) from error
    # RuntimeError: encrypted, or (NotImplementedError) compressed in a way that is not known here.
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, RuntimeError) as error:
        raise DamagedFileError(f"{path}: not a whole .npz file ({error}); copy or make it again") from error


def _members(path: Path) -> dict[str, Any]:
    # ``np.load`` reads no further than an array's header says and never asks whether the
    # directory is whole: an altered byte in either would go unnoticed, all checksums passed.
    arrays: dict[str, Any] = {}
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        file.seek(max(0, path.stat().st_size - _ZIP_END))
        end = file.read()
        at = end.rindex(b"PK\x05\x06")
        if int.from_bytes(end[at + 10 : at + 12], "little") != min(len(archive.infolist()), 0xFFFF):
            raise zipfile.BadZipFile("its directory is not whole")
        for member in archive.infolist():
            with archive.open(member) as content:
                name = member.filename.removesuffix(".npy")
                if name in NAMES:
                    packed = min(member.compress_size, path.stat().st_size)
                    if member.file_size > _MOST_DEFLATED * packed + _ZIP_END:
                        raise zipfile.BadZipFile(f"{member.filename} cannot be as large as it says")
                    _check_size(content, member.file_size)
                    arrays[name] = _read(content, path, member.file_size)
                    if content.read(1):
                        raise zipfile.BadZipFile(f"{member.filename} goes on after its end")
    return arrays


def read_npy(argument: str) -> Mapping[str, Any]:
    """Map a folder of ``NAME.npy`` files into memory, copy on write."""
    folder = _existing(argument, "npy:DIR")
    if not folder.is_dir():
        raise InputError(f"{folder}: npy: takes a folder of .npy files; for one archive use npz:{folder}")
    arrays: dict[str, Any] = {}
    for name in NAMES:
        path = folder / f"{name}.npy"
        if path.is_file():
            try:
                arrays[name] = _array(path)
            except _ODD as error:
                raise _unreadable(path, error) from error
            except (OSError, EOFError) as error:
                raise DamagedFileError(f"{path}: not a whole .npy file ({error}); make it again") from error
    return arrays


def _array(path: Path) -> np.ndarray[Any, Any]:
    # ``np.load`` would take whatever it finds: an archive, or a pickle to complain about.
    if path.stat().st_size > 4096:
        with path.open("rb") as file:
            _header(file)
        return np.lib.format.open_memmap(path, mode="c")
    with path.open("rb") as file:
        _check_size(file, path.stat().st_size)
        array: np.ndarray[Any, Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _read(file: IO[bytes], path: Path, size: int) -> np.ndarray[Any, Any]:
    try:
        array: np.ndarray[Any, Any] = np.lib.format.read_array(file, allow_pickle=False)
    except MemoryError as error:
        raise InputError(
            f"{path}: an array of {size / 2**30:.1f} GiB does not fit into this machine's memory; convert it "
            f"on a larger one (gcnsys data convert npz:{path} DIR), and read npy:DIR"
        ) from error
    return array


def _check_size(file: IO[bytes], size: int) -> None:
    """Refuse an array whose header asks for other memory than its bytes fill; none is allocated for it."""
    shape, dtype = _header(file)
    needed = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and needed != size - file.tell():
        raise ValueError(f"its header asks for {needed} bytes where {size - file.tell()} follow")
    file.seek(0)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and the type of an array, from a file's beginning."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = read(file)
    except MemoryError as error:  # Python's parser, of what is nested too deep
        raise ValueError("its header makes no sense") from error
    return shape, dtype


def save(dataset: Dataset, path: Path, *, overwrite: bool = False) -> None:
    """Write a dataset: an ``.npz`` file if ``path`` ends so, else a folder of ``.npy`` files.

    Args:
        dataset: as it was prepared: edges both ways if it was made undirected, its masks in any case.
        path: whole or not there, should writing fail.
        overwrite: replace what is there.

    Raises:
        InputError: there is something already.
    """
    arrays = dataset.to_arrays()
    if path.suffix != ".npz":
        with new_folder(path, holding="edge_index.npy", overwrite=overwrite) as folder:
            for name, array in arrays.items():
                np.save(folder / f"{name}.npy", array, allow_pickle=False)
        return
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; choose another name or pass --overwrite")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.tmp.npz")
    try:
        with named(path):
            np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
        move_into_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _existing(argument: str, usage: str) -> Path:
    path = Path(argument).expanduser()
    if not argument or not path.exists():
        raise InputError(f"{argument or usage}: no such file or folder; give a dataset as {usage}")
    return path


def _unreadable(path: Path, error: Exception) -> InputError:
    if "pickle" in str(error).lower() or "Python objects" in str(error):
        return InputError(f"{path}: holds pickled Python objects, which are never loaded; store plain arrays")
    return DamagedFileError(f"{path}: not a whole array file ({error}); copy or make it again")
