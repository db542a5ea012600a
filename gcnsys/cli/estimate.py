"""``gcnsys estimate``: what a model on a graph would cost on accelerators, by estimate."""

import argparse
from pathlib import Path
from typing import Any

from gcnsys.accel import Accelerator, Estimate, Work, load, names
from gcnsys.accel.here import NAME as HERE
from gcnsys.accel.here import measured
from gcnsys.accel.sweep import Sweep
from gcnsys.cli.output import Output
from gcnsys.cli.workload import KINDS, work_of
from gcnsys.errors import InputError
from gcnsys.plan.units import amount
from gcnsys.search.space import GROUP

EXAMPLES = """examples:
  gcnsys estimate counts:cora
  gcnsys estimate npz:cora.npz --islands find --accelerator i-gcn,awb-gcn --plot bars.png
  gcnsys estimate counts:reddit --accelerator awb-gcn --sweep macs=1024..16384
  gcnsys estimate polarized --accelerator gcod,awb-gcn
  gcnsys estimate runs/mine --accelerator gcod,mine.toml --baseline here --json"""

BASELINE = "cpu-e5-2680v3"


def add(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "estimate", help="what a graph would cost on an accelerator",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "spec", metavar="SPEC_OR_RUN",
        help="a dataset, counts:NAME or counts:FILE.toml, the folder of a finished run or of gcnsys polarize",
    )  # fmt: skip
    parser.add_argument(
        "--accelerator", default="all", metavar="NAMES",
        help=f"one or several, with commas, *.toml files among them; {HERE}: this machine; all: those at "
        f"their own size, of {', '.join(names())} (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--baseline",
        default=BASELINE,
        metavar="NAME",
        help=f"speedups are over this one (default: {BASELINE})",
    )
    model = parser.add_argument_group("model")
    model.add_argument("--model", choices=KINDS, help="kind of layers (default: gcn)")
    model.add_argument("--layers", type=int, help="(default: 2)")
    model.add_argument("--hidden", type=int, help="width between layers (default: the published one, or 16)")
    model.add_argument(
        "--density", type=_shares, metavar="SHARE[,SHARE...]",
        help="share of hidden rows that is not zero, one for all layers or one each (default: 1)",
    )  # fmt: skip
    model.add_argument(
        "--kept", type=int, metavar="N",
        help=f"weights that are not zero, of each {GROUP} side by side (default: {GROUP})",
    )  # fmt: skip
    model.add_argument("--bits", type=int, help="of a value (default: the accelerator's)")
    model.add_argument("--training", action="store_true", help="an epoch: forth, back and update")
    graph = parser.add_argument_group("graph")
    graph.add_argument("--data", help="of a run: the dataset, where it was trained on a partitioning")
    graph.add_argument(
        "--islands", metavar="DIR", help="of gcnsys islandize; or find: windows that never lose, found now"
    )
    graph.add_argument(
        "--blocks", type=Path, metavar="FILE.npz",
        help="diagonal blocks of a polarized graph: order, group_ptr, class_of, group_of",
    )  # fmt: skip
    parser.add_argument(
        "--sweep",
        metavar="FIELD=LOW..HIGH",
        help="what if: along values of a field, such as macs=1024..16384",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw bars, or lines of a sweep")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_estimate)


def _estimate(options: argparse.Namespace, output: Output) -> dict[str, Any]:
    for flag, least in (("layers", 1), ("hidden", 1)):
        if getattr(options, flag) is not None and getattr(options, flag) < least:
            raise InputError(f"--{flag} must be at least {least}, got {getattr(options, flag)}")
    sweep = None if options.sweep is None else Sweep.parse(options.sweep)
    chosen = [_found(name) for name in _names(options.accelerator)]
    baseline = _found(options.baseline)
    with output.working():
        work = work_of(options)
        if sweep is not None:
            return _swept(sweep, chosen, work, options, output)
        base = baseline.estimate(work)
        estimates = [accelerator.estimate(work) for accelerator in chosen]
    told = _shown(work, estimates, base, output)
    if options.plot:
        from gcnsys.report.estimates import plot

        plot(work.name, told["estimates"], base.accelerator, options.plot)
        told["plot"] = _drawn(options.plot, output)
    return told


def _shares(text: str) -> float | list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no share, such as 0.8, nor 0.8,0.5") from None
    return values if len(values) > 1 else values[0]


def _names(text: str) -> list[str]:
    if text != "all":
        return list(dict.fromkeys(text.split(",")))
    return [name for name in names() if load(name).scale == "own"]


def _found(name: str) -> Accelerator:
    return measured() if name == HERE else load(name)


def _shown(work: Work, estimates: list[Estimate], base: Estimate, output: Output) -> dict[str, Any]:
    structure = work.structure
    output.say(
        f"{work.name}: {structure.num_nodes:,} nodes, {structure.entries:,} entries of the matrix, "
        f"{amount(work.macs(), '')} multiply-accumulates as A(XW)"
    )
    output.table(
        (
            "by estimate", "latency", "wrong by up to", f"over {base.accelerator}", "of peak", "off chip",
            "energy", "bound by",
        ),
        [
            (
                each.accelerator, amount(each.seconds, "s"), f"x {each.factor:g}",
                f"{each.speedup_over(base):,.3g}",
                f"{each.utilisation:.0%}", amount(each.bytes, "B"),
                "not known" if each.energy is None else amount(each.energy, "J"), each.bound,
            )
            for each in estimates
        ],
    )  # fmt: skip
    if any(not each.bytes for each in estimates):
        output.say("0 B off chip: all inputs fit and are presumed to be there, as in published latencies")
    told = [each.plain() | {"speedup": each.speedup_over(base)} for each in estimates]
    return {
        "work": work.name, "nodes": structure.num_nodes, "entries": structure.entries, "macs": work.macs(),
        "training": work.training, "baseline": base.plain(), "estimates": told,
    }  # fmt: skip


def _swept(
    sweep: Sweep, chosen: list[Accelerator], work: Work, options: argparse.Namespace, output: Output
) -> dict[str, Any]:
    lines = {accelerator.name: sweep.run(accelerator, work) for accelerator in chosen}
    output.table(
        (sweep.field, *lines),
        [
            (f"{value:g}", *(amount(line[number][1].seconds, "s") for line in lines.values()))
            for number, value in enumerate(sweep.values)
        ],
    )  # fmt: skip
    told: dict[str, Any] = {
        "work": work.name, "sweep": sweep.field, "values": list(sweep.values),
        "estimates": {name: [each.plain() for _, each in line] for name, line in lines.items()},
    }  # fmt: skip
    if options.plot:
        from gcnsys.report.estimates import plot_sweep

        plot_sweep(work.name, sweep, lines, options.plot)
        told["plot"] = _drawn(options.plot, output)
    return told


def _drawn(path: Path, output: Output) -> str:
    output.say(f"drew {path}")
    return str(path)
