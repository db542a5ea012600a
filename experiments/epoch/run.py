"""An epoch of a 4-layer GraphSAGE beside its dense products alone, over two ranks of one thread each.

python -m experiments.epoch.run DATA [--rounds 7] [--out results.json]
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


def measured(data: str, rounds: int, folder: Path, *, inductive: bool) -> dict[str, Any]:
    """Cut the graph in two and measure; the result of rank 0."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    build = ["gcnsys", "partition", "build", data, "--parts", "2", "--out", str(folder)]
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ranks = [*torchrun, "-m", "experiments.epoch.rank", str(folder), str(rounds)]
    subprocess.run(
        [sys.executable, "-m", *build, *(["--inductive"] if inductive else [])], check=True, env=environment
    )
    done = subprocess.run(
        [sys.executable, "-m", *ranks], check=True, env=environment, stdout=subprocess.PIPE, text=True
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    style = argparse.RawDescriptionHelpFormatter
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    cli.add_argument("data", help="SPEC of a dataset with dense features and labels")
    cli.add_argument("--rounds", type=int, default=7)
    cli.add_argument("--out", type=Path, help="write the result here, too")
    options = cli.parse_args()
    result: dict[str, Any] = {"data": Path(options.data.partition(":")[2]).stem}
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("transductive", "inductive"):
            place = Path(folder) / kind
            result[kind] = measured(options.data, options.rounds, place, inductive=kind == "inductive")
    report(result, options.out)


if __name__ == "__main__":
    main()
