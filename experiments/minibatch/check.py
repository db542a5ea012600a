"""The first seed of one graph reaches the recorded target after about as many epochs."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from experiments.bench import AbsentError, Bench
from experiments.figures import Figure, at_least, near, same
from experiments.minibatch.run import BATCHES, FULL, reached, trained

BEYOND = 3
"""Epochs that are trained beyond those on record."""


def check(at: Bench) -> Iterator[Figure]:
    there = [record for _, record in at.records("**/*.json") if at.missing(record["data"]) is None]
    if not there:
        raise AbsentError("none of the graphs on record is in the folder of real graphs")
    for name, record in at.records("**/*.json"):
        yield from _beside_the_whole_graph(name, record)
    record = there[0]
    name, parts = record["data"].removesuffix(".npz"), at.work / "parts"
    build = ["partition", "build", at.spec(name), "--parts", str(record["parts"]), "--out", str(parts)]
    subprocess.run([sys.executable, "-m", "gcnsys", *build], check=True, stdout=subprocess.DEVNULL)
    for method, words in {"vanilla": FULL["vanilla"], "neighbour": BATCHES["neighbour"]}.items():
        then, what = record["methods"][method][0], f"{name}, seed 0, {method}"
        asked = ["train" if method in FULL else "train-minibatch", str(parts), *words, "--seed", "0"]
        if method in BATCHES:
            asked += ["--batch", str(record["batch"])]
        most = record["epochs" if method in FULL else "rounds"]
        count = most if then["epochs"] is None else min(most, then["epochs"] + BEYOND)
        now = reached(trained([*asked, "--epochs", str(count)], at.work / method), record["target"])
        said = f"{what}: epochs until {record['target']:.4f} of the validation set are right"
        if then["epochs"] is None or now["epochs"] is None:
            yield same(said, now["epochs"], then["epochs"])
        else:
            yield near(said, now["epochs"], then["epochs"], at.within("epochs"))
        if count == most:
            yield near(
                f"{what}: best validation accuracy", now["best_val"], then["best_val"], at.within("accuracy")
            )


def _beside_the_whole_graph(name: str, record: dict[str, Any]) -> Iterator[Figure]:
    """What the record itself says of the accuracy of batches."""
    best = {method: max(run["best_val"] for run in runs) for method, runs in record["methods"].items()}
    what = f"{name}, on record: best validation accuracy of neighbour sampling over exact training's"
    yield at_least(what, best["neighbour"] - best["vanilla"], -0.005)
