"""One rank of the throughput experiment: all methods take turns, and each says where its time goes."""

import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from gcnsys.nn import build_model
from gcnsys.partition import Partitioning
from gcnsys.runtime import Comm, joined
from gcnsys.train import RunConfig
from gcnsys.train.optimizer import make_optimizer
from gcnsys.train.run import prepare_process
from gcnsys.train.task import Task
from gcnsys.train.trainer import Epoch, Trainer
from gcnsys.train.view import crossing, views

WARM = 6
"""Epochs before anything is measured: products try several ways first."""


def trainers(base: dict[str, Any], methods: dict[str, dict[str, Any]], comm: Comm) -> dict[str, Trainer]:
    """One for each method; all share the part, its matrices and its inputs."""
    config, device = RunConfig.checked(base), torch.device("cpu")
    prepare_process(config)
    partitioning = Partitioning.open(Path(config.data))
    manifest = partitioning.manifest
    shape = manifest.num_features, manifest.num_classes
    first = build_model(config.model_settings(), *shape, seed=0)
    part = partitioning.part(comm.rank)
    training, evaluation = views(part, first, comm, choice="on", device=device, dtype=torch.float32)
    made = {}
    for name, settings in methods.items():
        choices = RunConfig.checked(base | settings).choices()
        model = build_model(config.model_settings(), *shape, seed=0)
        view = crossing(training, comm, choices, device=device, keep=False)
        optimizer = make_optimizer(model, config)
        made[name] = Trainer(model, view, evaluation, Task(manifest.multilabel), optimizer, comm)
    return made


def hidable(trainer: Trainer) -> float:
    """For each exchange of the last epoch the smaller of its transfer and the work that can run beside it."""
    passages = [passage for exchange in trainer.training.exchanges for passage in exchange.passages]
    return sum(min(each.waited_seconds, each.beside_seconds) for each in passages if each.sent_bytes)


def turn(trainer: Trainer, first: int, count: int) -> Iterator[tuple[Epoch, float]]:
    """Some epochs in a row; before the first one nothing is under way, so it is left out."""
    for epoch in trainer.epochs(first + count, first=first):
        if epoch.number > first:
            yield epoch, hidable(trainer)


def measured(made: dict[str, Trainer], rounds: int, count: int) -> dict[str, dict[str, float]]:
    """Medians over all turns of each method, of this rank."""
    for _ in next(iter(made.values())).epochs(WARM):
        pass
    found: dict[str, list[tuple[Epoch, float]]] = {name: [] for name in made}
    for number in range(rounds):
        for name, trainer in made.items():
            found[name] += turn(trainer, WARM + number * count, count)
    medians = {}
    for name, epochs in found.items():
        records = [asdict(epoch) | {"hidable_seconds": seconds} for epoch, seconds in epochs]
        keys = [key for key in records[0] if key.endswith(("seconds", "bytes"))]
        medians[name] = {key: statistics.median(record[key] for record in records) for key in keys}
    return medians


def main() -> None:
    base, methods = json.loads(sys.argv[1]), json.loads(sys.argv[2])
    rounds, count = int(sys.argv[3]), int(sys.argv[4])
    with joined("cpu") as (comm, _):
        found = measured(trainers(base, methods, comm), rounds, count)
        ranks = [json.loads(text) for text in comm.texts(json.dumps(found))]
    if comm.rank == 0:
        print(json.dumps({name: [rank[name] for rank in ranks] for name in methods}))


if __name__ == "__main__":
    main()
