"""What pruning saves: rows, bytes and seconds of an epoch and of an evaluation, with it and without.

python -m experiments.pruning.run [--out FILE]           Cora and CiteSeer on 1 and 2 parts
python -m experiments.pruning.run --graph npz:PATH       another graph, 100 of its nodes trained on
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch

from experiments import runfile
from experiments.machine import report
from gcnsys.datasets import Dataset, load
from gcnsys.errors import GcnsysError
from gcnsys.partition import Cutting, build

OPTIONS = ("--model", "gcn", "--layers", 2, "--hidden", 16, "--decay-on", "first", "--weight-decay", 5e-4)
REPEATS = 3


@dataclass(frozen=True, slots=True)
class Trained:
    """One run; seconds are medians over its epochs."""

    epoch_seconds: float
    evaluation_seconds: float
    halo_bytes: int
    rows: dict[str, list[int]]
    loss: float


def train(partitioning: Path, prune: str, epochs: int, folder: Path) -> Trained:
    """One run in processes of its own, a thread a rank, evaluated after every epoch."""
    command = ["train", partitioning, *OPTIONS, "--epochs", epochs, "--prune", prune, "--threads", 1]
    command += ["--out", folder, "--overwrite", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "gcnsys", *map(str, command)], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"gcnsys train failed with code {done.returncode}:\n{done.stderr}")
    summary = json.loads(done.stdout)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return Trained(
        summary["epoch_seconds_median"],
        median(line["eval_seconds"] for line in lines[1:]),
        sum(summary["halo_bytes_sent_per_epoch"]),
        summary["rows_computed_per_layer"],
        summary["final_loss"],
    )


def compared(dataset: Dataset, parts: int, epochs: int, folder: Path) -> dict[str, Any]:
    """Training with and without pruning, in turns; seconds are the medians of the repeats."""
    cut = folder / f"{dataset.name}-{parts}"
    build(dataset, Cutting(parts), cut)
    runs: dict[str, list[Trained]] = {"off": [], "auto": []}
    for _ in range(REPEATS):
        for prune, done in runs.items():
            done.append(train(cut, prune, epochs, folder / "run"))
            said = f"{dataset.name}, P = {parts}, prune = {prune}: {done[-1].epoch_seconds * 1e3:.2f} ms"
            print(said, file=sys.stderr, flush=True)
    sizes = {"nodes": dataset.graph.num_nodes, "training_nodes": int(dataset.train_mask.sum())}
    record: dict[str, Any] = {"options": " ".join(map(str, OPTIONS)), **sizes}
    for prune, done in runs.items():
        epoch = median(run.epoch_seconds for run in done)
        evaluation = median(run.evaluation_seconds for run in done)
        record[prune] = {
            "rows_computed_per_layer": done[0].rows,
            "halo_bytes_per_epoch": done[0].halo_bytes,
            "epoch_seconds": epoch,
            "evaluation_seconds": evaluation,
            "epoch_and_evaluation_seconds": epoch + evaluation,
            "final_loss": done[0].loss,
        }
    timed = [name for name in record["off"] if name.endswith("_seconds")]
    record["times_faster"] = {name: record["off"][name] / record["auto"][name] for name in timed}
    return record


def scarce(dataset: Dataset, count: int = 100) -> Dataset:
    """The same graph, trained on at ``count`` random nodes, validated and tested on at 500 and 1000."""
    labelled = dataset.y >= 0 if dataset.y.ndim == 1 else torch.ones(dataset.num_nodes, dtype=torch.bool)
    nodes = torch.nonzero(labelled).flatten()
    order = nodes[torch.randperm(nodes.numel(), generator=torch.Generator().manual_seed(0))]
    masks = {}
    ends = [0, count, count + 500, count + 1500]
    for name, (low, high) in zip(("train", "val", "test"), pairwise(ends), strict=True):
        masks[f"{name}_mask"] = torch.zeros_like(labelled).index_fill_(0, order[low:high], True)
    return replace(dataset, **masks)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    layout = argparse.RawDescriptionHelpFormatter
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    cli.add_argument("--graph", metavar="SPEC", help="another graph")
    cli.add_argument("--epochs", type=int, default=100)
    cli.add_argument("--out", type=Path, help="write the result here, too")
    options = cli.parse_args(arguments)
    try:
        if options.graph:
            datasets = [scarce(load(options.graph))]
        else:
            data = runfile.data_folder()
            datasets = [load(f"npz:{data / name}.npz") for name in ("cora", "citeseer")]
    except GcnsysError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    with tempfile.TemporaryDirectory(prefix="gcnsys-") as folder:
        runs = {
            f"{dataset.name}, P = {parts}": compared(dataset, parts, options.epochs, Path(folder))
            for dataset in datasets
            for parts in (1, 2)
        }
    command = "OMP_NUM_THREADS=1 python -m experiments.pruning.run"
    report({"command": command, "runs": runs}, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
