"""One run on one rank: from a partitioning and a configuration to a summary."""

import contextlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from gcnsys.errors import InputError, known_to_all
from gcnsys.kernels.memory import as_training_has_it
from gcnsys.nn import Model
from gcnsys.partition import Partitioning
from gcnsys.runtime import Comm, Placement
from gcnsys.train.attempt import Attempt
from gcnsys.train.best import Best
from gcnsys.train.config import RunConfig
from gcnsys.train.folder import RunFolder
from gcnsys.train.keeper import Keeper
from gcnsys.train.making import make_trainer
from gcnsys.train.resume import take_up
from gcnsys.train.stopping import Request
from gcnsys.train.summary import Trained, summarized
from gcnsys.train.task import Task
from gcnsys.train.timings import Timings
from gcnsys.train.tracing import Tracing, trace_file
from gcnsys.train.trainer import Trainer

log = logging.getLogger(__name__)

Watch = Callable[[dict[str, Any]], None]
"""Called on rank 0 with each epoch's record."""


def run_part(
    partitioning: Partitioning, config: RunConfig, comm: Comm, placement: Placement,
    folder: RunFolder | None = None, watch: Watch | None = None, *, request: Request | None = None,
    resume: Path | None = None, model: Model | None = None, task: Task | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train this rank's part; collective.

    Args:
        partitioning: with as many parts as there are ranks.
        config: the same on every rank.
        comm: the ranks.
        placement: where this one computes.
        folder: where rank 0 writes, and all ranks their checkpoints; None: nothing is written.
        watch: called on rank 0 after each epoch.
        request: whether this process was asked to stop.
        resume: a run's folder, or a checkpoint of one, to go on from.
        model: one's own, with the same weights on every rank; None: the configuration's.
        task: one's own; None: what the labels suggest.

    Returns:
        the summary, the same on every rank.

    Raises:
        gcnsys.train.stopping.StoppedError: the run was asked to stop, and has done so after a whole epoch.
        GcnsysError: it cannot go on; the sentence says why.
    """
    began, best = time.perf_counter(), Best()
    if model is not None:
        config = config.model_copy(update={"model": type(model).__name__})
        if folder is not None:
            folder.config = config
    comm.same("configuration", config.toml())
    comm.same("partitioning", partitioning.manifest.fingerprint)
    trainer = make_trainer(partitioning, config, comm, placement, model=model, task=task)
    first = 0 if resume is None else take_up(resume, trainer, best, config, partitioning, comm)
    folder = folder if comm.rank == 0 else None
    with contextlib.closing(folder) if folder is not None else contextlib.nullcontext():
        with comm.agreed():
            if folder is not None:
                folder.begin(first, own=resume is not None and folder.holds(resume))
                Attempt(str(folder.path), "begun").leave(comm)
        shared = shared_folder(folder, config, comm)
        keeper = Keeper(trainer, best, config, partitioning, request or Request(), shared, folder)
        tracing = _tracing(folder, config.epochs - first, comm) if config.profile else None
        with contextlib.closing(tracing) if tracing is not None else contextlib.nullcontext():
            trained = _loop(trainer, config, keeper, folder, watch, first, tracing)
        trainer.settle()
        with keeper.patient(), comm.agreed():
            keeper.check()
            if folder is not None:
                folder.settle()
                folder.save_weights("final", trainer.model.state_dict())
                folder.save_weights("best", best.state)
                folder.save_scaling(partitioning.manifest.scaling)
        seconds = time.perf_counter() - began
        summary = summarized(config, partitioning, trainer, trained, seconds, keeper.seconds)
        with keeper.patient(), comm.agreed():
            if folder is not None:
                folder.finish(summary)
        keeper.finish(trained.done)
        if folder is not None:
            Attempt(str(folder.path), "finished").leave(comm)
    return summary


def shared_folder(folder: RunFolder | None, config: RunConfig, comm: Comm) -> Path | None:
    """Where all ranks put their checkpoints: rank 0's run folder, if all see it; collective."""
    with comm.agreed():
        # A machine may have a folder of this name to itself: a file that was made just now tells.
        wanted = folder is not None and (config.checkpoint_every or config.checkpoint_minutes)
        mark = folder.mark() if folder is not None and wanted else None
    path = comm.texts("" if mark is None else str(mark))[0]
    if not path:
        return None
    blind = comm.texts("" if Path(path).exists() else "blind")
    if mark is not None:
        mark.unlink(missing_ok=True)
    if "blind" not in blind:
        return Path(path).parent
    if comm.rank == 0:
        log.warning(
            "no checkpoints are kept: rank %d does not see %s, which rank 0 made; give --out on a disk that "
            "all machines share", blind.index("blind"), Path(path).parent,
        )  # fmt: skip
    return None


def _tracing(folder: RunFolder | None, epochs: int, comm: Comm) -> Tracing:
    """What traces epochs into the run's folder, on this rank's machine; collective."""
    path = comm.texts("" if folder is None else str(folder.path.resolve()))[0]
    if not path:
        raise known_to_all("profile = true needs a run's folder for the trace; give one", InputError)
    return Tracing(trace_file(Path(path), comm.rank), epochs)


def _loop(
    trainer: Trainer, config: RunConfig, keeper: Keeper, folder: RunFolder | None,
    watch: Watch | None, first: int, tracing: Tracing | None,
) -> Trained:  # fmt: skip
    timings = Timings()
    best, last, transfer = keeper.best, None, 0.0
    for epoch in trainer.epochs(config.epochs, first=first):
        if epoch.number == first and config.schedule != "sync":
            transfer = trainer.transfer_seconds()
        timings.add(epoch)
        record: dict[str, Any] = {"epoch": epoch.number, **asdict(epoch)}
        del record["number"], record["halo_bytes_to"]
        record.update(record.pop("sampled"))
        evaluated = (epoch.number + 1) % config.eval_every == 0 or epoch.number + 1 == config.epochs
        if evaluated:
            last = trainer.evaluate()
            best.offer(epoch.number, last, trainer.model)
            for name, score in last.scores.items():
                record[f"{name}_acc"], record[f"{name}_loss"] = score.accuracy, score.loss
                record.update({f"{name}_{other}": value for other, value in score.others.items()})
            record["eval_seconds"] = last.seconds
        if folder is not None:
            with keeper.noting():
                folder.log(record)
        if watch is not None and trainer.comm.rank == 0:
            watch = _watched(watch, record)
        if evaluated and config.patience and epoch.number - best.epoch >= config.patience:
            break
        if tracing is not None:
            with keeper.noting():
                tracing.after_epoch()
        trainer.comm.timeout = config.timeout
        if epoch.number + 1 < config.epochs:
            keeper.after(epoch.number + 1)
    if tracing is not None:
        with keeper.noting():
            tracing.finish()
    assert last is not None
    return Trained(timings, best, last, transfer)


def _watched(watch: Watch, record: dict[str, Any]) -> Watch | None:
    """Show a record; who cannot be shown it is shown no more: a run does not end with its terminal."""
    try:
        watch(record)
    except (OSError, SystemExit):  # rich leaves where nobody reads a pipe
        return None
    return watch


def prepare_process(config: RunConfig) -> None:
    """Say what becomes of freed memory; set threads: as configured, OMP_NUM_THREADS, a share of the cores."""
    as_training_has_it(recompute=config.recompute)
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    cores = len(os.sched_getaffinity(0))
    if config.threads or "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(config.threads or max(1, cores // local))
