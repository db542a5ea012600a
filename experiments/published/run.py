"""Train as BNS-GCN and PipeGCN published it, where data and GPUs are, and record the score beside theirs.

python -m experiments.published.run RUN [--out FILE]      a run file of this folder, by name
python -m experiments.published.run RUN --stand-in        the same on a small graph of the same schema
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.machine import report
from experiments.published.stand_in import SCHEMAS, write
from gcnsys.errors import GcnsysError
from gcnsys.registry import unknown
from gcnsys.train import RunConfig

FOLDER = Path(__file__).parent
RUNS = {path.stem: path for path in sorted(FOLDER.glob("*.toml")) if path.name != "claim.toml"}

PUBLISHED: dict[str, tuple[float, str]] = {
    "reddit_bns": (0.9721, "BNS-GCN's released log, 2 parts, rate 0.1"),
    "reddit_pipegcn": (0.9712, "PipeGCN's table, 2 parts"),
    "products_bns": (0.7914, "PipeGCN's table: exact training, 5 parts"),
    "products_pipegcn": (0.7906, "PipeGCN's table, 5 parts"),
    "yelp_bns": (0.6526, "PipeGCN's table: exact training, 3 parts; F1"),
    "yelp_pipegcn": (0.6527, "PipeGCN's table, 3 parts; F1"),
}
"""Test scores and where they stand. Of papers100M only seconds of an epoch are published."""


def command(name: str, data: str, out: Path, further: Sequence[str]) -> list[str]:
    """The words after ``gcnsys``."""
    words = ["train", str(RUNS[name]), "--set", f"data={json.dumps(data)}", "--out", str(out), "--json"]
    return [*words, *further]


def trained(words: Sequence[str]) -> dict[str, Any]:
    """The summary of a run.

    Raises:
        GcnsysError: it failed; what it said went to standard error.
    """
    done = subprocess.run([sys.executable, "-m", "gcnsys", *words], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise GcnsysError(f"gcnsys {' '.join(words[:2])} failed with code {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def stand_in(name: str, folder: Path) -> str:
    """The SPEC of a small graph of the run's schema, written to a folder."""
    path = folder / f"{name}.npz"
    write(SCHEMAS[RunConfig.read(RUNS[name])["data"]], path)
    return f"npz:{path}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    style = argparse.RawDescriptionHelpFormatter
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    cli.add_argument("run", metavar="RUN", help=", ".join(RUNS))
    cli.add_argument("--data", help="another SPEC, or a partitioning's folder (default: the run file's)")
    cli.add_argument("--stand-in", action="store_true", help="a small graph of the same schema; no record")
    cli.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as of gcnsys train")
    cli.add_argument("--runs", type=Path, default=Path("runs"), help="where the run's folder is made")
    cli.add_argument("--out", type=Path, help="write the record here, too")
    options = cli.parse_args(arguments)
    try:
        if options.run not in RUNS:
            raise unknown("published run", options.run, RUNS)
        further = [word for pair in options.set for word in ("--set", pair)]
        with tempfile.TemporaryDirectory(prefix="gcnsys-") as folder:
            data = options.data or RunConfig.read(RUNS[options.run])["data"]
            if options.stand_in:
                data = stand_in(options.run, Path(folder))
            home = Path(folder) if options.stand_in else options.runs
            summary = trained(command(options.run, data, home / options.run, further))
    except GcnsysError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    score, where = PUBLISHED.get(options.run, (None, "no score is published"))
    found = {"run": options.run, "published": score, "published_where": where, "summary": summary}
    print(f"{options.run}: test {summary['test_acc_at_best_val']:.4f}, published {score} ({where})")
    if not options.stand_in:
        report(found, options.out, show=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
