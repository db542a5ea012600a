"""Random alterations of every kind of file that is read: refused in a sentence, or of no effect."""

import hashlib
import json
import os
import random
import resource
import shutil
import struct
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gcnsys.datasets import load
from gcnsys.errors import GcnsysError
from gcnsys.manifest import NAME, SEAL
from gcnsys.partition import Cutting, Partitioning, build
from gcnsys.runtime import Placement
from gcnsys.testing.ranks import run_ranks
from gcnsys.train import RunConfig
from gcnsys.train.checkpoint import named
from gcnsys.train.folder import RunFolder
from gcnsys.train.resume import check_graph, check_settings
from gcnsys.train.run import run_part

MEMORY = 1 << 30
"""Bytes that reading may take beside what the process holds already; the files are megabytes."""


def trials(count: int, home: Path, seed: int) -> Iterator[dict[str, Any]]:
    """Alterations of a partitioning, a checkpoint, an archive, a folder of arrays and a run file, in turn."""
    chance = random.Random(seed)
    good, work = home / "damage", home / "damaged"
    shutil.rmtree(good, ignore_errors=True)
    good.mkdir(parents=True)
    child = os.fork()  # ranks leave threads behind, and a process with threads cannot be forked safely
    if child == 0:
        _make(good)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("the files to alter could not be made")
    expected = {kind: read(good) for kind, read in READERS.items()}
    kinds = list(READERS)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        how, path = _altered(good, work, kind, chance)
        outcome, said = _tried(kind, work, expected[kind])
        yield {
            "fault": how, "file": kind, "name": path.name, "outcome": outcome, "said": said[:300],
        }  # fmt: skip


def _altered(good: Path, work: Path, kind: str, chance: random.Random) -> tuple[str, Path]:
    """Copy the files and alter one until it differs; how, and which."""
    while True:
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(good, work)
        files = sorted(path for path in FILES[kind](work) if path.is_file())
        path = chance.choice(files)
        how = chance.choice([name for name, (fits, _) in ALTERATIONS.items() if fits(path)])
        if path.name == NAME and chance.random() < 0.7:
            how = "resealed"
        ALTERATIONS[how][1](path, files, chance)
        if any(path.read_bytes() != (good / path.relative_to(work)).read_bytes() for path in files):
            return how, path


