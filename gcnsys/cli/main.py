"""``gcnsys``: parse, run one subcommand, print its result, leave with its code.

Standard output carries the result alone (with ``--json`` exactly one JSON object); progress and
messages go to standard error. Codes: 0 done, 2 the input cannot be used, 1 anything else.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from gcnsys import __version__, kernels
from gcnsys.cli import (
    cosearch,
    data,
    estimate,
    export,
    islandize,
    partition,
    plan,
    polarize,
    predict,
    report,
    sample,
    train,
    train_minibatch,
)
from gcnsys.cli.output import Output
from gcnsys.errors import GcnsysError, of_system
from gcnsys.registry import unknown
from gcnsys.train.folder import plain

COMMANDS = {
    "data": data, "partition": partition, "plan": plan, "train": train, "train-minibatch": train_minibatch,
    "sample": sample, "predict": predict, "export": export, "islandize": islandize, "polarize": polarize,
    "estimate": estimate, "cosearch": cosearch, "report": report,
}  # fmt: skip


class Version(argparse.Action):
    """Prints the version; looks for the kernels only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **options)

    def __call__(self, *_: Any) -> NoReturn:
        print(f"gcnsys {__version__} (kernels: {kernels.name()})")
        raise SystemExit(0)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, and whose options are written out."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **{"allow_abbrev": False} | options)

    def error(self, message: str) -> NoReturn:
        if os.environ.get("RANK", "0") == "0":
            print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = Parser(
        prog="gcnsys",
        description="Train graph convolutional networks on a whole graph, cut into parts.",
        epilog="example: gcnsys train digits --parts 2",
    )
    top.add_argument("--version", action=Version, help="print the version and which kernels run")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in COMMANDS.values():
        module.add(subparsers)
    return top


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    raise SystemExit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    output = Output(json="--json" in arguments)
    try:
        if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
            raise unknown("command", arguments[0], COMMANDS)
        options = parser().parse_args(arguments, argparse.Namespace(arguments=list(arguments)))
        if getattr(options, "plot", None):  # before hours of work, not after them
            from gcnsys.report.style import drawable

            drawable()
        result = options.run(options, output)
    except GcnsysError as error:
        if not error.said:
            output.problem(str(error), everywhere=error.everywhere)
        return error.exit_code
    except OSError as error:
        output.problem(str(of_system(error)))
        return 2
    except KeyboardInterrupt:
        output.problem("interrupted")
        return 130
    if options.json and result is not None:
        print(json.dumps(plain(result)))
    return options.exit_code if hasattr(options, "exit_code") else 0
