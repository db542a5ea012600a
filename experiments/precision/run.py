"""Rows in bfloat16 against single precision: accuracy on real graphs, seconds an epoch on a large one.

python -m experiments.precision.run accuracy [npz:reddit60k.npz] [--seeds 5] [--out FILE]
python -m experiments.precision.run epoch npz:reddit60k.npz [--rounds 5] [--threads 1] [--out FILE]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean, median
from typing import Any

from experiments import runfile
from experiments.accuracy import ours
from experiments.machine import report
from gcnsys.datasets import load

ACCURACY, METHODS = (runfile.ROOT / "experiments" / name for name in ("accuracy", "methods"))
RUNS = (
    "cora", "citeseer", "amazon_photo_gcn", "amazon_photo_sage", "coauthor_cs_gcn", "coauthor_cs_sage",
    "facebook_pages_gcn", "facebook_pages_sage",
)  # fmt: skip
"""Run files of ``experiments/accuracy``."""

OTHERS = ("dblp_full", "tolokers", "blogcatalog_attr")
"""Graphs of the data folder without one of their own: they take that of ``amazon_photo``."""

PRECISIONS = ("full", "bf16")


def accuracies(seeds: int, large: str | None) -> list[dict[str, Any]]:
    """Test accuracy at the best validation, both ways, on the same splits.

    ``large`` is the SPEC of ``reddit60k``.
    """
    plan: dict[str, tuple[Path, dict[str, str]]] = {name: (ACCURACY / f"{name}.toml", {}) for name in RUNS}
    plan |= {name: (ACCURACY / "amazon_photo_sage.toml", {"data": f"npz:{name}.npz"}) for name in OTHERS}
    if large is not None:
        plan["reddit60k"] = METHODS / "reddit60k.toml", {"data": large}
    rows = []
    for name, (path, changes) in plan.items():
        found: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
        for seed in range(seeds):
            for precision in PRECISIONS:
                config = runfile.read(
                    path, runfile.data_folder(), seed=seed, split_seed=seed, precision=precision, **changes
                )
                dataset = load(config.data, split=config.data_split(), normalization=config.normalize)
                found[precision].append(ours.train(dataset, config).test_acc())
        means = {precision: fmean(values) for precision, values in found.items()}
        points = 100 * (means["bf16"] - means["full"])
        print(
            f"{name:20} full {means['full']:.4f}  bf16 {means['bf16']:.4f}  {points:+.2f} points", flush=True
        )
        rows.append({"run": name, "test_acc": found, "points": points})
    return rows


def epochs(graph: str, rounds: int, threads: int) -> dict[str, Any]:
    """Median seconds of an epoch, the two precisions in turn; the ratio is the median over rounds."""
    found: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    with tempfile.TemporaryDirectory(prefix="gcnsys-") as temporary:
        parts = Path(temporary) / "parts"
        build = ["partition", "build", graph, "--parts", "1", "--out", str(parts)]
        subprocess.run([sys.executable, "-m", "gcnsys", *build], check=True, stdout=sys.stderr)
        for number in range(rounds):
            for precision in PRECISIONS:
                words = ["train", str(parts), "--precision", precision, "--threads", str(threads), "--json"]
                words += ["--model", "sage", "--layers", "3", "--hidden", "256", "--norm", "layer"]
                words += ["--epochs", "6", "--eval-every", "6", "--first-hop", "off", "--out"]
                command = [sys.executable, "-m", "gcnsys", *words, f"{temporary}/{precision}-{number}"]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found[precision].append(json.loads(done.stdout)["epoch_seconds_median"])
            full, half = (found[precision][-1] for precision in PRECISIONS)
            print(f"full {full:.3f} s  bf16 {half:.3f} s  {full / half:.2f} times as fast")
    ratio = median(full / half for full, half in zip(*found.values(), strict=True))
    return {"graph": Path(graph).name, "threads": threads, "seconds": found, "times_as_fast": ratio}


def main() -> None:
    """Measure one of the two and print."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("what", choices=["accuracy", "epoch"])
    cli.add_argument("graph", nargs="?", help="SPEC of reddit60k; epoch needs it")
    cli.add_argument("--seeds", type=int, default=5)
    cli.add_argument("--rounds", type=int, default=5)
    cli.add_argument("--threads", type=int, default=1)
    cli.add_argument("--out", type=Path, help="write the result here, too")
    options = cli.parse_args()
    if options.what == "accuracy":
        rows = accuracies(options.seeds, options.graph)
        report({"seeds": options.seeds, "runs": rows}, options.out, show=False)
    elif options.graph is None:
        cli.error("epoch needs a graph, such as npz:reddit60k.npz")
    else:
        found = epochs(options.graph, options.rounds, options.threads)
        report(found, options.out, show=False)
        print(f"{found['times_as_fast']:.2f} times as fast (median of {options.rounds} rounds)")


if __name__ == "__main__":
    main()
