"""A trace of a few epochs: what a rank did when, as Chrome's trace events, which Perfetto opens.

What is shown are torch's operators and the names of :mod:`gcnsys.runtime.labels`. Each rank writes a file of
its own, on its own machine. Recording costs time, so figures of the epochs traced are not those of others.
"""

import os
import tempfile
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from gcnsys.files import move_into_place

EPOCHS = 3
"""How many are traced; the one before them, if there is one, warms caches up."""


def trace_file(folder: Path, rank: int) -> Path:
    """Where a rank's trace lies in a run's folder."""
    return folder / f"trace-{rank}.json"


class Tracing:
    """Traces the epochs of a run after its first one; to be closed by whoever leaves early.

    Args:
        path: of the trace.
        epochs: that the run will take; of a single one, that one is traced.
    """

    def __init__(self, path: Path, epochs: int) -> None:
        self.path, self._first = path, min(1, epochs - 1)
        self._done, self._running, self._profile = 0, False, _profile()
        if self._first == 0:
            self._begin()

    def after_epoch(self) -> None:
        """An epoch is over, its evaluation included."""
        self._done += 1
        if self._done == self._first:
            self._begin()
        elif self._done == self._first + EPOCHS:
            self.finish()

    def finish(self) -> None:
        """Write what was traced, unless that is done."""
        if not self._running:
            return
        self.close()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".trace-", dir=self.path.parent) as folder:
            temporary = Path(folder) / self.path.name
            self._profile.export_chrome_trace(str(temporary))
            move_into_place(temporary, self.path)

    def close(self) -> None:
        """Trace no more."""
        if self._running:
            self._running = False
            self._profile.stop()

    def _begin(self) -> None:
        self._profile.start()
        self._running = True


def _profile() -> profile:
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # its own lines would stand among those of training
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    return profile(activities=activities)
