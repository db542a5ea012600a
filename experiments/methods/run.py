"""What does sampling boundaries, or using them an epoch late, cost in accuracy, and what does it send?

Every method trains as many epochs as vanilla, from the same weights, on the same splits and cuts; models are
chosen on validation. A method is `within` if its mean is at most so many points below vanilla's, or two
standard errors of the difference.

python -m experiments.methods.run                         every graph; each has a record in results/
python -m experiments.methods.run cora facebook_pages     these alone
python -m experiments.methods.run --work FOLDER           goes on after an interruption
python -m experiments.methods.run npz:/tmp/reddit60k.npz  a graph from elsewhere, by the run file of its name
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from experiments import runfile
from experiments.machine import report
from gcnsys.datasets import Dataset, load
from gcnsys.errors import GcnsysError, InputError
from gcnsys.partition import build
from gcnsys.train import RunConfig

FOLDER = Path(__file__).parent
ACCURACY = FOLDER.parent / "accuracy"

GRAPHS = {
    "cora": ACCURACY / "cora.toml",
    "coauthor_cs": ACCURACY / "coauthor_cs_sage.toml",
    "amazon_photo": ACCURACY / "amazon_photo_sage.toml",
    "facebook_pages": ACCURACY / "facebook_pages_sage.toml",
    "reddit60k": FOLDER / "reddit60k.toml",
}

METHODS: dict[str, tuple[dict[str, Any], float | None]] = {
    "vanilla": ({}, None),
    "bns 0.1": ({"method": "bns", "rate": 0.1}, 0.005),
    "bns 0.01": ({"method": "bns", "rate": 0.01}, 0.01),
    "none": ({"rows": "none"}, None),
    "importance 0.1": ({"rows": "importance", "rate": 0.1}, None),
    "int8": ({"codec": "int8"}, None),
    "pipegcn": ({"method": "pipegcn"}, 0.005),
    "pipegcn-f": ({"method": "pipegcn-f"}, None),
    "pipegcn-g": ({"method": "pipegcn-g"}, None),
    "pipegcn-gf": ({"method": "pipegcn-gf"}, 0.005),
    "bns 0.1 x pipeline x int8": (
        {"method": "bns", "rate": 0.1, "schedule": "pipeline", "codec": "int8"}, 0.005),
}  # fmt: skip
"""Settings of a method, and how far below vanilla its mean may be; None: reported as it is."""


def measured(name: str, data: str | None, parts: Sequence[int], seeds: int, work: Path) -> dict[str, Any]:
    """All methods on one graph, by number of parts; results that lie in ``work`` are taken as they are."""
    changes = {} if data is None else {"data": data}
    folder = runfile.data_folder() if data is None else Path()
    settings = {method: values for method, (values, _) in METHODS.items()}
    plans: dict[int, list[dict[str, Any]]] = {count: [] for count in parts}
    for seed in range(seeds):
        config = runfile.read(GRAPHS[name], folder, seed=seed, split_seed=seed, threads=1, **changes)
        dataset = load(config.data, split=config.data_split(), normalization=config.normalize)
        for count in parts:
            cut = work / f"{name}-{count}-{seed}"
            plans[count] += planned(name, dataset, config.model_copy(update={"parts": count}), settings, cut)
    runs = {str(count): trained(plan, count, work / f"{name}-{count}") for count, plan in plans.items()}
    return {
        "graph": name, "seeds": seeds, "run_file": GRAPHS[name].name,
        "parts": {count: compared(methods) for count, methods in runs.items()},
    }  # fmt: skip


@contextmanager
def workbench(asked: Path | None) -> Iterator[Path]:
    """The folder that was asked for, which stays, or one for now."""
    if asked is None:
        with tempfile.TemporaryDirectory(prefix="gcnsys-") as folder:
            yield Path(folder)
    else:
        asked.mkdir(parents=True, exist_ok=True)
        yield asked


def told(command: Callable[[], int]) -> int:
    """Run a command; a mistake is told in its sentence. Returns the exit code."""
    try:
        return command()
    except GcnsysError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def planned(
    name: str, dataset: Dataset, config: RunConfig, methods: Mapping[str, dict[str, Any]], cut: Path
) -> list[dict[str, Any]]:
    """Cut once; a run by every method, which is said by its settings."""
    if not cut.exists():
        build(dataset, config.cutting(), cut)
    values = config.model_dump(
        exclude_none=True, exclude={"method", "rows", "schedule", "codec", "smoothing"}
    )
    return [
        {
            "title": f"{name}, {config.parts} parts, seed {config.seed}, {method}", "method": method,
            "folder": str(cut),
            "config": RunConfig.checked(values | settings).model_dump(mode="json", exclude_none=True),
        }
        for method, settings in methods.items()
    ]  # fmt: skip


def trained(plan: list[dict[str, Any]], parts: int, path: Path) -> dict[str, list[dict[str, Any]]]:
    """All runs of a plan, by method; their ranks are processes that stay.

    ``PATH.results`` gets a line a run; a run that has one is not run again.
    """
    runs, results = path.with_suffix(".plan"), path.with_suffix(".results")
    results.touch()
    runs.write_text("".join(json.dumps(run) + "\n" for run in plan))
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(parts)]
    command = [sys.executable, "-m", *torchrun, "-m", "experiments.methods.rank", str(runs), str(results)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    subprocess.run(command, check=True, env=environment)
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    found: dict[str, list[dict[str, Any]]] = {}
    for run in plan:
        record = next(line["record"] for line in lines if line["run"] == run)
        found.setdefault(run["method"], []).append(record)
    return found


def compared(methods: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Means and errors of each method, beside vanilla's."""
    exact = [run["test_acc"] for run in methods["vanilla"]]
    sent = methods["vanilla"][0]["halo_bytes"]
    found = {}
    for name, runs in methods.items():
        accuracies = [run["test_acc"] for run in runs]
        lost = fmean(exact) - fmean(accuracies)
        error = (variance(exact) / len(exact) + variance(accuracies) / len(accuracies)) ** 0.5
        record: dict[str, Any] = {
            "test_acc": accuracies, "mean": fmean(accuracies), "points_lost": 100 * lost,
            "standard_error_of_difference": 100 * error,
            "traffic": runs[0]["halo_bytes"] / sent, "halo_bytes": runs[0]["halo_bytes"],
            "buffers": runs[0]["buffer_bytes"] / methods["vanilla"][0]["buffer_bytes"],
            "validation": runs[0]["validation"],
        }  # fmt: skip
        allowed = METHODS[name][1]
        if allowed is not None:
            record["allowed_points"] = 100 * allowed
            record["within"] = bool(lost <= max(allowed, 2 * error) + 1e-9)
        found[name] = record
    return found


