"""``gcnsys plan``: memory, traffic and time of every method before a run, and which one to take."""

import argparse
import math
from typing import Any

from gcnsys.cli.options import add_fields, chosen
from gcnsys.cli.output import Output
from gcnsys.errors import InputError
from gcnsys.plan import (
    Network,
    Pace,
    Plan,
    Subject,
    base_bytes,
    measured,
    methods,
    plan,
    stated,
    subject,
    units,
)
from gcnsys.plan.units import amount
from gcnsys.train import RunConfig
from gcnsys.train.run import prepare_process

EXAMPLES = """examples:
  gcnsys plan partitions/mine --model sage --hidden 256 --memory 11GiB --bandwidth 10Gbit
  gcnsys plan npz:cora.npz --parts 2,4,8 --bandwidth 1Gbit --latency 50us
  gcnsys plan counts:papers100m --parts 32,192 --layers 3 --hidden 48 --compute 1TFLOPS --json"""

MODEL = (
    "model", "layers", "hidden", "linear_layers", "dropout", "norm", "residual", "heads", "out_heads", "hops",
    "first_hop", "exchange_side", "prune",
)  # fmt: skip
GRAPH = ("directed", "normalize", "split", "split_seed", "partition_method", "objective", "order")


def add(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "plan", help="memory, traffic and time before a run",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "spec", metavar="SPEC", help="a partitioning's folder, a dataset, or counts:NAME or counts:FILE.toml"
    )
    parser.add_argument(
        "--parts", type=_parts, default=(), metavar="P,P,...", help="how many (default: the folder's)"
    )
    resources = parser.add_argument_group("what there is")
    add_resources(resources)
    resources.add_argument(
        "--compute", default="measured", metavar="FLOPS",
        help="of a rank, such as 1.5TFLOPS, or measured: a few epochs of the model here (default: measured)",
    )  # fmt: skip
    resources.add_argument(
        "--ranks-a-machine", type=_count, default=1, metavar="R",
        help="that share caches and memory: measured computing has as many processes at once (default: 1)",
    )  # fmt: skip
    add_fields(resources, ("threads",))
    parser.add_argument(
        "--rates", type=_rates, default=(0.1, 0.01), metavar="p,p,...",
        help="shares of rows that bns draws (default: 0.1,0.01)",
    )  # fmt: skip
    parser.add_argument(
        "--halo-ratio", type=float, metavar="R",
        help="halo nodes an inner node, where the graph is not cut (default: drafted from its mean degree)",
    )  # fmt: skip
    add_fields(parser.add_argument_group("model"), MODEL)
    add_fields(parser.add_argument_group("graph, where SPEC is a dataset"), GRAPH)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_plan)


def add_resources(group: argparse._ArgumentGroup) -> None:
    """Add what a rank has and what lies between ranks."""
    group.add_argument("--memory", metavar="SIZE", help="of a rank, such as 11GiB (default: no limit)")
    group.add_argument(
        "--bandwidth", default="10Gbit", metavar="RATE", help="of a rank's link, each way (default: 10Gbit)"
    )
    group.add_argument(
        "--latency", default="50us", metavar="TIME", help="of a message between ranks (default: 50us)"
    )


def resources(options: argparse.Namespace) -> tuple[float | None, Network]:
    """What :func:`add_resources` was given.

    Raises:
        InputError: an amount that cannot be read.
    """
    memory = None if options.memory is None else units.memory(options.memory)
    return memory, Network(units.bandwidth(options.bandwidth), units.seconds(options.latency))


def _parts(text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(piece) for piece in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"needs numbers such as 2,4,8, got {text!r}") from None
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text!r}")
    return tuple(dict.fromkeys(found))


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"needs a number of at least 1, got {text!r}")
    return int(text)


def _rates(text: str) -> tuple[float, ...]:
    try:
        return tuple(dict.fromkeys(float(piece) for piece in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"needs numbers such as 0.1,0.01, got {text!r}") from None


def _plan(options: argparse.Namespace, output: Output) -> dict[str, Any]:
    memory, network = resources(options)
    compute = None if options.compute == "measured" else units.flops(options.compute)
    weighed = methods(options.rates)
    if options.halo_ratio is not None and not 0 <= options.halo_ratio < math.inf:
        raise InputError(f"--halo-ratio must be at least 0, and finite, got {options.halo_ratio:g}")
    config = RunConfig.checked({"data": options.spec, **chosen(options), "parts": None})
    base = base_bytes()  # before anything is read
    with output.working():
        prepare_process(config)
        found = subject(config, options.parts, options.halo_ratio)
        pace = _pace(found, compute, options.ranks_a_machine)
        made = plan(found, pace, network, weighed, base=base, memory=memory)
    show(found, made, output)
    return {"graph": found.cuts[0].name, "model": config.model, **made.plain()}


def _pace(found: Subject, compute: float | None, ranks: int) -> Pace:
    return measured(found.job, *found.shape(), ranks) if compute is None else stated(found.job, compute)


def show(found: Subject, made: Plan, output: Output) -> None:
    """Say it all."""
    config = found.job.config
    output.say(
        f"{found.cuts[0].name}, {config.model} of {config.layers} layers, hidden {config.hidden}; computing: "
        f"{made.pace.source}"
    )
    for cut in found.cuts:
        load = max(cut.loads, key=lambda each: each.halo)
        how = "drafted from counts, off by a factor of two or so" if cut.drafted else "as cut"
        output.say(
            f"{cut.num_parts} part(s): up to {max(each.inner for each in cut.loads):,} inner nodes and "
            f"{load.halo:,} halo nodes a rank, {how}"
        )
    output.table(
        (
            "method", "parts", "epoch", "compute", "wait", "reduce", "sent a rank", "memory a rank", "fits",
            "risk",
        ),
        [
            (
                each.method.name, each.parts, *(
                    amount(seconds, "s") for seconds in (each.seconds, each.compute, each.comm, each.reduce)
                ),
                amount(max(map(sum, zip(each.halo_bytes, each.reduce_bytes, strict=True))), "B"),
                amount(each.peak, "B"), "yes" if made.fits(each) else "no", each.plain()["risk"],
            )
            for each in made.predictions
        ],
    )  # fmt: skip
    taken = made.recommendation.taken
    given = " ".join(f"--{name} {value}" for name, value in taken.method.settings.items())
    output.say(f"take {taken.method.name} on {taken.parts} part(s): {made.recommendation.because}")
    output.say(f"gcnsys train ... --parts {taken.parts} {given}")
