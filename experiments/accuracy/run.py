"""Do our models reach the published accuracies, and those of PyG's layers?

python -m experiments.accuracy.run                 measure everything and record it
python -m experiments.accuracy.run --only cora     measure one run and print it (--add: record it, too)
"""

import argparse
import importlib
import importlib.util
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from experiments import runfile
from experiments.accuracy import ours
from experiments.accuracy.history import History
from experiments.accuracy.results import (
    SIDES,
    Experiment,
    Record,
    claim_table,
    claims_on,
    page,
    recorded,
    table,
)
from experiments.machine import machine, packages
from gcnsys.datasets import Dataset, load
from gcnsys.errors import GcnsysError, InputError, MissingPackageError
from gcnsys.files import write, write_json
from gcnsys.train import RunConfig

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results.json"

# Published: Kipf & Welling 2017, table 2; Veličković et al. 2018, table 2.
EXPERIMENTS = (
    Experiment("cora", 10, ("gcnsys-1", "gcnsys-3", "pyg"), published=0.815, at_least=0.810),
    Experiment("citeseer", 10, ("gcnsys-1", "gcnsys-3", "pyg"), published=0.703, at_least=0.698),
    Experiment("cora_gat", 10, ("gcnsys-1", "gcnsys-3"), published=0.830, at_least=0.822),
    Experiment("citeseer_gat", 10, ("gcnsys-1", "gcnsys-3"), published=0.725, at_least=0.708),
    *(Experiment(f"{graph}_{model}", 5)
      for graph in ("coauthor_cs", "amazon_photo", "facebook_pages") for model in ("gcn", "sage")),
)  # fmt: skip

EARLY = 50
"""Epochs after which accuracies are recorded as well, for a check to compare with."""


def train(side: str, dataset: Dataset, config: RunConfig) -> History:
    """One run of one side."""
    if side == "pyg":
        history: History = importlib.import_module("experiments.accuracy.pyg").train(dataset, config)
        return history
    return ours.train(dataset, config, int(side.removeprefix("gcnsys-")))


def measure(
    experiment: Experiment, sides: Sequence[str], seeds: int, **changes: int
) -> dict[str, list[History]]:
    """Train all sides on the same splits, one after the other."""
    histories: dict[str, list[History]] = {side: [] for side in sides}
    for seed in range(seeds):
        config = runfile.read(
            FOLDER / f"{experiment.run}.toml", runfile.data_folder(), seed=seed, split_seed=seed, **changes
        )
        dataset = load(config.data, split=config.data_split(), normalization=config.normalize)
        for side in sides:
            began = time.perf_counter()
            history = train(side, dataset, config)
            histories[side].append(history)
            seconds = time.perf_counter() - began
            said = f"{experiment.run}, seed {seed}, {SIDES[side]}: {history.test_acc():.4f}"
            print(f"{said}  ({seconds:.1f} s)", file=sys.stderr, flush=True)
    return histories


def measured(experiments: Sequence[Experiment]) -> Record:
    """Measure experiments whole."""
    if not has_pyg():
        raise MissingPackageError("torch-geometric is missing; install gcnsys[pyg]")
    began, busy = time.perf_counter(), time.process_time()
    runs, claims = {}, []
    for experiment in experiments:
        histories = measure(experiment, experiment.sides, experiment.seeds)
        record = recorded(experiment, histories, EARLY)
        runs[experiment.run] = record
        claims += [asdict(claim) for claim in claims_on(experiment, record)]
    return {
        "command": "OMP_NUM_THREADS=1 python -m experiments.accuracy.run",
        "machine": machine(),
        "versions": packages("torch-geometric"),
        "seconds": round(time.perf_counter() - began),
        "processor_seconds": round(time.process_time() - busy),
        "check": {"epochs": EARLY},
        "claims": claims,
        "runs": runs,
    }


def added(results: Record, new: Record) -> Record:
    """A record with some of its runs measured anew, or with further ones."""
    runs = {name: {**record, "machine": new["machine"]} for name, record in new["runs"].items()}
    kept = [claim for claim in results["claims"] if claim["text"].partition(":")[0] not in runs]
    runs = {**results["runs"], **runs}
    order = [experiment.run for experiment in EXPERIMENTS]
    claims = sorted([*kept, *new["claims"]], key=lambda claim: order.index(claim["text"].partition(":")[0]))
    return {**results, "runs": {name: runs[name] for name in order if name in runs}, "claims": claims}


def on_record() -> Record:
    """What was measured last."""
    if not RESULTS.is_file():
        raise InputError(f"{RESULTS.name} is missing; measure everything once")
    results: Record = json.loads(RESULTS.read_text())
    return results


def has_pyg() -> bool:
    return importlib.util.find_spec("torch_geometric") is not None


def chosen(names: Sequence[str]) -> tuple[Experiment, ...]:
    """The named experiments, or all of them."""
    known = [experiment.run for experiment in EXPERIMENTS]
    for name in names:
        if name not in known:
            raise InputError(f"--only {name}: no such run; known: {', '.join(known)}")
    return tuple(experiment for experiment in EXPERIMENTS if not names or experiment.run in names)


def run(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    experiments = chosen(options.only)
    results = measured(experiments)
    print(table(results["runs"]), claim_table(results["claims"]), sep="\n\n")
    if options.add:
        results = added(on_record(), results)
    if options.add or not options.only:
        write_json(RESULTS, results)
        write(RESULTS.with_suffix(".md"), page(results).encode())
    return 0 if all(claim["met"] for claim in results["claims"]) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--only", nargs="+", default=[], metavar="RUN", help="these; nothing is recorded")
    parser.add_argument("--add", action="store_true", help="add those to the record")
    try:
        return run(parser.parse_args(arguments))
    except GcnsysError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
