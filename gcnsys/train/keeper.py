"""Keeps a run: checkpoints while it goes on, a last one when it is stopped.

A checkpoint is taken between two epochs as copies in memory, and written by a thread beside the next
ones. That all ranks have written theirs is among their votes, so it becomes one when everybody knows.
"""

import contextlib
import errno
import logging
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from gcnsys.errors import GcnsysError, InputError
from gcnsys.files import Entry
from gcnsys.partition import Partitioning
from gcnsys.runtime import Comm
from gcnsys.train import state
from gcnsys.train.attempt import Attempt
from gcnsys.train.best import Best
from gcnsys.train.checkpoint import (
    SHARED,
    Checkpoints,
    Manifest,
    State,
    data_of,
    described,
    entries,
    rank_file,
    write_state,
)  # fmt: skip
from gcnsys.train.config import RunConfig
from gcnsys.train.folder import RunFolder
from gcnsys.train.stopping import Request, StoppedError
from gcnsys.train.trainer import Trainer
from gcnsys.train.votes import Votes

log = logging.getLogger(__name__)

LOSSES = 3
"""Checkpoints in a row that a rank may fail to write for a reason that passes."""

_PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EREMOTEIO, errno.ECONNRESET}
"""What a disk over a network says now and then, and not an hour later."""


def _passes(problem: Exception) -> bool:
    return isinstance(problem, OSError) and problem.errno in _PASSING


