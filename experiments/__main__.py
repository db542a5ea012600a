"""Experiments: what is claimed, how to measure it again, and whether it still holds.

python -m experiments list                        every claim, whose it is, what its check takes and needs
python -m experiments run NAME [STEP] [-- MORE]   measure all of it and replace the record
python -m experiments check [NAME ...]            repeat a reduced version and compare it with the record
"""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from experiments import outcome, steps
from experiments.claim import Claim, every, named
from experiments.machine import machine, packages
from experiments.needs import missing
from experiments.outcome import Outcome
from gcnsys.errors import GcnsysError


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    layout = argparse.RawDescriptionHelpFormatter
    top = Parser(prog="python -m experiments", description=__doc__, formatter_class=layout)
    actions = top.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="what is claimed")
    running = actions.add_parser("run", help="measure all of it and replace the record")
    running.add_argument("name", metavar="NAME", help="of an experiment")
    running.add_argument("steps", nargs="*", metavar="STEP", help="these commands alone (default: all)")
    running.add_argument("--show", action="store_true", help="show the commands instead")
    checking = actions.add_parser("check", help="repeat a reduced version and compare it with the record")
    checking.add_argument("names", nargs="*", metavar="NAME", help="of experiments (default: all)")
    checking.add_argument("--figures", action="store_true", help="show every figure, not only what is off")
    for action in (listing, checking):
        action.add_argument("--json", action="store_true", help="print one JSON object")
    return top


def listed(claim: Claim) -> dict[str, Any]:
    """An experiment, as ``list --json`` has it."""
    return {
        "name": claim.name, "claim": claim.claim, "text": claim.text(), "source": claim.source,
        "records": [str(path.relative_to(claim.folder)) for path in claim.recorded()],
        "check": claim.check.model_dump(mode="json") | {"missing": missing(claim.check.needs)},
        "commands": [step.name for step in claim.run],
    }  # fmt: skip


def show(claims: Sequence[Claim]) -> None:
    """A table of experiments."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "claim", "source", "check", "needs", "record"):
        table.add_column(column, justify="right" if column == "check" else "left")
    for claim in claims:
        needs = [*claim.check.needs, *(f"({use})" for use in claim.check.uses)]
        there = "yes" if claim.recorded() else "no"
        row = (claim.name, claim.claim, claim.source, f"{claim.check.seconds} s", " ".join(needs), there)
        table.add_row(*row)
    console.print(table)
    total = sum(claim.check.seconds for claim in claims)
    print(f"\n{len(claims)} experiments; all checks together take {total} s. In brackets: less without it.")


def check(claims: Sequence[Claim], *, as_json: bool, figures: bool) -> int:
    """Make checks, one after the other; returns the exit code."""
    # Stopped from outside, this process still ends what the check at hand has started.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    found: list[Outcome] = []
    for claim in claims:
        if sys.stderr.isatty():
            print(f"{claim.name}: about {claim.check.seconds} s", file=sys.stderr, flush=True)
        found.append(outcome.made(claim))
        if not as_json:
            tell(found[-1], figures=figures)
    counts = {word: sum(one.verdict == word for one in found) for word in ("passed", "off", "skipped")}
    seconds = sum(one.seconds for one in found)
    if as_json:
        whole = {"experiments": [one.json() for one in found], **counts, "seconds": round(seconds, 1)}
        whole |= {"machine": machine(), "versions": packages()}
        print(json.dumps(whole, indent=1))
    else:
        said = ", ".join(f"{count} {word}" for word, count in counts.items())
        print(f"{said}; {seconds:.0f} s")
    return 1 if counts["off"] else 0


def tell(one: Outcome, *, figures: bool) -> None:
    """An outcome in a line, and its figures if they are asked for."""
    verdict = "OFF" if one.verdict == "off" else one.verdict
    print(f"{verdict:8} {one.name:17} {one.reason()} ({one.seconds:.0f} s)", flush=True)
    if figures:
        for figure in one.figures:
            mark = {True: "  ", False: "! ", None: "- "}[figure.good]
            print(f"         {mark}{figure}", flush=True)


def run(options: argparse.Namespace, further: Sequence[str]) -> int:
    if options.action == "list":
        claims = every()
        if options.json:
            print(json.dumps({"experiments": [listed(claim) for claim in claims]}, indent=1))
        else:
            show(claims)
        return 0
    if options.action == "check":
        return check(named(options.names), as_json=options.json, figures=options.figures)
    (claim,) = named([options.name])
    return steps.run(claim, options.steps, further, show=options.show)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    cut = words.index("--") if "--" in words else len(words)
    try:
        return run(parser().parse_args(words[:cut]), words[cut + 1 :])
    except GcnsysError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
