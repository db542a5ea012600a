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
from gcnsys.accel import model_work
from gcnsys.cli.main import run
from gcnsys.datasets import load
from gcnsys.graph import CSR
from gcnsys.islands import looped
from gcnsys.islands.share import shared_sums
from gcnsys.kernels.sharing import shared
from gcnsys.search.budget import Budget
from gcnsys.search.problem import Problem
from gcnsys.search.space import Shape
from gcnsys.search.study import CoSearch, Method, hypervolume

RESULTS = Path(__file__).parent / "results.json"
TRIALS, STEPS, SEEDS, RETRAINED = 400, 400, 5, 5


def design() -> dict[str, Any]:
    """The command as a person would give it, and the most that any design could gain over GCoD's template."""
    words = ["cosearch", f"npz:{runfile.data_folder() / 'cora.npz'}", "--trials", str(TRIALS)]
    words += ["--steps", str(STEPS), "--retrain", str(RETRAINED), "--json"]
    with tempfile.TemporaryDirectory() as folder:
        out, began, busy = StringIO(), time.perf_counter(), time.process_time()
        with redirect_stdout(out):
            code = run([*words, "--out", str(Path(folder) / "search")])
        assert code == 0
    found: dict[str, Any] = json.loads(out.getvalue())
    found.pop("folder")
    spent = {"command_seconds": time.perf_counter() - began, "processor_seconds": time.process_time() - busy}
    return found | spent


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


def limits(found: dict[str, Any]) -> dict[str, float]:
    """The most that a design could gain over GCoD's template on the found model, by ways to save operations.

    Args:
        found: what the command told.

    Returns:
        GCoD's share of peak; shares of operations; and gains of a design that always runs at its peak:
        ``islands``, sums of islands; ``sums``, those shared over the whole graph; ``features``, sums of
        features that rows have in common as well; ``zeros``, weights that are zero skipped, and islands.
    """
    problem = Problem(load(f"npz:{runfile.data_folder() / 'cora.npz'}"), Budget(), seed=0)
    dataset, shape = problem.dataset, Shape(**found["design"]["model"])
    structure, x = problem.structure(shape), dataset.x
    assert structure.islands is not None
    assert isinstance(x, CSR)
    work = model_work(
        "cora", structure, shape.widths(dataset.num_features, dataset.num_classes), x, kind=shape.kind,
        hidden_density=found["hidden_density"], bits=shape.bits, weight_groups=shape.weight_groups,
    )  # fmt: skip
    whole = looped(problem.graphs[shape.pruned])
    pairs, rows = shared(x.pattern)
    steps = work.steps()
    added = sum(step.aggregation for step in steps)
    share = {
        "islands": added * (1 - structure.islands.kept),
        "sums": added * shared_sums(whole).count(whole.num_edges).pruned,
        "features": x.num_edges * shape.hidden * (1 - (len(pairs) + rows.num_edges) / x.num_edges),
        "zeros": sum(step.combination - step.kept_combination for step in steps),
    }
    share = {name: saved / work.macs() for name, saved in share.items()}
    left = {
        "islands": 1 - share["islands"], "sums": 1 - share["sums"],
        "features": 1 - share["sums"] - share["features"], "zeros": 1 - share["zeros"] - share["islands"],
    }  # fmt: skip
    peak = problem.gcod(shape.bits).estimate(work).utilisation
    return {
        "gcod_share_of_peak": peak,
        **{f"operations_saved_by_{name}": saved for name, saved in share.items()},
        **{f"at_most_with_{name}": 1 / peak / kept for name, kept in left.items()},
    }


def main() -> None:
    """Measure, print and record."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("what", choices=["design", "hypervolume"])
    options = cli.parse_args()
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if options.what == "design":
        found["design"] = design()
        found["limit"] = limits(found["design"])
    else:
        found["hypervolume"] = hypervolumes()
    print(json.dumps(found[options.what], indent=1))
    report(found, RESULTS, "optuna", show=False)


if __name__ == "__main__":
    main()
