"""A training run on real ranks that something is about to happen to."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

TORCHRUN = ("-m", "torch.distributed.run", "--standalone")


def state_of(pid: int) -> list[str]:
    """A process's state, its parent's id and more, as the kernel tells them."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def alive(pid: int) -> bool:
    """Whether a process runs, or could."""
    try:
        return state_of(pid)[0] not in "ZX"
    except OSError:
        return False


class Launched:
    """A launcher and the ranks below it.

    Args:
        command: of the launcher, without the interpreter.
        folder: to work in.
        run: the run's folder in it.
    """

    def __init__(self, command: Sequence[object], folder: Path, *, run: str = "run") -> None:
        self.metrics, self.errors = folder / run / "metrics.jsonl", ""
        environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.process = subprocess.Popen(
            [sys.executable, *map(str, command)], cwd=folder, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> "Launched":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            for pid in self.ranks().values():
                os.kill(pid, signal.SIGKILL)
            self.process.kill()
        self.process.communicate()

    def ranks(self) -> dict[int, int]:
        """The process id of each rank that runs."""
        found: dict[int, int] = {}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environment = (process / "environ").read_bytes().split(b"\0")
                rank = [int(value[5:]) for value in environment if value.startswith(b"RANK=")]
                if rank and self.process.pid in _ancestors(int(process.name)):
                    found[rank[0]] = int(process.name)
        return found

    def logged(self) -> int:
        """How many epochs are in the run's metrics."""
        return self.metrics.read_bytes().count(b"\n") if self.metrics.exists() else 0

    def reaches(self, epoch: int, limit: float = 120.0) -> "Launched":
        """Wait until so many epochs are logged."""
        began = time.monotonic()
        while self.logged() < epoch:
            if self.process.poll() is not None:
                raise RuntimeError(f"the run ended: {self.process.communicate()}")
            if time.monotonic() - began > limit:
                raise TimeoutError(f"no epoch {epoch} within {limit:.0f} s")
            time.sleep(0.02)
        return self

    def ends(self, limit: float = 300.0) -> tuple[int, list[str]]:
        """The launcher's exit code, and the sentences of gcnsys."""
        _, self.errors = self.process.communicate(timeout=limit)
        return self.process.returncode, [
            line for line in self.errors.splitlines() if line.startswith("gcnsys:")
        ]


def _ancestors(pid: int) -> list[int]:
    found: list[int] = []
    while pid > 1:
        pid = int(state_of(pid)[1])
        found.append(pid)
    return found
