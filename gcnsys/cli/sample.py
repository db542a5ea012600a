"""``gcnsys sample``: what the samples of a sampler are like, before anything is trained on them."""

import argparse
import time
from statistics import fmean, median
from typing import Any

import torch
from rich.progress import track

from gcnsys.cli.options import add_fields, chosen
from gcnsys.cli.output import Output
from gcnsys.cli.train_minibatch import SAMPLING
from gcnsys.datasets import Dataset
from gcnsys.errors import InputError
from gcnsys.sampling import Moment, WholeGraph, samplers
from gcnsys.train import RunConfig
from gcnsys.train.making import make_standard
from gcnsys.train.preparation import Preparation

EXAMPLES = """examples:
  gcnsys sample digits
  gcnsys sample npz:cora.npz --sampler neighbour,labor --fanouts 15,10 --batch 256
  gcnsys sample digits --sampler cluster,shadow,saint-node --batches 10"""


def add(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "sample", help="what the batches of a sampler are like",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("spec", metavar="DATA", help="a dataset, as name[:argument]")
    parser.add_argument("--sampler", default="neighbour", metavar="NAMES", help="one or several, with commas")
    parser.add_argument(
        "--batches", type=int, default=50, metavar="N", help="draw at most so many (default: 50)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    settings = tuple(name for name in SAMPLING if name not in ("sampler", "prefetch"))
    add_fields(parser.add_argument_group("sampling"), (*settings, "layers", "seed"))
    names = ("directed", "normalize", "split", "split_seed")
    add_fields(parser.add_argument_group("graph"), names)
    parser.set_defaults(run=_sample)


def _sample(options: argparse.Namespace, output: Output) -> dict[str, Any]:
    given = chosen(options)
    if options.batches < 1:
        raise InputError(f"--batches must be at least 1, got {options.batches}")
    if "fanouts" in given:
        given.setdefault("layers", len(given["fanouts"]))
    names = given.pop("sampler").split(",")
    configs = [RunConfig.checked({"data": options.spec, "sampler": name, **given}) for name in names]
    with output.working():
        dataset = Preparation.asked(configs[0]).load(options.spec)
    found = [_measured(dataset, config, options.batches, output) for config in configs]
    output.table(
        (dataset.name, "batches", "seeds", "rows", "edges", "rows a seed", "MB gathered", "ms to draw"),
        [
            (
                each["sampler"], each["batches"], f"{each['seeds']:,.0f}", f"{each['rows']:,.0f}",
                f"{each['edges']:,.0f}", f"{each['rows'] / max(1.0, each['seeds']):.1f}",
                f"{each['bytes'] / 1e6:.2f}", f"{1e3 * each['seconds']:.2f}",
            )
            for each in found
        ],
    )  # fmt: skip
    output.say("of one batch, on average (time: median); rows are those of features that it reads")
    return {"dataset": dataset.name, "samplers": found}


def _measured(dataset: Dataset, config: RunConfig, most: int, output: Output) -> dict[str, Any]:
    """Averages over the first batches of an epoch."""
    assert config.batch is not None
    graph = WholeGraph(dataset.graph)
    with output.working():
        standard = make_standard(config, graph, dataset.graph, config.layers)
        sampler = samplers.get(config.sampler or "")(graph, standard)
    nodes = torch.nonzero(dataset.train_mask).flatten()
    batches = sampler.batches(nodes, config.batch, Moment(config.seed))
    drawn = []
    visible = output.err.is_terminal
    for step, seeds in enumerate(
        track(batches[:most], config.sampler or "", console=output.err, disable=not visible, transient=True)
    ):
        began = time.perf_counter()
        sample = sampler.sample(seeds, Moment(config.seed, step))
        seconds = time.perf_counter() - began
        edges = sample.metrics.get("edges", 0)
        drawn.append((seeds.numel(), sample.input_ids.numel(), edges, seconds))
    names = ("seeds", "rows", "edges", "seconds")
    columns = dict(zip(names, zip(*drawn, strict=True), strict=True))
    means = {name: fmean(column) for name, column in columns.items()}
    return {
        "sampler": config.sampler, "batches": len(batches), **means, "seconds": median(columns["seconds"]),
        "bytes": means["rows"] * dataset.num_features * 4,
    }  # fmt: skip
