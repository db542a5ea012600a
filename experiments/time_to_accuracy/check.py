"""The record's table follows from its curves and the throughput's record; its curves begin as recorded."""

import json
from collections.abc import Iterator

from experiments import runfile
from experiments.bench import Bench
from experiments.figures import Figure, close, near, same
from experiments.methods.run import planned, trained
from experiments.throughput.run import METHODS
from experiments.time_to_accuracy.run import THROUGHPUT, mean_curve, times
from gcnsys.datasets import load

CURVES = ("vanilla", "pipegcn", "bns 0.1")
EPOCHS = 6


def check(at: Bench) -> Iterator[Figure]:
    yield from at.parts(table, curves)


def table(at: Bench) -> Iterator[Figure]:
    """Epochs and seconds to the target, by network and method."""
    recorded = at.record("results.json")
    found = times(recorded["validation"], json.loads((THROUGHPUT / "results.json").read_text()))
    yield same("networks", list(found["networks"]), list(recorded["networks"]))
    for network, there in found["networks"].items():
        for method, row in there["methods"].items():
            then, what = recorded["networks"][network]["methods"][method], f"{there['rate']}, {method}"
            yield same(f"{what}: epochs to the target", row["epochs"], then["epochs"])
            if row["seconds"] is not None:
                yield close(f"{what}: seconds to it", row["seconds"], then["seconds"], at.within("seconds"))


def curves(at: Bench) -> Iterator[Figure]:
    """Validation accuracy of the first epochs; curves on record are means over seeds."""
    recorded = at.record("results.json")
    then = recorded["validation"]
    methods, plan = {name: METHODS[name] for name in CURVES}, []
    for seed in range(recorded["seeds"]):
        config = runfile.read(
            THROUGHPUT / "run.toml", at.data("."), parts=recorded["parts"], seed=seed, epochs=EPOCHS, lr=0.01
        )
        dataset = load(config.data, split=config.data_split(), normalization=config.normalize)
        plan += planned("reddit60k", dataset, config, methods, at.work / f"cut-{seed}")
    for method, runs in trained(plan, recorded["parts"], at.work / "runs").items():
        pairs = list(zip(mean_curve([run["validation"] for run in runs]), then[method], strict=False))
        now, was = max(pairs, key=lambda pair: abs(pair[0] - pair[1]))
        what = f"{method}: validation accuracy of the first {EPOCHS} epochs, where most apart"
        yield near(what, now, was, at.within("validation"))
