"""Ranks that stop, are cut off, run out of disk or raise: the others end in time and the run says which."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.faults.launched import TORCHRUN, Launched, alive
from experiments.runfile import ROOT
from gcnsys.train.checkpoint import Checkpoints

TIMEOUT = 5.0
"""Seconds after which a silent rank counts as gone; survivors have 5 more."""

KINDS = ("SIGSTOP", "link down", "disk full", "exception in a model", "exception in a sampler")
SETTINGS = [
    "--epochs", 100_000, "--hidden", 16, "--eval-every", 10, "--checkpoint-every", 20, "--timeout", TIMEOUT,
]  # fmt: skip
METHODS = (["--method", "vanilla"], ["--method", "bns", "--rate", "0.3"], ["--method", "pipegcn-gf"])


def trials(count: int, home: Path, seed: int) -> Iterator[dict[str, Any]]:
    """Runs that one of :data:`KINDS` happens to."""
    chance = random.Random(seed)
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        folder = home / "silence"
        shutil.rmtree(folder / "run", ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        parts = 2 if kind == "link down" else chance.choice((2, 3))
        rank, epoch = chance.randrange(parts), chance.randrange(30, 200)
        method = chance.choice(METHODS)
        record = HAPPENS[kind](folder, parts, rank, epoch, method)
        loads = _loads(folder / "run", parts)
        good = record["in_time"] and record["named"] and loads
        yield {
            "fault": kind, "method": method[1], "parts": parts, "rank": rank, "epoch": epoch, **record,
            "checkpoint_loads": loads, "outcome": "ended in time, named, kept" if good else "WRONG",
        }  # fmt: skip


def _train(parts: int, method: list[str], *, script: tuple[object, ...] = ("-m", "gcnsys")) -> list[object]:
    return [
        *TORCHRUN,
        "--nproc-per-node",
        parts,
        *script,
        "train",
        "digits",
        "--out",
        "run",
        *SETTINGS,
        *method,
    ]


def _stopped(folder: Path, parts: int, rank: int, epoch: int, method: list[str]) -> dict[str, Any]:
    with Launched(_train(parts, method), folder).reaches(epoch) as run:
        ranks = run.ranks()
        os.kill(ranks[rank], signal.SIGSTOP)
        seconds = _survived([pid for other, pid in ranks.items() if other != rank])
        with contextlib.suppress(ProcessLookupError):
            os.kill(ranks[rank], signal.SIGCONT)
        _, said = run.ends()
    return _record(said, seconds, TIMEOUT + 5, f"rank {rank} on", "silent")


def _cut_off(folder: Path, parts: int, rank: int, epoch: int, method: list[str]) -> dict[str, Any]:
    cluster = [ROOT / "launch" / "emulated_cluster.sh", parts, "1gbit", "0", "--", "-m", "gcnsys", "train"]
    command = [*cluster, "digits", "--out", "run", *SETTINGS, *method]
    with Launched([*_SHELL, *command], folder).reaches(epoch) as run:
        ranks = run.ranks()
        device = ["nsenter", "-t", str(ranks[rank]), "-n", "ip", "link", "set", "eth0", "down"]
        subprocess.run(device, check=True)
        seconds = _survived(list(ranks.values()))
        run.ends()
        said = [line for line in run.errors.splitlines() if "gcnsys: " in line]
    # Each side sees the other as silent; the launcher's store, on rank 0's machine, is heard by rank 0 alone.
    other = _record(said, seconds, TIMEOUT + 5, "rank 1 on", "silent")
    cut = _record(said, seconds, TIMEOUT + 5, "rank 1 lost contact", "launcher's store")
    return {**other, "named": other["named"] and cut["named"]}


_SHELL = ("-c", "import os, sys; os.execvp('bash', ['bash', *sys.argv[1:]])")


def _disk_full(folder: Path, parts: int, rank: int, epoch: int, method: list[str]) -> dict[str, Any]:
    disk = folder / "run"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "gcnsys-faults", str(disk)], check=True)
    try:
        with Launched([*_train(parts, method), "--overwrite"], folder).reaches(epoch) as run:
            ranks = run.ranks()
            with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
                while True:
                    filler.write(b"x" * 65536)
            seconds = _survived(list(ranks.values()), limit=60.0)
            _, said = run.ends()
        kept = folder / "kept"
        shutil.rmtree(kept, ignore_errors=True)
        (disk / "filler").unlink()
        shutil.copytree(disk, kept)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    disk.rmdir()
    kept.rename(disk)
    # How soon depends on when a checkpoint is due: from then on all leave together.
    return _record(said, seconds, 60.0, "gcnsys: rank ", "cannot write to", "No space left")


def _raises(folder: Path, parts: int, rank: int, epoch: int, method: list[str]) -> dict[str, Any]:
    return _exception("model", folder, parts, rank, epoch, method)


def _sampler_raises(folder: Path, parts: int, rank: int, epoch: int, method: list[str]) -> dict[str, Any]:
    return _exception("sampler", folder, parts, rank, epoch, ["--rows", "failing", "--method", "custom"])


def _exception(
    where: str, folder: Path, parts: int, rank: int, epoch: int, method: list[str]
) -> dict[str, Any]:
    script = (ROOT / "experiments" / "faults" / "failing.py", where, rank, epoch)
    with Launched(_train(parts, method, script=script), folder).reaches(epoch) as run:
        ranks = run.ranks()
        seconds = _survived([pid for other, pid in ranks.items() if other != rank])
        run.ends()
        said = [line for line in run.errors.splitlines() if "an error of the user" in line]
    return _record(said, seconds, TIMEOUT + 5, "an error of the user's own")


def _survived(pids: list[int], limit: float = TIMEOUT + 30) -> float:
    """How long processes went on."""
    began = time.monotonic()
    while any(alive(pid) for pid in pids) and time.monotonic() - began < limit:
        time.sleep(0.02)
    return time.monotonic() - began


def _record(said: list[str], seconds: float, most: float, *words: str) -> dict[str, Any]:
    """What came of it; one of the sentences must hold all of the words."""
    named = any(all(word in line for word in words) for line in said)
    return {"seconds": round(seconds, 2), "in_time": seconds <= most, "named": named, "said": said}


def _loads(run: Path, parts: int) -> bool:
    latest = Checkpoints(run).latest()
    if latest is None:
        return False
    return all(latest.state(name).arrays is not None for name in latest.manifest.files)


HAPPENS = dict(zip(KINDS, (_stopped, _cut_off, _disk_full, _raises, _sampler_raises), strict=True))