class Writing:
    """One rank's share of a checkpoint on its way to the disk.

    Args:
        folder: where it goes.
        states: by file name.
        epoch: after how many epochs they were taken.
    """

    def __init__(self, folder: Path, states: dict[str, State], epoch: int) -> None:
        self.epoch, self.written = epoch, dict[str, Entry]()
        self.problem: Exception | None = None
        self._folder, self._states = folder, states
        self._thread = threading.Thread(target=self._run, name="gcnsys-checkpoint")
        self._thread.start()

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def wait(self) -> None:
        """Until all is written, or one file cannot be."""
        self._thread.join()

    def _run(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for name, each in self._states.items():
                self.written[name] = write_state(self._folder / name, each)
        except Exception as problem:
            self.problem = problem
            # Half a file is of no use on a full disk; the folder stays, as others may be writing there.
            with contextlib.suppress(OSError):
                for name in self._states:
                    (self._folder / name).unlink(missing_ok=True)
        self._states = {}


class Keeper:
    """Decides when there is a checkpoint, writes it, and ends the run when that is asked for.

    Its ``ballot`` is the trainer's; :meth:`after` follows every epoch, on every rank.

    Args:
        trainer: of the run.
        best: of the run.
        config: of the run.
        partitioning: of the run.
        request: whether this process was asked to stop.
        folder: the run's, which all ranks see; None: no checkpoints.
        notes: the run's, on rank 0: what it says of epochs lies on the disk before a checkpoint of them does.
    """

    def __init__(
        self, trainer: Trainer, best: Best, config: RunConfig, partitioning: Partitioning, request: Request,
        folder: Path | None, notes: RunFolder | None = None,
    ) -> None:  # fmt: skip
        self.trainer, self.best, self.config, self.partitioning = trainer, best, config, partitioning
        self.request, self.folder, self.notes = request, folder, notes
        trainer.ballot = self.ballot
        self.seconds = 0.0
        self.problem: Exception | None = None
        self._checkpoints = None if folder is None else Checkpoints(folder, keep=config.keep_checkpoints)
        self._writing: Writing | None = None
        self._last, self._when, self._due = 0, time.monotonic(), False
        self._lost = 0

    @property
    def comm(self) -> Comm:
        return self.trainer.comm

    def ballot(self) -> Votes:
        """What this rank says at the end of an epoch."""
        writing, minutes = self._writing, self.config.checkpoint_minutes
        over = writing is not None and writing.over
        problem = writing.problem if writing is not None and over else None
        passing = problem is not None and _passes(problem)
        return Votes(
            stop=self.request.signal != 0,
            save=self.comm.rank == 0 and 0 < 60 * minutes <= time.monotonic() - self._when,
            written=over and problem is None, lost=passing,
            failed=(problem is not None and not passing) or self.problem is not None,
        )  # fmt: skip

    @contextlib.contextmanager
    def noting(self) -> Iterator[None]:
        """Take down what this rank alone fails at; all end together, after the next epoch."""
        try:
            yield
        except OSError as problem:
            self.problem = self.problem or problem

    def after(self, done: int) -> None:
        """What is to be done after so many epochs; collective.

        Raises:
            StoppedError: the run was asked to stop.
            GcnsysError: a rank cannot go on; the sentence is its own.
        """
        began, votes = time.perf_counter(), self.trainer.votes
        if votes.failed:
            self._fail()
        if votes.lost:
            self._give_up()
        if votes.written == self.comm.size:
            self._complete()
        if votes.stop:
            self._stop(done)
        every = self.config.checkpoint_every
        # One that falls due while another is being written follows it.
        self._due = self._due or votes.save > 0 or (every > 0 and done % every == 0)
        if self._due and self._writing is None:
            self._begin(done)
        self.seconds += time.perf_counter() - began

    def finish(self, done: int) -> None:
        """The checkpoint that a run ends with, from which more epochs can go on; collective."""
        if self._checkpoints is not None and done > 0:
            self._checkpoints.keep = 1
            self._save(done)

    def _begin(self, done: int) -> None:
        if self._checkpoints is None or done == self._last:
            return
        states = {rank_file(self.comm.rank): state.own(self.trainer)}
        if self.comm.rank == 0:
            states[SHARED] = state.shared(self.trainer, self.best)
        self._writing = Writing(self._checkpoints.unfinished(done), states, done)
        self._when, self._due = time.monotonic(), False

    def _give_up(self) -> None:
        """Do without a checkpoint that some rank could not write; the next is due as ever."""
        writing, checkpoints = self._writing, self._checkpoints
        assert writing is not None
        assert checkpoints is not None
        self._lost += 1
        with self.patient():
            writing.wait()
            if self._lost == LOSSES:
                self._fail()
            told = self.comm.texts(str(writing.problem or ""))
            with self.comm.agreed():
                if self.comm.rank == 0:
                    rank, why = next((rank, text) for rank, text in enumerate(told) if text)
                    log.warning(
                        "no checkpoint after epoch %d: rank %d could not write its share (%s); it is tried "
                        "again, and the one before it stays", writing.epoch, rank, why,
                    )  # fmt: skip
                    shutil.rmtree(checkpoints.unfinished(writing.epoch), ignore_errors=True)
        self._writing = None

    def _complete(self, stopped: int = 0) -> None:
        writing, checkpoints = self._writing, self._checkpoints
        assert writing is not None
        assert checkpoints is not None
        self.comm.doing("completing a checkpoint")
        with self.patient():
            texts = self.comm.texts(described(writing.written))
            with self.comm.agreed():
                if self.comm.rank == 0:
                    with self.noting():
                        if self.notes is not None:
                            self.notes.settle()
                        checkpoints.complete(writing.epoch, self._manifest(writing.epoch, texts, stopped))
                    self.check()
        self._writing, self._last, self._lost = None, writing.epoch, 0

    @contextlib.contextmanager
    def patient(self) -> Iterator[None]:
        """Wait longer for the others: slow disks may take as long as starting may."""
        patience, self.comm.timeout = self.comm.timeout, max(self.comm.timeout, self.config.startup_timeout)
        try:
            yield
        finally:
            self.comm.timeout = patience

    def _manifest(self, epoch: int, texts: list[str], stopped: int) -> Manifest:
        cut = self.partitioning.manifest
        return Manifest(
            epoch=epoch, parts=self.comm.size, spec=cut.spec, graph=cut.graph, partitioning=cut.fingerprint,
            data=data_of(cut), stopped=stopped, settings=self.config.model_dump(mode="json"),
            files=entries(texts),
        )  # fmt: skip

    def _save(self, done: int, stopped: int = 0) -> None:
        """Write a checkpoint now, and wait for it."""
        with self.patient():
            if self._writing is not None and not self._is_lost():
                self._await()
            self._begin(done)
            while self._writing is not None and self._is_lost():
                self._begin(done)
            if self._writing is not None:
                self._await(stopped)

    def _is_lost(self) -> bool:
        """Whether a checkpoint under way came to nothing for a reason that may have passed; collective."""
        assert self._writing is not None
        self.comm.doing("writing a checkpoint")
        self._writing.wait()
        problem = self._writing.problem
        lost = int(self.comm.add(torch.tensor([int(problem is not None and _passes(problem))]), "control"))
        if lost:
            self._give_up()
        return lost > 0

    def _await(self, stopped: int = 0) -> None:
        with self.comm.agreed():
            self.check()
        self._complete(stopped)

    def _stop(self, done: int) -> None:
        number = int(self.comm.greatest(torch.tensor([self.request.signal])))
        if self.comm.rank == 0:
            Attempt(str(self.folder or ""), "begun", number).leave(self.comm)
        if self._checkpoints is None:
            self.trainer.settle()
            raise StoppedError(
                f"stopped after epoch {done}, as signal {number} asked; nothing is kept", number
            )
        self._save(done, stopped=number)
        raise StoppedError(
            f"stopped after epoch {done}, as signal {number} asked; go on with: gcnsys train --resume "
            f"{self.folder}", number,
        )  # fmt: skip

    def _fail(self) -> None:
        self.trainer.settle()
        with self.comm.agreed():
            self.check()
        raise GcnsysError("a rank said that it cannot go on, and then not why; start the run again")

    def check(self) -> None:
        """Raise what this rank cannot go on with."""
        problem = self.problem
        if problem is None and self._writing is not None and self._writing.over:
            problem = self._writing.problem
        if isinstance(problem, OSError | InputError):
            raise InputError(
                f"rank {self.comm.rank} cannot write to {self.folder}: {problem}; the last whole checkpoint "
                f"stays: make room and go on with: gcnsys train --resume {self.folder}"
            ) from problem
        if problem is not None:
            raise problem
