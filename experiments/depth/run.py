"""ResGCN at several depths: peak memory of a rank, and how many hidden matrices a further layer adds to it.

python -m experiments.depth.run npz:reddit60k.npz [--parts 2] [--hidden 128] [--epochs 3] [--out FILE]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from experiments.machine import report
from gcnsys.partition import Partitioning

DEPTHS = {True: (4, 12, 28), False: (4, 12)}
"""With and without layers computed again; 28 layers that keep everything take 9 GB a rank."""


def trained(parts: Path, folder: Path, layers: int, options: argparse.Namespace, recompute: bool) -> Any:
    """The summary of a short run."""
    words = [
        "train",
        str(parts),
        "--model",
        "resgcn",
        "--layers",
        str(layers),
        "--out",
        str(folder),
        "--json",
    ]
    words += ["--hidden", str(options.hidden), "--epochs", str(options.epochs), "--eval-every", "100"]
    words += ["--recompute" if recompute else "--no-recompute", "--checkpoint-minutes", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "gcnsys", *words]
    return json.loads(subprocess.run(command, check=True, capture_output=True, env=environment).stdout)


def main() -> None:
    """Measure and print."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("graph", help="SPEC of a dataset")
    cli.add_argument("--parts", type=int, default=2)
    cli.add_argument("--hidden", type=int, default=128)
    cli.add_argument("--epochs", type=int, default=3)
    cli.add_argument("--out", type=Path, help="write the result here, too")
    options = cli.parse_args()
    result: dict[str, Any] = {"graph": Path(options.graph).name, "hidden": options.hidden}
    with tempfile.TemporaryDirectory(prefix="gcnsys-") as temporary:
        parts = Path(temporary) / "parts"
        build = ["partition", "build", options.graph, "--parts", str(options.parts), "--out", str(parts)]
        subprocess.run([sys.executable, "-m", "gcnsys", *build], check=True, stdout=sys.stderr)
        inner = max(part.inner for part in Partitioning.open(parts).manifest.parts)
        for recompute, depths in DEPTHS.items():
            peaks, seconds = [], []
            for layers in depths:
                run = trained(parts, Path(temporary) / f"{recompute}-{layers}", layers, options, recompute)
                peaks.append(max(run["peak_rss_bytes"]))
                seconds.append(run["epoch_seconds_median"])
                print(
                    f"{layers:3} layers, {'computed again' if recompute else 'kept':14}: "
                    f"{peaks[-1] / 2**20:7.0f} MiB a rank, {seconds[-1]:.2f} s an epoch, "
                    f"loss {run['final_loss']:.3f}",
                    flush=True,
                )
            added = (peaks[-1] - peaks[0]) / (depths[-1] - depths[0]) / (inner * options.hidden * 4)
            print(f"    a further layer adds {added:.2f} matrices [{inner}, {options.hidden}] to the peak")
            name = "computed_again" if recompute else "kept"
            result[name] = {
                "layers": depths, "peak_bytes": peaks, "matrices_a_layer": added, "epoch_seconds": seconds,
            }  # fmt: skip
    report(result, options.out, show=False)


if __name__ == "__main__":
    main()
