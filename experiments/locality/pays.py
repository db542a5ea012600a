"""What does make batches cheaper: LABOR beside neighbour sampling, and seeds that lie close together.

python -m experiments.locality.pays labor npz:reddit60k.npz [--repeats 5] [--epochs 3] [--out FILE]
python -m experiments.locality.pays runs npz:facebook_pages.npz [--length 64] [--epochs 20] [--out FILE]
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from experiments.locality.run import spread, trained
from experiments.machine import report
from gcnsys.runtime import joined
from gcnsys.train import RunConfig
from gcnsys.train.source import find_partitioning

FIGURES = ("rows", "edges", "megabytes", "batch_ms", "accuracy")


def main() -> None:
    """Measure and print."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("what", choices=["labor", "runs"])
    cli.add_argument("data", help="SPEC of a dataset")
    cli.add_argument("--length", type=int, default=64, help="seeds of neighbouring ids that stay together")
    cli.add_argument("--repeats", type=int, default=5)
    cli.add_argument("--epochs", type=int, default=3)
    cli.add_argument("--batch", type=int, default=1024)
    cli.add_argument("--out", type=Path, help="write the result here, too")
    options = cli.parse_args()
    torch.set_num_threads(1)
    other = {"sampler": "labor"} if options.what == "labor" else {"runs": options.length}
    ways: dict[str, dict[str, Any]] = {"plain": {}, options.what: other}
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory(prefix="gcnsys-") as home, joined("cpu") as (comm, placement):
        os.environ["GCNSYS_PARTITIONS"] = home
        common = {
            "data": options.data, "model": "sage", "hidden": 128, "batch": options.batch, "prefetch": 0,
            "epochs": options.epochs, "order": "cluster", "first_hop": "off", "prune": "off", "lr": 0.005,
            "sampler": "neighbour",
        }  # fmt: skip
        partitioning = find_partitioning(RunConfig.checked(common))
        common["data"] = str(partitioning.folder)
        for seed in range(-1, options.repeats):  # the first round warms up
            for way, settings in ways.items():
                config = RunConfig.checked({**common, **settings, "seed": max(0, seed)})
                run = trained(partitioning, config, comm, placement)
                run["batch_ms"] = 1e3 * run["processor_seconds"] / run["batches"]
                if seed >= 0:
                    found[way].append(run)
    figures = {
        way: {name: spread([run[name] for run in runs]) for name in FIGURES} for way, runs in found.items()
    }
    plain, changed = figures.values()
    ratios = {name: changed[name][0] / plain[name][0] for name in FIGURES}
    points = 100 * (changed["accuracy"][0] - plain["accuracy"][0])
    rows, less = 1 - ratios["rows"], 1 - ratios["batch_ms"]
    print(f"{options.what}: {rows:.1%} fewer rows a batch, {less:.1%} less time, {points:+.2f} points")
    settings = {name: getattr(options, name) for name in ("what", "epochs", "repeats", "batch", "length")}
    told = {"data": Path(options.data).name, **settings, "figures": figures, "ratios": ratios}
    report(told, options.out, show=False)


if __name__ == "__main__":
    main()
