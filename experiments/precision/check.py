"""Accuracies of both precisions as recorded; where reddit60k is there, how much faster an epoch is."""

from collections.abc import Iterator

import torch

from experiments import runfile
from experiments.accuracy import ours
from experiments.bench import Bench
from experiments.figures import Figure, at_least, at_most, near
from experiments.precision.run import ACCURACY, PRECISIONS, epochs
from gcnsys.datasets import load

RUNS = ("cora", "citeseer", "amazon_photo_gcn")


def check(at: Bench) -> Iterator[Figure]:
    torch.set_num_threads(1)
    yield from at.parts(claims, accuracies, an_epoch)


def claims(at: Bench) -> Iterator[Figure]:
    for row in at.record("accuracy.json")["runs"]:
        yield at_most(f"on record, {row['run']}: points lost", -row["points"], at.within("points"))


def accuracies(at: Bench) -> Iterator[Figure]:
    """Test accuracy of the first seed, at the best validation."""
    then = {row["run"]: row["test_acc"] for row in at.record("accuracy.json")["runs"]}
    for name in RUNS:
        for precision in PRECISIONS:
            config = runfile.read(
                ACCURACY / f"{name}.toml", at.data("."), seed=0, split_seed=0, precision=precision
            )
            dataset = load(config.data, split=config.data_split(), normalization=config.normalize)
            now, was = ours.train(dataset, config).test_acc(), then[name][precision][0]
            yield near(f"{name}, {precision}: test accuracy", now, was, at.within("accuracy"))


def an_epoch(at: Bench) -> Iterator[Figure]:
    at.need("reddit60k.npz")
    recorded = at.record("results.json")
    at.same_processor(recorded)
    now = epochs(at.spec("reddit60k"), 1, recorded["threads"])["times_as_fast"]
    bound = at.within("speed") * recorded["times_as_fast"]
    yield at_least("epochs in 16 bits: times as fast", now, bound, why="a share of the recorded gain,")