def variance(values: Sequence[float]) -> float:
    return stdev(values) ** 2 if len(values) > 1 else 0.0


def table(result: dict[str, Any]) -> str:
    """A graph's record as lines."""
    lines = []
    for count, methods in result["parts"].items():
        for name, record in methods.items():
            verdict = {True: "within", False: "NOT within", None: ""}[record.get("within")]
            lines.append(
                f"{result['graph']:15s} P={count} {name:26s} {100 * record['mean']:6.2f} "
                f"(lost {record['points_lost']:+5.2f} ± {record['standard_error_of_difference']:.2f})  "
                f"traffic {record['traffic']:6.3f}  {verdict}"
            )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 1 if a method is not within what it may lose."""
    style = argparse.RawDescriptionHelpFormatter
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    cli.add_argument("graphs", nargs="*", default=list(GRAPHS), help=", ".join(GRAPHS))
    cli.add_argument("--parts", default="2,4")
    cli.add_argument("--seeds", type=int, default=5)
    cli.add_argument("--out", type=Path, default=FOLDER / "results", help="folder of the records")
    cli.add_argument("--work", type=Path, help="folder of cuts and runs; what it has is not run again")
    options = cli.parse_args(arguments)
    good = True
    with workbench(options.work) as work:
        for asked in options.graphs:
            name = Path(asked.partition(":")[2]).stem if ":" in asked else asked
            if name not in GRAPHS:
                raise InputError(f"{asked}: no run file for it; known: {', '.join(GRAPHS)}")
            data = asked if ":" in asked else None
            result = measured(
                name, data, [int(part) for part in options.parts.split(",")], options.seeds, work
            )
            print(table(result), flush=True)
            options.out.mkdir(parents=True, exist_ok=True)
            report(result, options.out / f"{name}.json", show=False)
            records = [each for methods in result["parts"].values() for each in methods.values()]
            good &= all(record.get("within", True) for record in records)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(told(main))
