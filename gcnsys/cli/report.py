"""``gcnsys report``: pictures of runs."""

import argparse
from pathlib import Path
from typing import Any

from gcnsys.cli.output import Output
from gcnsys.report.curves import Run, plot


def add(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "report", help="draw the curves of runs", epilog="example: gcnsys report runs/* --out report"
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders, finished or going on")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the pictures")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_report)


def _report(options: argparse.Namespace, output: Output) -> dict[str, Any]:
    path = options.out / "curves.png"
    plot([Run.read(folder) for folder in options.runs], path)
    output.say(f"drew {path}")
    return {"pictures": [str(path)], "runs": [str(folder) for folder in options.runs]}
