"""What a run comes to: accuracies, times, traffic and memory of all ranks."""

import json
import platform
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from gcnsys import kernels
from gcnsys.nn import FirstHop
from gcnsys.partition import Partitioning
from gcnsys.train.best import Best
from gcnsys.train.config import RunConfig
from gcnsys.train.making import num_outputs
from gcnsys.train.method import EXCHANGE
from gcnsys.train.minibatch import MinibatchTrainer
from gcnsys.train.timings import Timings
from gcnsys.train.trainer import Evaluation, Trainer


@dataclass(frozen=True, slots=True)
class Trained:
    """What a loop leaves behind.

    Attributes:
        timings: of its epochs.
        transfer_seconds: what an epoch's exchanges take with nothing beside them; 0 where they always
            are waited for at once.
    """

    timings: Timings
    best: Best
    last: Evaluation
    transfer_seconds: float

    @property
    def done(self) -> int:
        """Epochs since the run began, those before it went on included."""
        return self.timings.last.number + 1


def summarized(
    config: RunConfig, partitioning: Partitioning, trainer: Trainer, trained: Trained, seconds: float,
    checkpoint_seconds: float,
) -> dict[str, Any]:  # fmt: skip
    """The summary of a run, the same on every rank; collective.

    Args:
        config: of the run.
        partitioning: of the run.
        trainer: of the run.
        trained: what its loop left behind.
        seconds: that it took.
        checkpoint_seconds: that it waited for checkpoints.
    """
    comm, rows = trainer.comm, rows_per_layer(trainer)
    timings, best, last = trained.timings, trained.best, trained.last
    epoch = timings.last
    manifest, chosen = partitioning.manifest, best.evaluation
    assert chosen is not None
    comm_seconds = timings.median("comm_seconds")
    own = {
        "seconds_total": seconds,
        "checkpoint_seconds": checkpoint_seconds,
        "epoch_seconds_median": timings.median("seconds"),
        "compute_seconds_median": timings.median("compute_seconds"),
        "comm_seconds_median": comm_seconds,
        "reduce_seconds_median": timings.median("reduce_seconds"),
        "transfer_seconds": trained.transfer_seconds or comm_seconds,
        "hidden_comm_seconds_median": max(0.0, trained.transfer_seconds - comm_seconds),
        "halo_bytes_sent_per_epoch": epoch.halo_bytes,
        "halo_bytes_sent_to_per_epoch": epoch.halo_bytes_to,
        "reduce_bytes_sent_per_epoch": epoch.reduce_bytes,
        "bytes_sent_per_epoch": epoch.halo_bytes + epoch.reduce_bytes,
        "bytes_sent_total": comm.traffic.sent_bytes.total(),
        "exchange_buffer_bytes": epoch.buffer_bytes,
        "peak_rss_bytes": peak_rss_bytes(),
        "sampled": epoch.sampled,
    }
    ranks = [json.loads(text) for text in comm.texts(json.dumps(own))]
    lists = {key: [rank[key] for rank in ranks] for key in own if key != "sampled"}
    by_rank = {
        kind: [rank[f"{kind}_seconds_median"] for rank in ranks] for kind in ("compute", "comm", "reduce")
    }
    # The slowest rank's time is everybody's.
    slowest = {key: max(lists.pop(key)) for key in list(lists) if "seconds" in key}
    sampled = {"sampler": config.sampler, "sampled_per_epoch": _by_name(ranks)} if config.sampler else {}
    return {
        "dataset": manifest.dataset, "model": config.model, "method": config.method, **sampled,
        **{part: getattr(config, part) for part in EXCHANGE if getattr(config, part) is not None},
        "num_features": manifest.num_features, "num_classes": num_outputs(manifest, config),
        "edge_kinds": manifest.edge_kinds,
        "directed": None if manifest.mirrored is None else not manifest.mirrored,
        "normalization": manifest.normalization,
        "parts": manifest.num_parts, "inductive": manifest.inductive, "multilabel": manifest.multilabel,
        "regression": manifest.regression, "links": manifest.held_out is not None,
        "first_hop": "on" if not config.sampler and isinstance(trainer.training.inputs, FirstHop) else "off",
        "rows_computed_per_layer": rows,
        "rows_per_layer": {
            "training": sum(p.train for p in manifest.parts) if manifest.inductive else manifest.num_nodes,
            "evaluation": manifest.num_nodes,
        },
        "epochs": trained.done, "resumed_after": timings.first.number,
        "train_acc": last.scores["train"].accuracy, "val_acc": last.scores["val"].accuracy,
        "test_acc": last.scores["test"].accuracy, "best_epoch": best.epoch,
        "best_val_acc": chosen.scores["val"].accuracy,
        "test_acc_at_best_val": chosen.scores["test"].accuracy,
        **{f"test_{other}_at_best_val": value for other, value in chosen.scores["test"].others.items()},
        "final_loss": epoch.loss, **slowest, **lists, "seconds_by_rank": by_rank, "seed": config.seed,
        "kernels": kernels.name(), "partitioning": manifest.fingerprint, "versions": versions(),
    }  # fmt: skip


def score_name(summary: Mapping[str, Any]) -> str:
    """What the scores of a run are, which its summary calls accuracies."""
    kinds = {"links": "AUC", "regression": "R²", "multilabel": "micro-F1"}
    return next((name for kind, name in kinds.items() if summary.get(kind)), "accuracy")


def rows_per_layer(trainer: Trainer) -> dict[str, list[int]]:
    """How many rows each layer computes, linear ones included, over all ranks; collective."""
    views = {"training": trainer.training, "evaluation": trainer.evaluation}
    if isinstance(trainer, MinibatchTrainer):  # its rows follow from what is drawn
        del views["training"]
    linears = len(getattr(trainer.model, "linears", ()))
    own = [[*view.num_rows, *view.num_rows[-1:] * linears] for view in views.values()]
    computed = trainer.comm.add(torch.tensor(own), "control").tolist()
    return dict(zip(views, computed, strict=True))


def _by_name(ranks: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """What samplers counted, a rank each."""
    return {name: [rank["sampled"].get(name, 0) for rank in ranks] for name in ranks[0]["sampled"]}


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
