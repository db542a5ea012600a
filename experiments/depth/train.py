"""ResGCN of 28 layers, computed again, trained on real graphs.

python -m experiments.depth.train [--work DIR] [--out FILE]    what is not in DIR yet; half an hour or so
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from experiments.machine import report
from experiments.runfile import data_folder

COMMON = ("--model", "resgcn", "--layers", "28", "--hidden", "64", "--recompute", "--lr", "0.005")
RUNS = {
    "reddit60k": (*COMMON, "--parts", "2", "--dropout", "0.1", "--epochs", "30"),
    "coauthor_cs": (*COMMON, "--epochs", "60"),
}
KEYS = ("parts", "epochs", "best_epoch", "best_val_acc", "test_acc_at_best_val", "epoch_seconds_median")


def trained(graph: str, folder: Path) -> dict[str, Any]:
    """What a run came to; one that is in its folder already is not done again."""
    words = ["train", f"npz:{data_folder() / graph}.npz", *RUNS[graph], "--out", str(folder), "--auto-resume"]
    command = [sys.executable, "-m", "gcnsys", *words, "--json"]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    peak = max(found["peak_rss_bytes"])
    return {"command": " ".join(RUNS[graph]), **{key: found[key] for key in KEYS}, "peak_bytes": peak}


def main() -> None:
    """Train and print."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--work", type=Path, help="where runs are kept (default: nowhere)")
    cli.add_argument("--out", type=Path, help="write the result here, too")
    options = cli.parse_args()
    with tempfile.TemporaryDirectory(prefix="gcnsys-") as temporary:
        home = options.work or Path(temporary)
        report({"runs": {graph: trained(graph, home / graph) for graph in RUNS}}, options.out)


if __name__ == "__main__":
    main()
