"""Kill -9 of a random rank at a random moment: torchrun starts all again, and nothing is lost."""

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.faults.launched import TORCHRUN, Launched

METHODS = {
    "vanilla": ["--method", "vanilla"],
    "bns": ["--method", "bns", "--rate", "0.3"],
    "pipegcn-gf": ["--method", "pipegcn-gf"],
    "bns x pipeline x int8": [
        "--method",
        "bns",
        "--rate",
        "0.3",
        "--schedule",
        "pipeline",
        "--codec",
        "int8",
    ],
}
PARTS = (2, 3)
SETTINGS = [
    "--epochs", 400, "--hidden", 16, "--eval-every", 10, "--checkpoint-every", 20, "--keep-checkpoints", 2,
]  # fmt: skip


def command(parts: int, method: str, restarts: int) -> list[object]:
    """A run under torchrun."""
    torchrun = [*TORCHRUN, "--nproc-per-node", parts, "--max-restarts", restarts]
    return [*torchrun, "-m", "gcnsys", "train", "digits", "--out", "run", *SETTINGS, *METHODS[method]]


def trials(count: int, home: Path, seed: int) -> Iterator[dict[str, Any]]:
    """Runs that lose a rank, after one of each kind that does not."""
    whole: dict[tuple[str, int], tuple[bytes, float]] = {}
    chance = random.Random(seed)
    kinds, number = [(method, parts) for parts in PARTS for method in METHODS], 0
    while number < count:
        method, parts = kinds[number // 2 % len(kinds)]
        if (method, parts) not in whole:
            whole[method, parts] = _undisturbed(home, method, parts)
        expected, seconds = whole[method, parts]
        folder, rank = _fresh(home), chance.randrange(parts)
        with Launched(command(parts, method, 3), folder) as run:
            if number % 2:  # any moment of training, when checkpoints are written
                with contextlib.suppress(RuntimeError):  # it was over before
                    run.reaches(chance.randrange(400))
            else:  # any moment at all: while ranks start, train, or write the results
                time.sleep(chance.uniform(0, seconds))
            while rank not in (ranks := run.ranks()) and run.process.poll() is None:
                time.sleep(0.05)
            epoch, killed = run.logged(), rank in ranks
            with contextlib.suppress(ProcessLookupError):
                os.kill(ranks[rank], signal.SIGKILL) if killed else None
            code, said = run.ends()
        final = folder / "run" / "final.safetensors"
        same = code == 0 and final.exists() and final.read_bytes() == expected
        if killed or not same:  # else it was over before: another one
            number += 1
            yield {
                "fault": "kill -9", "method": method, "parts": parts, "rank": rank, "epoch": epoch,
                "outcome": "same weights" if same else f"LOST (code {code}: {said})",
            }  # fmt: skip


def _undisturbed(home: Path, method: str, parts: int) -> tuple[bytes, float]:
    folder, began = _fresh(home), time.monotonic()
    with Launched(command(parts, method, 0), folder) as run:
        code, said = run.ends()
    if code:
        raise RuntimeError(f"{method} on {parts} parts fails undisturbed: {said}\n{run.errors}")
    return (folder / "run" / "final.safetensors").read_bytes(), time.monotonic() - began


def _fresh(home: Path) -> Path:
    """An empty folder that keeps the partitionings."""
    folder = home / "kill"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "run", ignore_errors=True)
    return folder
