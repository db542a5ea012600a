"""Rows, bytes and losses with pruning and without, as recorded; on one part pruning is not slower."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from experiments.bench import Bench
from experiments.figures import Figure, best_of, close, same
from experiments.pruning.run import train
from gcnsys.datasets import load
from gcnsys.partition import Cutting, build

EPOCHS = 100


def check(at: Bench) -> Iterator[Figure]:
    recorded = at.record("results.json")["runs"]
    for name, counts in (("cora", (1, 2)), ("citeseer", (1,))):
        dataset = load(at.spec(name))
        for parts in counts:
            what = f"{name}, P = {parts}"
            then, cut = recorded[what], at.work / f"{name}-{parts}"
            build(dataset, Cutting(parts), cut)
            runs = {prune: train(cut, prune, EPOCHS, at.work / "run") for prune in ("off", "auto")}
            for prune, run in runs.items():
                was, said = then[prune], f"{what}, prune = {prune}"
                yield same(f"{said}: rows computed by layer", run.rows, was["rows_computed_per_layer"])
                yield same(f"{said}: halo bytes of an epoch", run.halo_bytes, was["halo_bytes_per_epoch"])
                yield close(f"{said}: final loss", run.loss, was["final_loss"], at.within("loss"))
            if parts == 1:
                said = f"{what}: times as fast with pruning"
                again = partial(_gain, said, cut, at.work / "run")
                first = {said: runs["off"].epoch_seconds / runs["auto"].epoch_seconds}
                yield from best_of(again, {said: at.within("speed")}, first=first)


def _gain(what: str, cut: Path, folder: Path) -> dict[str, float]:
    off, auto = (train(cut, prune, EPOCHS, folder).epoch_seconds for prune in ("off", "auto"))
    return {what: off / auto}