def _tried(kind: str, work: Path, expected: str) -> tuple[str, str]:
    """What reading comes to, in a process of its own with little memory."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiving)
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
        try:
            found = READERS[kind](work)
            same = found == expected or kind in UNSEALED
            told = ("no effect", "") if same else ("SILENT", "the data changed")
        except GcnsysError as error:
            told = ("refused", str(error)) if "\n" not in str(error).strip() else ("MANY LINES", str(error))
        except BaseException:
            told = "TRACEBACK", traceback.format_exc()[-300:]
        os.write(sending, json.dumps(told).encode())
        os._exit(0)
    os.close(sending)
    with os.fdopen(receiving, "rb") as pipe:
        text = pipe.read()
    status = os.waitpid(child, 0)[1]
    return tuple(json.loads(text)) if text else ("CRASH", f"status {status}")


def _settings(home: Path) -> dict[str, Any]:
    return {"data": str(home / "parts"), "epochs": 2, "hidden": 8, "method": "pipegcn-gf"}


def _make(home: Path) -> None:
    """One of each, small."""
    generator = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "edge_index": generator.integers(0, 200, (2, 900)), "y": generator.integers(0, 4, 200),
        "x": generator.standard_normal((200, 9)).astype(np.float32),
    }  # fmt: skip
    np.savez_compressed(home / "graph.npz", **arrays)
    (home / "arrays").mkdir()
    for name, array in arrays.items():
        np.save(home / "arrays" / f"{name}.npy", array)
    dataset = load(f"npz:{home / 'graph.npz'}")
    partitioning = build(dataset, Cutting(2, "random"), home / "parts")
    config = RunConfig.checked(_settings(home))
    (home / "run.toml").write_text(config.toml())

    def on_rank(comm: Any) -> None:
        folder = RunFolder(home / "run", config) if comm.rank == 0 else None
        run_part(partitioning, config, comm, Placement(torch.device("cpu"), "gloo"), folder)

    run_ranks(2, on_rank)


def _digest(tensors: Iterator[Any]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(repr((str(tensor.dtype), tuple(tensor.shape))).encode() + np.asarray(tensor).tobytes())
    return digest.hexdigest()


def _read_partitioning(home: Path) -> str:
    found = Partitioning.open(home / "parts")
    parts = [found.part(rank, checked=True) for rank in range(found.num_parts)]
    about = [part.whole.inner.indices for part in parts] + [part.nodes.y for part in parts]
    return found.manifest.fingerprint + _digest(iter([*about, *(part.nodes.x for part in parts)]))


def _read_checkpoint(home: Path) -> str:
    """As a run reads it that goes on."""
    checkpoint = named(home / "run")
    config = RunConfig.checked({**_settings(home), "epochs": 9})
    check_settings(checkpoint, config)
    check_graph(checkpoint, Partitioning.open(home / "parts"))
    states = [checkpoint.state(name) for name in sorted(checkpoint.manifest.files)]
    arrays = _digest(array for state in states for _, array in sorted(state.arrays.items()))
    return arrays + str([state.about for state in states])


def _read_graph(home: Path, spec: str) -> str:
    dataset = load(f"{spec}{home / ('graph.npz' if spec == 'npz:' else 'arrays')}")
    return _digest(array for _, array in sorted(dataset.to_arrays().items()))


def _read_run_file(home: Path) -> str:
    return RunConfig.checked(RunConfig.read(home / "run.toml")).toml()


READERS: dict[str, Callable[[Path], str]] = {
    "partitioning": _read_partitioning,
    "checkpoint": _read_checkpoint,
    "npz": lambda home: _read_graph(home, "npz:"),
    "npy": lambda home: _read_graph(home, "npy:"),
    "run file": _read_run_file,
}

FILES: dict[str, Callable[[Path], list[Path]]] = {
    "partitioning": lambda home: list((home / "parts").rglob("*")),
    "checkpoint": lambda home: list((home / "run" / "checkpoints").rglob("*")),
    "npz": lambda home: [home / "graph.npz"],
    "npy": lambda home: list((home / "arrays").iterdir()),
    "run file": lambda home: [home / "run.toml"],
}


def _flipped(path: Path, files: list[Path], chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice((1, 1, 1, 8))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def _truncated(path: Path, files: list[Path], chance: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size)])


def _lengthened(path: Path, files: list[Path], chance: random.Random) -> None:
    path.write_bytes(path.read_bytes() + chance.randbytes(chance.randrange(1, 5000)))


def _exchanged(path: Path, files: list[Path], chance: random.Random) -> None:
    other = chance.choice(files)
    mine, its = path.read_bytes(), other.read_bytes()
    path.write_bytes(its)
    other.write_bytes(mine)


def _zeroed(path: Path, files: list[Path], chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    start = chance.randrange(len(content))
    content[start : start + 64] = bytes(len(content[start : start + 64]))
    path.write_bytes(content)


def _huge(path: Path, files: list[Path], chance: random.Random) -> None:
    """Some number in a header or document becomes a very large one."""
    content = path.read_bytes()
    if path.suffix == ".safetensors" and chance.random() < 0.5:
        path.write_bytes(struct.pack("<Q", 1 << chance.randrange(20, 63)) + content[8:])
        return
    digits = [at for at, byte in enumerate(content[:20_000]) if 48 <= byte < 58]
    if not digits:
        _flipped(path, files, chance)
        return
    at = chance.choice(digits)
    path.write_bytes(content[:at] + b"99999999999999" + content[at + 1 :])


def _another_dtype(path: Path, files: list[Path], chance: random.Random) -> None:
    content = path.read_bytes()
    pairs = [
        (b'"F32"', b'"I32"'),
        (b'"I64"', b'"F64"'),
        (b'"I32"', b'"F32"'),
        (b"<f4", b"<i4"),
        (b"<i8", b"<f8"),
    ]
    for before, after in pairs:
        content = content.replace(before, after, 1)
    path.write_bytes(content)


def _resealed(path: Path, files: list[Path], chance: random.Random) -> None:
    """A manifest rewritten by somebody who knows of the seal."""
    about = json.loads(path.read_text())
    names = list(about["files"])
    name = chance.choice(names)
    what = chance.randrange(5)
    if what == 0:
        about["files"][chance.choice(("../../../../etc/passwd", "/etc/passwd", "part-00000/../../x"))] = (
            about["files"].pop(name)
        )
    elif what == 1:
        about["files"][name]["size"] = 1 << 60
    elif what == 2:
        array = chance.choice(list(about["files"][name]["arrays"]))
        about["files"][name]["arrays"][array]["shape"] = [1 << 40]
    elif what == 3:
        about["version"] = chance.choice((0, 2, "1", None))
    else:
        about[chance.choice(list(about))] = chance.choice((None, [], {}, -1, "x"))
    text = json.dumps(about).encode()
    path.write_bytes(text)
    (path.parent / SEAL).write_text(hashlib.sha256(text).hexdigest() + "\n")


UNSEALED = ("run file", "npy")
"""What has no checksum: it says what it says, or cannot be read."""

Alteration = Callable[[Path, list[Path], random.Random], None]

ALTERATIONS: dict[str, tuple[Callable[[Path], bool], Alteration]] = {
    "bits flipped": (lambda path: path.stat().st_size > 0, _flipped),
    "truncated": (lambda path: path.stat().st_size > 0, _truncated),
    "lengthened": (lambda path: True, _lengthened),
    "exchanged": (lambda path: True, _exchanged),
    "zeroed": (lambda path: path.stat().st_size > 0, _zeroed),
    "a huge number": (lambda path: path.stat().st_size > 8, _huge),
    "another dtype": (lambda path: path.suffix in (".safetensors", ".npz"), _another_dtype),
    "resealed": (lambda path: path.name == NAME, _resealed),
}
