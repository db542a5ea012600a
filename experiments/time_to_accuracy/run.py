"""How long until a method is as good as exact training: epochs to a target, times the seconds of an epoch.

Every method trains the model of experiments/throughput, from the same weights. The target is half a point
below what exact training's validation accuracy reaches, averaged over seeds. The epochs to it do not depend
on the network; the seconds of an epoch on each network are those of that experiment's record.

python -m experiments.time_to_accuracy.run DATA [--seeds 3] [--epochs 60] [--out results.json]
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from experiments import runfile
from experiments.machine import report
from experiments.methods.run import planned, told, trained, workbench
from experiments.throughput.run import METHODS
from gcnsys.datasets import load
from gcnsys.errors import InputError

THROUGHPUT = Path(__file__).parents[1] / "throughput"
BELOW = 0.005
"""How far below exact training's best the target lies."""


def curves(data: str, parts: int, seeds: int, epochs: int, work: Path) -> dict[str, list[list[float]]]:
    """Validation accuracies by method, seed and epoch."""
    plan, name = [], Path(data.partition(":")[2]).stem
    for seed in range(seeds):
        config = runfile.read(
            THROUGHPUT / "run.toml", Path(), data=data, parts=parts, seed=seed, epochs=epochs, lr=0.01
        )
        dataset = load(config.data, split=config.data_split(), normalization=config.normalize)
        plan += planned(name, dataset, config, METHODS, work / f"{parts}-{seed}")
    runs = trained(plan, parts, work / f"{name}-{parts}")
    return {method: [run["validation"] for run in each] for method, each in runs.items()}


def mean_curve(runs: Sequence[Sequence[float]]) -> list[float]:
    return [fmean(accuracies) for accuracies in zip(*runs, strict=True)]


def epochs_to(target: float, curve: Sequence[float]) -> int | None:
    """How many epochs until a curve reaches a target; None: it does not."""
    return next((epoch + 1 for epoch, accuracy in enumerate(curve) if accuracy >= target), None)


def times(means: dict[str, list[float]], throughput: dict[str, Any]) -> dict[str, Any]:
    """By network and method: epochs and seconds to the target, and how many times as soon as vanilla."""
    target = max(means["vanilla"]) - BELOW
    found: dict[str, Any] = {"target": target, "networks": {}}
    for network, record in throughput["networks"].items():
        rows: dict[str, dict[str, float | None]] = {}
        for method, curve in means.items():
            epochs, epoch = epochs_to(target, curve), record["methods"][method]["epoch"]
            seconds = None if epochs is None else epochs * epoch
            rows[method] = {"epochs": epochs, "epoch_seconds": epoch, "seconds": seconds}
        exact = rows["vanilla"]["seconds"]
        for row in rows.values():
            row["times_as_soon"] = exact / row["seconds"] if exact and row["seconds"] else None
        found["networks"][network] = {"rate": record["rate"], "methods": rows}
    return found


def table(result: dict[str, Any]) -> str:
    """A record as lines."""
    lines = [f"target: {100 * result['target']:.2f} % of validation nodes"]
    for record in result["networks"].values():
        lines.append(record["rate"])
        for method, row in record["methods"].items():
            reached = "not reached" if row["seconds"] is None else (
                f"{row['epochs']:3d} epochs of {row['epoch_seconds']:6.3f} s = {row['seconds']:7.1f} s, "
                f"{row['times_as_soon']:.2f}x"
            )  # fmt: skip
            lines.append(f"  {method:26s} {reached}")
    return "\n".join(lines)


def main() -> int:
    """Run the command; returns its exit code."""
    style = argparse.RawDescriptionHelpFormatter
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    cli.add_argument("data", help="SPEC of the dataset of experiments/throughput")
    cli.add_argument("--seeds", type=int, default=3)
    cli.add_argument("--epochs", type=int, default=60)
    cli.add_argument("--record", type=Path, default=THROUGHPUT / "results.json", help="of the throughput")
    cli.add_argument("--work", type=Path, help="folder of cuts and runs; what it has is not run again")
    cli.add_argument("--out", type=Path, help="write the result here, too")
    options = cli.parse_args()
    throughput = json.loads(options.record.read_text())
    name = Path(options.data.partition(":")[2]).stem
    if name != throughput["data"]:
        raise InputError(f"{options.record} is of {throughput['data']}, not of {name}")
    with workbench(options.work) as work:
        runs = curves(options.data, throughput["parts"], options.seeds, options.epochs, work)
    means = {method: mean_curve(each) for method, each in runs.items()}
    result = {"data": name, "parts": throughput["parts"], "seeds": options.seeds} | times(means, throughput)
    print(table(result))
    report(result | {"validation": means}, options.out, show=False)
    return 0


if __name__ == "__main__":
    sys.exit(told(main))
