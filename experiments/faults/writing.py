"""Kill -9 while a partitioning or a checkpoint is written over an older one: the old state or the new one."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from gcnsys.datasets import Dataset, load
from gcnsys.manifest import FileEntry
from gcnsys.partition import Cutting, Partitioning, build
from gcnsys.train.checkpoint import SHARED, Checkpoints, Manifest, State, rank_file, write_state

Writer = Callable[[int], None]
"""Writes the state of a number."""


def trials(count: int, home: Path, seed: int) -> Iterator[dict[str, Any]]:
    """Writers that are killed; each is a child of this process, which has all it needs in memory."""
    chance = random.Random(seed)
    folder = home / "writing"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    kinds: dict[str, Any] = {"partitioning": _Partitionings(folder), "checkpoint": _Checkpoints(folder)}
    for name, kind in kinds.items():
        kind.write(0)
        began = time.monotonic()
        kind.write(1)
        seconds, now = time.monotonic() - began, 1
        for _ in range(count // len(kinds)):
            wait = chance.uniform(0, 1.2 * seconds)
            killed = _killed_after(wait, kind.write, now + 1)
            found = kind.read()
            good = found in (now, now + 1)
            now = found if good else now
            kind.write(now)  # whoever writes next clears what the killed one left
            left = kind.leftovers()
            outcome = "WRONG" if not good else "LEFTOVERS" if left else "whole, old or new"
            yield {
                "fault": "kill -9 of a writer", "writes": name, "after_seconds": round(wait, 4),
                "killed": killed, "outcome": outcome, "left": left,
            }  # fmt: skip


def _killed_after(wait: float, write: Writer, number: int) -> bool:
    child = os.fork()
    if child == 0:
        write(number)
        os._exit(0)
    time.sleep(wait)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


class _Partitionings:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "parts"
        self.dataset: Dataset = load("digits")

    def write(self, number: int) -> None:
        """A partitioning whose number is its seed."""
        build(self.dataset, Cutting(3, "random", seed=number), self.folder, overwrite=True)

    def read(self) -> int:
        """The number of the one that is there, every byte of it checked."""
        found = Partitioning.open(self.folder)
        assert all(wrong is None for _, wrong in found.verify()), "a mixture"
        return found.manifest.seed

    def leftovers(self) -> list[str]:
        return sorted(path.name for path in self.folder.parent.iterdir() if path.name.startswith(".parts"))


class _Checkpoints:
    """Two ranks' files and the model's, megabytes each, as a run writes them."""

    def __init__(self, folder: Path) -> None:
        self.run = folder / "run"

    def write(self, number: int) -> None:
        kept = Checkpoints(self.run, keep=1)
        kept.clean()
        folder = kept.unfinished(number + 1)
        folder.mkdir(parents=True, exist_ok=True)
        names = [SHARED, rank_file(0), rank_file(1)]
        state = State({"numbers": torch.full((300_000,), float(number))}, {})
        files = {name: FileEntry.of(write_state(folder / name, state)) for name in names}
        kept.complete(number + 1, Manifest(
            epoch=number + 1, parts=2, spec="", graph="", partitioning="", data={}, settings={}, files=files,
        ))  # fmt: skip

    def read(self) -> int:
        latest = Checkpoints(self.run).latest()
        assert latest is not None, "nothing is left"
        numbers = {
            float(value)
            for name in latest.manifest.files
            for value in latest.state(name).arrays["numbers"][:3]
        }
        assert numbers == {latest.manifest.epoch - 1.0}, "a mixture"
        return latest.manifest.epoch - 1

    def leftovers(self) -> list[str]:
        return sorted(
            path.name for path in Checkpoints(self.run).folder.iterdir() if path.name.startswith(".")
        )
