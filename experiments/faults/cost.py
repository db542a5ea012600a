"""What checkpoints cost: the same run with and without, round by round.

python -m experiments.faults.cost npz:reddit60k.npz [--epochs 41] [--every 10] [--rounds 3] [--out FILE]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from experiments.machine import report
from experiments.runfile import ROOT

METHODS = ("vanilla", "pipegcn-gf")
SETTINGS = ROOT / "experiments" / "methods" / "reddit60k.toml"


def run(parts: Path, folder: Path, method: str, epochs: int, every: int) -> dict[str, float]:
    """Seconds of all epochs but the first, and of what the run waited for its checkpoints."""
    options = {
        "data": json.dumps(str(parts)), "method": json.dumps(method), "epochs": epochs, "eval_every": epochs,
        "checkpoint_every": every, "checkpoint_minutes": 0,
    }  # fmt: skip
    words = [sys.executable, "-m", "gcnsys", "train", str(SETTINGS), "--out", str(folder), "--json"]
    for key, value in options.items():
        words += ["--set", f"{key}={value}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    waited = json.loads(done.stdout)["checkpoint_seconds"]
    files = sum(path.stat().st_size for path in folder.rglob("checkpoints/**/*") if path.is_file())
    shutil.rmtree(folder)
    return {"epochs": sum(line["seconds"] for line in lines[1:]), "waited": waited, "megabytes": files / 1e6}


def main() -> None:
    """Measure and print."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("graph", help="SPEC of a dataset")
    cli.add_argument("--epochs", type=int, default=41)
    cli.add_argument("--every", type=int, default=10, help="epochs between checkpoints")
    cli.add_argument("--rounds", type=int, default=3)
    cli.add_argument("--out", type=Path, help="write the result here, too")
    options = cli.parse_args()
    result: dict[str, Any] = {
        "graph": Path(options.graph).name,
        "epochs": options.epochs,
        "every": options.every,
    }
    with tempfile.TemporaryDirectory(prefix="gcnsys-cost-") as temporary:
        parts = Path(temporary) / "parts"
        build = ["partition", "build", options.graph, "--parts", "2", "--out", str(parts)]
        subprocess.run([sys.executable, "-m", "gcnsys", *build], check=True, stdout=sys.stderr)
        for method in METHODS:
            rounds: dict[str, list[dict[str, float]]] = {"without": [], "with": []}
            for _ in range(options.rounds):
                for name, every in (("without", 0), ("with", options.every)):
                    rounds[name].append(run(parts, Path(temporary) / "run", method, options.epochs, every))
                    print(method, name, rounds[name][-1], file=sys.stderr, flush=True)
            seconds = {name: min(each["epochs"] + each["waited"] for each in rounds[name]) for name in rounds}
            result[method] = {
                "rounds": rounds,
                "seconds": seconds,
                "cost": seconds["with"] / seconds["without"] - 1,
            }
            print(f"{method}: checkpoints every {options.every} epochs cost {result[method]['cost']:.1%}")
    report(result, options.out, show=False)


if __name__ == "__main__":
    main()
