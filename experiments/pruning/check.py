"""Rows, bytes and losses with pruning and without, as recorded; on one part pruning is not slower."""

from collections.abc import Iterator

from experiments.bench import Bench
from experiments.figures import Figure, at_least, close, same
from experiments.pruning.run import train
from gcnsys.datasets import load
from gcnsys.partition import Cutting, build

EPOCHS = 100


def check(at: Bench) -> Iterator[Figure]:
    recorded = at.record("results.json")["runs"]
    for name in ("cora", "citeseer"):
        dataset = load(at.spec(name))
        for parts in (1, 2):
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
                again = {prune: train(cut, prune, EPOCHS, at.work / "run") for prune in ("off", "auto")}
                best = {
                    prune: min(run.epoch_seconds, again[prune].epoch_seconds) for prune, run in runs.items()
                }
                gain = best["off"] / best["auto"]
                yield at_least(f"{what}: times as fast with pruning", gain, at.within("speed"))
