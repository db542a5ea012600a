"""One run on one rank: from a partitioning and a configuration to a summary."""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from gcnsys.kernels.backend import keep_freed_memory
from gcnsys.nn import GNN, build_model
from gcnsys.partition import Partitioning
from gcnsys.runtime import Comm, Placement
from gcnsys.runtime.process import restarts
from gcnsys.train.best import Best
from gcnsys.train.config import RunConfig
from gcnsys.train.folder import CONFIG, RunFolder
from gcnsys.train.keeper import Keeper
from gcnsys.train.optimizer import make_optimizer, make_scheduler
from gcnsys.train.resume import take_up
from gcnsys.train.stopping import Request
from gcnsys.train.summary import Trained, summarized
from gcnsys.train.task import Task
from gcnsys.train.trainer import Epoch, Trainer
from gcnsys.train.view import views

log = logging.getLogger(__name__)

BEGUN, FINISHED = "begun", "finished"
"""What a launcher is told of a run, for ranks that it starts again."""

Watch = Callable[[dict[str, Any]], None]
"""Called on rank 0 with each epoch's record."""


def run_part(
    partitioning: Partitioning, config: RunConfig, comm: Comm, placement: Placement,
    folder: RunFolder | None = None, watch: Watch | None = None, *, request: Request | None = None,
    resume: Path | None = None,
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

    Returns:
        the summary, the same on every rank.

    Raises:
        StoppedError: the run was asked to stop, and has done so after a whole epoch.
        GcnsysError: it cannot go on; the sentence says why.
    """
    began, manifest = time.perf_counter(), partitioning.manifest
    comm.same("configuration", config.toml())
    comm.same("partitioning", manifest.fingerprint)
    dtype = getattr(torch, config.dtype)
    with comm.agreed():
        part = partitioning.part(comm.rank, checked=True)
        model = build_model(
            config.model_settings(), manifest.num_features, manifest.num_classes, seed=config.seed
        ).to(placement.device, dtype)
    training, evaluation = views(
        part, model, comm, choice=config.first_hop, prune=config.prune,
        choices=config.choices(), device=placement.device, dtype=dtype,
    )  # fmt: skip
    optimizer = make_optimizer(model, config)
    trainer = Trainer(
        model, training, evaluation, Task(manifest.multilabel), optimizer, comm,
        seed=config.seed, scheduler=make_scheduler(optimizer, config),
    )  # fmt: skip
    folder, best = folder if comm.rank == 0 else None, Best()
    first = 0
    if resume is not None:
        first = take_up(resume, trainer, best, config, partitioning, comm, restarted=restarts() > 0)
    with comm.agreed():
        if folder is not None:
            folder.begin(first)
            comm.remember(BEGUN, "yes")
    shared = shared_folder(folder, config, comm)
    keeper = Keeper(trainer, best, config, partitioning, request or Request(), shared)
    trained = _loop(trainer, model, config, keeper, folder, watch, first)
    trainer.settle()
    with comm.agreed():
        keeper.check()
        if folder is not None:
            folder.save_weights("final", model.state_dict())
            folder.save_weights("best", best.state)
    seconds = time.perf_counter() - began
    summary = summarized(config, partitioning, trainer, trained, seconds, keeper.seconds)
    with comm.agreed():
        if folder is not None:
            folder.finish(summary)
            comm.remember(BEGUN, FINISHED)
    keeper.finish(trained.done)
    return summary


def shared_folder(folder: RunFolder | None, config: RunConfig, comm: Comm) -> Path | None:
    """Where all ranks put their checkpoints: rank 0's run folder, if all see it; collective."""
    path = comm.texts("" if folder is None else str(folder.path.resolve()))[0]
    if not path or not (config.checkpoint_every or config.checkpoint_minutes):
        return None
    blind = comm.texts("" if (Path(path) / CONFIG).exists() else "blind")
    if "blind" in blind:
        if comm.rank == 0:
            log.warning(
                "no checkpoints are kept: rank %d does not see %s, which rank 0 made; give --out on a disk "
                "that all machines share", blind.index("blind"), path,
            )  # fmt: skip
        return None
    return Path(path)


def _loop(
    trainer: Trainer, model: GNN, config: RunConfig, keeper: Keeper, folder: RunFolder | None,
    watch: Watch | None, first: int,
) -> Trained:  # fmt: skip
    epochs: list[Epoch] = []
    best, last, transfer = keeper.best, None, 0.0
    for epoch in trainer.epochs(config.epochs, first=first):
        if epoch.number == first and config.schedule != "sync":
            transfer = trainer.transfer_seconds()
        epochs.append(epoch)
        record: dict[str, Any] = {"epoch": epoch.number, **asdict(epoch)}
        del record["number"]
        if (epoch.number + 1) % config.eval_every == 0 or epoch.number + 1 == config.epochs:
            last = trainer.evaluate()
            best.offer(epoch.number, last, model)
            for name, score in last.scores.items():
                record[f"{name}_acc"], record[f"{name}_loss"] = score.accuracy, score.loss
            record["eval_seconds"] = last.seconds
        if folder is not None:
            with keeper.noting():
                folder.log(record)
        if watch is not None and trainer.comm.rank == 0:
            watch(record)
        if config.patience and epoch.number - best.epoch >= config.patience and best.epoch >= 0:
            break
        trainer.comm.timeout = config.timeout
        if epoch.number + 1 < config.epochs:
            keeper.after(epoch.number + 1)
    if last is None:
        last = trainer.evaluate()
        best.offer(epochs[-1].number, last, model)
    return Trained(epochs, best, last, transfer)


def prepare_process(config: RunConfig) -> None:
    """Keep freed memory; set the threads: as configured, as OMP_NUM_THREADS says, or a share of the cores."""
    keep_freed_memory()
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    cores = len(os.sched_getaffinity(0))
    if config.threads or "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(config.threads or max(1, cores // local))
