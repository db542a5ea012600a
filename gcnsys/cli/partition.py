"""``gcnsys partition``: cut a graph, look at the parts, check the files."""

import argparse
from pathlib import Path
from typing import Any

from gcnsys.cli.options import add_fields, chosen
from gcnsys.cli.output import Output
from gcnsys.errors import InputError
from gcnsys.partition import Partitioning
from gcnsys.partition.costs import loads
from gcnsys.partition.quality import expected, quality
from gcnsys.plan import Cut, Job, memory_bytes, methods
from gcnsys.train import RunConfig
from gcnsys.train.source import build_partitioning, default_partitioning

CUT = ("partition_method", "objective", "balance", "order", "partition_seed", "inductive")
PREPARE = ("directed", "normalize", "split", "split_seed")
FLAGS = {"partition_method": "method", "partition_seed": "seed"}


def add(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("partition", help="partitionings: build, show, verify")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    build = actions.add_parser(
        "build", help="cut a graph and write the parts",
        epilog="example: gcnsys partition build npz:cora.npz --parts 4 --objective volume",
    )  # fmt: skip
    build.add_argument("spec", help="a dataset: name[:argument]")
    build.add_argument("--parts", type=int, required=True, help="how many")
    build.add_argument(
        "--out", type=Path, help="folder (default: under partitions/, named after all of this)"
    )
    build.add_argument("--overwrite", action="store_true", help="replace what is there")
    add_fields(build.add_argument_group("cutting"), CUT, **FLAGS)
    add_fields(build.add_argument_group("preparation"), (*PREPARE, "task"))
    build.set_defaults(run=_build)

    show = actions.add_parser(
        "show", help="sizes, balance, traffic and memory",
        epilog="example: gcnsys partition show partitions/mine --hidden 256 --plot parts.png",
    )  # fmt: skip
    show.add_argument("folder", type=Path, help="a partitioning")
    show.add_argument("--plot", type=Path, metavar="FILE.png", help="draw sizes and traffic")
    show.set_defaults(run=_show)

    verify = actions.add_parser("verify", help="compare every file with its checksum")
    verify.add_argument("folder", type=Path, help="a partitioning")
    verify.set_defaults(run=_verify)

    for action in (build, show):
        group = action.add_argument_group("model, for the expected traffic and memory")
        add_fields(group, ("model", "layers", "hidden", "linear_layers", "first_hop", "exchange_side"))
    for action in (build, show, verify):
        action.add_argument("--json", action="store_true", help="print one JSON object")


def _build(options: argparse.Namespace, output: Output) -> dict[str, Any]:
    if options.parts < 1:
        raise InputError(f"--parts must be at least 1, got {options.parts}")
    config = RunConfig.checked({"data": options.spec, **chosen(options)})
    folder = options.out or default_partitioning(config)
    with output.working():
        partitioning = build_partitioning(config, folder, overwrite=options.overwrite)
    return _described(partitioning, config, output)


def _show(options: argparse.Namespace, output: Output) -> dict[str, Any]:
    partitioning = Partitioning.open(options.folder)
    config = RunConfig.checked({"data": str(options.folder), **chosen(options)})
    result = _described(partitioning, config, output)
    if options.plot:
        from gcnsys.report.partitions import plot

        plot(partitioning.manifest, options.plot)
        output.say(f"drew {options.plot}")
        result["plot"] = str(options.plot)
    return result


def _described(partitioning: Partitioning, config: RunConfig, output: Output) -> dict[str, Any]:
    manifest = partitioning.manifest
    job = Job.on(manifest, config)
    figures, costs = quality(manifest), expected(manifest, job.widths)
    cut = Cut(manifest.dataset, tuple(loads(manifest)), drafted=False)
    for cost, memory in zip(costs, memory_bytes(cut, job, methods()[0], 0), strict=True):
        cost["memory_bytes"] = memory
    output.say(
        f"{manifest.dataset}: {manifest.num_nodes:,} nodes and {manifest.num_edges:,} edges in "
        f"{manifest.num_parts} parts by {manifest.method}, {manifest.order} order, in {partitioning.folder}"
    )
    output.say(
        f"edge cut {manifest.edge_cut:,} ({figures['cut_share']:.1%}), communication volume "
        f"{manifest.volume:,} rows, balance of nodes {figures['node_balance']:.3f}, of edges "
        f"{figures['edge_balance']:.3f}, of training nodes {figures['train_balance']:.3f}"
    )
    columns = (
        "part",
        "inner",
        "halo",
        "boundary",
        "halo/inner",
        "edges",
        "train",
        "MB/epoch sent",
        "MB memory",
    )
    rows = []
    for rank, (part, cost) in enumerate(zip(manifest.parts, costs, strict=True)):
        rows.append((
            rank, part.inner, part.halo, part.boundary, f"{part.halo / max(1, part.inner):.2f}",
            part.inner_edges + part.halo_edges, part.train,
            f"{cost['halo_bytes_sent_per_epoch'] / 1e6:.2f}", f"{cost['memory_bytes'] / 1e6:.1f}",
        ))  # fmt: skip
    output.table(columns, rows)
    output.say(
        f"expected for {config.model}, {config.layers} layers, hidden {config.hidden}, float32; "
        f"other models: --model --layers --hidden; pruning may send less"
    )
    for note in manifest.notes:
        output.say(f"note: {note}")
    about = manifest.model_dump(exclude={"files"})
    return {"folder": str(partitioning.folder), **about, "quality": figures, "expected": costs}


def _verify(options: argparse.Namespace, output: Output) -> dict[str, Any]:
    partitioning = Partitioning.open(options.folder)
    problems = {name: problem for name, problem in partitioning.verify() if problem}
    if problems:
        more = f" (and {len(problems) - 1} more files)" if len(problems) > 1 else ""
        raise InputError(next(iter(problems.values())) + more)
    output.say(f"{options.folder}: {len(partitioning.manifest.files)} files are as they were written")
    return {"folder": str(options.folder), "files": len(partitioning.manifest.files), "intact": True}
