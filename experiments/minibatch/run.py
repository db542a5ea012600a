"""How long until a model is good: all of a graph in one step, or batches of it.

GraphSAGE is trained by every method from the same weights on the same parts. The target lies half a point
below the best validation accuracy of exact full-graph training. A method's time is that of its epochs until
it is there, evaluation left out.

python -m experiments.minibatch.run DATA [--parts 2] [--seeds 3] [--out results.json] [--work DIR]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean, median
from typing import Any

from experiments.machine import report
from gcnsys.train.source import is_partitioning

BELOW = 0.005
FULL = {"vanilla": [], "bns 0.1": ["--method", "bns", "--rate", "0.1"], "pipegcn": ["--method", "pipegcn"]}
BATCHES = {
    "neighbour": [], "labor": ["--sampler", "labor"], "shadow": ["--sampler", "shadow"],
    "cluster": ["--sampler", "cluster"], "ladies": ["--sampler", "ladies", "--budget", "2048"],
    "saint-node": ["--sampler", "saint-node", "--budget", "4000"],
}  # fmt: skip
MODEL = ["--model", "sage", "--layers", "2", "--hidden", "128", "--norm", "layer", "--lr", "0.01"]


def trained(words: list[str], folder: Path) -> list[dict[str, Any]]:
    """The lines that a run logged; one that is there already is read."""
    if not (folder / "summary.json").exists():
        command = [sys.executable, "-m", "gcnsys", *words, *MODEL, "--out", str(folder), "--overwrite"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run([*command, "--checkpoint-minutes", "0"], check=True, env=environment)
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def reached(lines: list[dict[str, Any]], target: float) -> dict[str, Any]:
    """Epochs and seconds until the target; None where it was not reached."""
    there = next((place for place, line in enumerate(lines) if line["val_acc"] >= target), None)
    best = max(lines, key=lambda line: line["val_acc"])
    found = {"best_val": best["val_acc"], "test": best["test_acc"], "epoch_seconds": median(
        line["seconds"] for line in lines)}  # fmt: skip
    if there is None:
        return found | {"epochs": None, "seconds": None}
    return found | {"epochs": there + 1, "seconds": sum(line["seconds"] for line in lines[: there + 1])}


def measured(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """All methods in turn, seed by seed."""
    parts = work / "parts"
    if not is_partitioning(parts):
        build = ["partition", "build", options.data, "--parts", str(options.parts), "--out", str(parts)]
        subprocess.run([sys.executable, "-m", "gcnsys", *build], check=True)
    runs: dict[str, list[list[dict[str, Any]]]] = {}
    for seed in range(options.seeds):
        for name, words in FULL.items():
            asked = ["train", str(parts), *words, "--epochs", str(options.epochs), "--seed", str(seed)]
            runs.setdefault(name, []).append(trained(asked, work / f"{name}-{seed}"))
        for name, words in BATCHES.items():
            asked = ["train-minibatch", str(parts), *words, "--batch", str(options.batch)]
            asked += ["--epochs", str(options.rounds), "--seed", str(seed)]
            runs.setdefault(name, []).append(trained(asked, work / f"{name}-{seed}"))
    target = fmean(max(line["val_acc"] for line in lines) for lines in runs["vanilla"]) - BELOW
    found = {name: [reached(lines, target) for lines in each] for name, each in runs.items()}
    for name, each in found.items():
        seconds = [one["seconds"] for one in each]
        said = f"{fmean(seconds):7.1f} s" if all(seconds) else "not reached"
        print(f"{name:12} {said}, test {fmean(one['test'] for one in each):.4f}, an epoch "
              f"{fmean(one['epoch_seconds'] for one in each):.3f} s", flush=True)  # fmt: skip
    return {"target": target, "methods": found}


def main() -> None:
    """Measure and print."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("data", help="SPEC of a dataset")
    cli.add_argument("--parts", type=int, default=2)
    cli.add_argument("--seeds", type=int, default=3)
    cli.add_argument("--epochs", type=int, default=200, help="of full-graph training")
    cli.add_argument("--rounds", type=int, default=15, help="epochs of training on batches")
    cli.add_argument("--batch", type=int, default=1024)
    cli.add_argument("--work", type=Path, help="folder of runs; what it has is not run again")
    cli.add_argument("--out", type=Path, help="write the result here, too")
    options = cli.parse_args()
    with tempfile.TemporaryDirectory(prefix="gcnsys-") as temporary:
        found = measured(options, options.work or Path(temporary))
    names = ("parts", "seeds", "epochs", "rounds", "batch")
    settings = {name: getattr(options, name) for name in names}
    report({"data": Path(options.data).name, **settings, **found}, options.out, show=False)


if __name__ == "__main__":
    main()
