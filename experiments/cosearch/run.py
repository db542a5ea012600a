"""The co-search on Cora: what it finds, beside GCoD's template, and how well it searches.

python -m experiments.cosearch.run design        one search, its design trained alone, beside the baseline
python -m experiments.cosearch.run hypervolume   evolution and random designs, five seeds, equal evaluations

Both write their part of results.json.
"""

import argparse
import json
import tempfile
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from statistics import fmean
from typing import Any

from experiments import runfile
from experiments.machine import report
from gcnsys.cli.main import run
from gcnsys.datasets import load
from gcnsys.search.budget import Budget
from gcnsys.search.problem import BASELINE, Problem
from gcnsys.search.study import CoSearch, Method, hypervolume

RESULTS = Path(__file__).parent / "results.json"
TRIALS, STEPS, SEEDS, RETRAINED = 400, 200, 5, 5


def design() -> dict[str, Any]:
    """The command as a person would give it, and the most that any design could gain over GCoD's template."""
    words = ["cosearch", f"npz:{runfile.data_folder() / 'cora.npz'}", "--trials", str(TRIALS)]
    words += ["--steps", str(STEPS), "--retrain", str(RETRAINED), "--json"]
    with tempfile.TemporaryDirectory() as folder:
        out, began = StringIO(), time.perf_counter()
        with redirect_stdout(out):
            code = run([*words, "--out", str(Path(folder) / "search")])
        assert code == 0
    found: dict[str, Any] = json.loads(out.getvalue())
    found.pop("folder")
    return found | {"command_seconds": time.perf_counter() - began}


def hypervolumes() -> dict[str, Any]:
    """What the fronts of both ways to propose designs cover, with one supernet."""
    problem = Problem(load(f"npz:{runfile.data_folder() / 'cora.npz'}"), Budget(), seed=0)
    problem.supernet.fit(STEPS)
    found: dict[str, Any] = {"trials": TRIALS}
    methods: tuple[Method, ...] = ("evolution", "random")
    for method in methods:
        covered = []
        for seed in range(SEEDS):
            search = CoSearch(problem.judge, method=method, seed=seed)
            search.run(TRIALS)
            covered.append(hypervolume(search.found()))
            print(f"{method}, seed {seed}: {covered[-1]:.4f}", flush=True)
        found[method] = {"seeds": covered, "mean": fmean(covered)}
    return found


def limit() -> dict[str, float]:
    """How much faster than GCoD's template a design of the same model, bits and elements can be at most."""
    problem = Problem(load(f"npz:{runfile.data_folder() / 'cora.npz'}"), Budget(), seed=0)
    gcod, work = problem.gcod(32), problem.work(BASELINE)
    estimate = gcod.estimate(work)
    islands = work.structure.islands
    assert islands is not None
    saved = sum(step.aggregation for step in work.steps()) * (1 - islands.kept)
    return {
        "gcod_share_of_peak": estimate.utilisation, "operations_saved_by_islands": saved / work.macs(),
        "at_most": 1 / estimate.utilisation / (1 - saved / work.macs()),
    }  # fmt: skip


def main() -> None:
    """Measure, print and record."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("what", choices=["design", "hypervolume"])
    options = cli.parse_args()
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if options.what == "design":
        found |= {"design": design(), "limit": limit()}
    else:
        found["hypervolume"] = hypervolumes()
    print(json.dumps(found[options.what], indent=1))
    report(found, RESULTS, "optuna", show=False)


if __name__ == "__main__":
    main()
