"""One run on one rank: from a partitioning and a configuration to a summary."""

import json
import logging
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from gcnsys import kernels
from gcnsys.kernels.backend import keep_freed_memory
from gcnsys.nn import GNN, build_model
from gcnsys.partition import Partitioning
from gcnsys.runtime import Comm, Placement
from gcnsys.runtime.process import restarts
from gcnsys.train.best import Best
from gcnsys.train.config import RunConfig
from gcnsys.train.folder import CONFIG, RunFolder
from gcnsys.train.keeper import Keeper
from gcnsys.train.method import EXCHANGE
from gcnsys.train.resume import take_up
from gcnsys.train.stopping import Request
from gcnsys.train.task import Task
from gcnsys.train.trainer import Epoch, Evaluation, Trainer
from gcnsys.train.view import precomputes, views

log = logging.getLogger(__name__)

BEGUN, FINISHED = "begun", "finished"
"""What a launcher is told of a run, for ranks that it starts again."""

Watch = Callable[[dict[str, Any]], None]
"""Called on rank 0 with each epoch's record."""


def learning_rate_factor(config: RunConfig, epoch: int) -> float:
    """What the learning rate is multiplied by at an epoch."""
    if epoch < config.warmup:
        return (epoch + 1) / config.warmup
    if config.lr_schedule == "constant":
        return 1.0
    progress = (epoch - config.warmup) / max(1, config.epochs - config.warmup)
    return 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * min(progress, 1.0)))))


def make_optimizer(model: GNN, config: RunConfig) -> torch.optim.Adam:
    """Adam with its L2 penalty on all layers, or on the first alone as published for GCN."""
    first = {id(p) for p in model.first.parameters()}
    groups: list[dict[str, Any]] = [{"params": [p for p in model.parameters() if id(p) in first]}]
    rest = [p for p in model.parameters() if id(p) not in first]
    if rest:
        groups.append({"params": rest} if config.decay_on == "all" else {"params": rest, "weight_decay": 0.0})
    return torch.optim.Adam(groups, lr=config.lr, weight_decay=config.weight_decay)


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
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(learning_rate_factor, config))
    trainer = Trainer(
        model, training, evaluation, Task(manifest.multilabel), optimizer, comm,
        seed=config.seed, scheduler=scheduler,
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
    rows = rows_per_layer(trainer, model, comm)
    summary = _summary(config, partitioning, comm, trained, rows, time.perf_counter() - began, keeper.seconds)
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


@dataclass(frozen=True, slots=True)
class _Trained:
    """What a loop leaves behind.

    Attributes:
        transfer_seconds: what an epoch's exchanges take with nothing beside them; 0 where they always
            are waited for at once.
    """

    epochs: list[Epoch]
    best: Best
    last: Evaluation
    transfer_seconds: float

    @property
    def done(self) -> int:
        """Epochs since the run began, those before it went on included."""
        return self.epochs[-1].number + 1


def _loop(
    trainer: Trainer, model: GNN, config: RunConfig, keeper: Keeper, folder: RunFolder | None,
    watch: Watch | None, first: int,
) -> _Trained:  # fmt: skip
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
    return _Trained(epochs, best, last, transfer)


def _summary(
    config: RunConfig, partitioning: Partitioning, comm: Comm, trained: _Trained,
    rows: dict[str, list[int]], seconds: float, checkpoint_seconds: float,
) -> dict[str, Any]:  # fmt: skip
    epochs, best, last = trained.epochs, trained.best, trained.last
    manifest, chosen = partitioning.manifest, best.evaluation
    assert chosen is not None
    # The first epoch allocates and warms caches: it is left out where there are others.
    timed = epochs[1:] or epochs
    comm_seconds = statistics.median(epoch.comm_seconds for epoch in timed)
    own = {
        "seconds_total": seconds,
        "checkpoint_seconds": checkpoint_seconds,
        "epoch_seconds_median": statistics.median(epoch.seconds for epoch in timed),
        "compute_seconds_median": statistics.median(epoch.compute_seconds for epoch in timed),
        "comm_seconds_median": comm_seconds,
        "reduce_seconds_median": statistics.median(epoch.reduce_seconds for epoch in timed),
        "transfer_seconds": trained.transfer_seconds or comm_seconds,
        "hidden_comm_seconds_median": max(0.0, trained.transfer_seconds - comm_seconds),
        "halo_bytes_sent_per_epoch": epochs[-1].halo_bytes,
        "reduce_bytes_sent_per_epoch": epochs[-1].reduce_bytes,
        "bytes_sent_per_epoch": epochs[-1].halo_bytes + epochs[-1].reduce_bytes,
        "bytes_sent_total": comm.traffic.sent_bytes.total(),
        "exchange_buffer_bytes": epochs[-1].buffer_bytes,
        "peak_rss_bytes": peak_rss_bytes(),
    }
    ranks = [json.loads(text) for text in comm.texts(json.dumps(own))]
    lists = {key: [rank[key] for rank in ranks] for key in own}
    # The slowest rank's time is everybody's.
    slowest = {key: max(lists.pop(key)) for key in list(lists) if "seconds" in key}
    return {
        "dataset": manifest.dataset, "model": config.model, "method": config.method,
        **{part: getattr(config, part) for part in EXCHANGE if getattr(config, part) is not None},
        "parts": manifest.num_parts, "inductive": manifest.inductive, "multilabel": manifest.multilabel,
        "first_hop": "on" if precomputes(config.first_hop, sparse=manifest.sparse_features) else "off",
        "rows_computed_per_layer": rows,
        "rows_per_layer": {
            "training": sum(p.train for p in manifest.parts) if manifest.inductive else manifest.num_nodes,
            "evaluation": manifest.num_nodes,
        },
        "epochs": trained.done, "resumed_after": epochs[0].number,
        "train_acc": last.scores["train"].accuracy, "val_acc": last.scores["val"].accuracy,
        "test_acc": last.scores["test"].accuracy, "best_epoch": best.epoch,
        "best_val_acc": chosen.scores["val"].accuracy,
        "test_acc_at_best_val": chosen.scores["test"].accuracy,
        "final_loss": epochs[-1].loss, **slowest, **lists, "seed": config.seed,
        "kernels": kernels.name(), "partitioning": manifest.fingerprint, "versions": versions(),
    }  # fmt: skip


def rows_per_layer(trainer: Trainer, model: GNN, comm: Comm) -> dict[str, list[int]]:
    """How many rows each layer computes, linear ones included, over all ranks; collective."""
    views = {"training": trainer.training, "evaluation": trainer.evaluation}
    own = [[*view.num_rows, *view.num_rows[-1:] * len(model.linears)] for view in views.values()]
    computed = comm.add(torch.tensor(own), "control").tolist()
    return dict(zip(views, computed, strict=True))


def peak_rss_bytes() -> int:
    """The most memory this process has held at once."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage's figure would count the launcher this process was forked from
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def versions() -> dict[str, str]:
    """What computed this."""
    names = ("gcnsys", "torch", "numpy", "scipy", "pymetis")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def prepare_process(config: RunConfig) -> None:
    """Keep freed memory; set the threads: as configured, as OMP_NUM_THREADS says, or a share of the cores."""
    keep_freed_memory()
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    cores = len(os.sched_getaffinity(0))
    if config.threads or "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(config.threads or max(1, cores // local))
