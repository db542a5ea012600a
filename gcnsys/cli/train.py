"""``gcnsys train``: full-graph training, here or on every rank that torchrun started."""

import argparse
import contextlib
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gcnsys.cli.options import add_fields, chosen
from gcnsys.cli.output import Output
from gcnsys.errors import InputError
from gcnsys.partition import Partitioning
from gcnsys.runtime import Placement, joined
from gcnsys.runtime.launch import launch
from gcnsys.runtime.process import launched_by_torchrun
from gcnsys.train import RunConfig
from gcnsys.train.folder import RunFolder, default_folder
from gcnsys.train.run import Watch, prepare_process, run_part
from gcnsys.train.source import find_partitioning, is_partitioning

GROUPS = {
    "model": (
        "model", "layers", "hidden", "linear_layers", "dropout", "norm", "residual", "gcn_norm", "train_eps",
    ),
    "exchange": (
        "method", "rows", "rate", "draws_per", "schedule", "staleness", "first_epoch", "codec", "smoothing",
        "gamma", "smoothing_start", "exchange_side", "first_hop", "prune",
    ),
    "optimization": (
        "epochs", "lr", "lr_schedule", "warmup", "weight_decay", "decay_on", "patience", "eval_every", "seed",
    ),
    "graph, where DATA is a dataset": (
        "directed", "normalize", "split", "split_seed", "partition_method", "objective", "balance",
        "order", "partition_seed", "inductive",
    ),
    "machine": ("parts", "device", "dtype", "threads", "recompute", "timeout"),
}  # fmt: skip

EXAMPLES = """examples:
  gcnsys train digits --parts 2
  gcnsys train npz:cora.npz --parts 3 --hidden 16 --weight-decay 5e-4 --decay-on first
  gcnsys train digits --parts 4 --method bns --rate 0.1
  gcnsys train digits --parts 4 --method bns --schedule pipeline --codec int8
  gcnsys train run.toml --set epochs=50
  torchrun --nproc-per-node 4 -m gcnsys train partitions/mine --model sage --hidden 256"""


def add(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "train", help="train on all of a graph",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "data", metavar="DATA", help="a partitioning's folder, a dataset, or a run file (.toml)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a run file's key"
    )
    parser.add_argument("--out", type=Path, help="the run's folder (default: runs/NAME-DATE-TIME)")
    parser.add_argument("--overwrite", action="store_true", help="start over in a folder that holds a run")
    parser.add_argument("--json", action="store_true", help="print one JSON object: the summary")
    for title, names in GROUPS.items():
        add_fields(parser.add_argument_group(title), names)
    parser.set_defaults(run=_train)


def configured(options: argparse.Namespace) -> RunConfig:
    """The configuration of a run: run file, then ``--set``, then options."""
    given = chosen(options)
    values: dict[str, Any] = {"data": options.data}
    if options.data.endswith(".toml"):
        values = RunConfig.read(Path(options.data))
        given.pop("data")
    for pair in options.set:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"--set {pair}: write it as KEY=VALUE, such as --set epochs=50")
        values[key.strip()] = _parsed(value.strip())
    values.update(given)
    if "data" not in values:
        raise InputError(f"{options.data}: the key 'data' is missing; name a dataset or a partitioning")
    return RunConfig.checked(values)


def _parsed(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _train(options: argparse.Namespace, output: Output) -> dict[str, Any] | None:
    if launched_by_torchrun():
        return _as_rank(options, output)
    config = configured(options)
    Placement.choose(config.device, 0, config.parts or 1)  # refuses a device that is not there
    with output.working():
        partitioning = find_partitioning(config)
    folder = options.out or default_folder(Path("runs"), _run_name(partitioning, config))
    if partitioning.num_parts == 1:
        return _alone(partitioning, config, folder, options, output)
    # Every rank reads the same resolved file; the partitioning is there already.
    ready = config.model_copy(update={"data": str(partitioning.folder), "parts": None})
    with tempfile.TemporaryDirectory(prefix="gcnsys-") as temporary:
        run_file = Path(temporary) / "run.toml"
        run_file.write_text(ready.toml())
        arguments = ["train", str(run_file), "--out", str(folder)]
        arguments += ["--json"] if options.json else []
        arguments += ["--overwrite"] if options.overwrite else []
        RunFolder.check(folder, overwrite=options.overwrite)
        options.exit_code = launch(partitioning.num_parts, arguments)
    return None


def _alone(
    partitioning: Partitioning, config: RunConfig, path: Path, options: argparse.Namespace, output: Output
) -> dict[str, Any]:
    prepare_process(config)
    with joined(config.device, timeout=config.timeout) as (comm, placement):
        folder = RunFolder(path, config, overwrite=options.overwrite)
        with watched(config, output) as watch:
            summary = run_part(partitioning, config, comm, placement, folder, watch)
    return _finished(summary, path, output)


def _as_rank(options: argparse.Namespace, output: Output) -> dict[str, Any] | None:
    """One of the ranks of a launcher: problems are agreed upon, so that all leave together."""
    # A rank that cannot read its configuration joins all the same, to say so to the others.
    try:
        place = configured(options)
    except InputError:
        place = RunConfig.checked({"data": options.data})
    with joined(place.device, timeout=place.timeout) as (comm, placement):
        partitioning, folder = None, None
        with comm.agreed():
            config = configured(options)
            asked = config if is_partitioning(Path(config.data)) else _with_parts(config, comm.size)
            if comm.rank == 0:  # A dataset is cut by rank 0 alone; the others find the result afterwards.
                partitioning = find_partitioning(asked)
        with comm.agreed():
            partitioning = partitioning or find_partitioning(asked)
            if partitioning.num_parts != comm.size:
                raise InputError(
                    f"{partitioning.folder} has {partitioning.num_parts} parts but {comm.size} ranks were "
                    f"started; start one rank a part"
                )
            if comm.rank == 0:
                path = options.out or default_folder(Path("runs"), _run_name(partitioning, config))
                folder = RunFolder(path, config, overwrite=options.overwrite)
        prepare_process(config)
        with watched(config, output) as watch:
            summary = run_part(partitioning, config, comm, placement, folder, watch)
    return _finished(summary, folder.path, output) if folder is not None else None


def _with_parts(config: RunConfig, size: int) -> RunConfig:
    if config.parts not in (None, size):
        raise InputError(f"--parts {config.parts} but {size} ranks were started; start one rank a part")
    return config.model_copy(update={"parts": size})


def _run_name(partitioning: Partitioning, config: RunConfig) -> str:
    return f"{partitioning.manifest.dataset}-{config.model}-{config.method}-p{partitioning.num_parts}"


def _finished(summary: dict[str, Any], folder: Path, output: Output) -> dict[str, Any]:
    said = "micro-F1" if summary.get("multilabel") else "accuracy"
    seconds = {
        name: summary[f"{name}_seconds_median"] * 1e3 for name in ("epoch", "compute", "comm", "reduce")
    }
    output.say(
        f"test {said} {summary['test_acc_at_best_val']:.4f} at the best validation {said} "
        f"{summary['best_val_acc']:.4f} (epoch {summary['best_epoch']}); last epoch: "
        f"{summary['test_acc']:.4f}"
    )
    output.say(
        f"median epoch {seconds['epoch']:.1f} ms: compute {seconds['compute']:.1f}, communication "
        f"{seconds['comm']:.1f}, reduce {seconds['reduce']:.1f}; {summary['epochs']} epochs on "
        f"{summary['parts']} part(s) in {summary['seconds_total']:.1f} s; results in {folder}"
    )
    if summary["hidden_comm_seconds_median"] > 0 and summary["schedule"] != "sync":
        output.say(
            f"of {summary['transfer_seconds'] * 1e3:.1f} ms that an epoch's rows take to cross, "
            f"{summary['hidden_comm_seconds_median'] * 1e3:.1f} were hidden beside other work"
        )
    computed, total = summary["rows_computed_per_layer"], summary["rows_per_layer"]
    for name in ("training", "evaluation"):
        if min(computed[name]) < total[name]:
            rows = ", ".join(f"{count:,}" for count in computed[name])
            output.say(f"{name} computes {rows} of {total[name]:,} rows, layer by layer")
    return {**summary, "folder": str(folder)}


@contextlib.contextmanager
def watched(config: RunConfig, output: Output) -> Iterator[Watch]:
    """Live progress on a terminal, about ten lines elsewhere."""
    every = max(1, config.epochs // 10)
    if not output.err.is_terminal:

        def line(record: dict[str, Any]) -> None:
            if (record["epoch"] + 1) % every == 0:
                output.note(f"epoch {record['epoch'] + 1}/{config.epochs}  {_figures(record)}")

        yield line
        return
    columns = (TextColumn("epoch"), MofNCompleteColumn(), BarColumn(20), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn(), console=output.err) as progress:
        bar = progress.add_task("", total=config.epochs)
        yield lambda record: progress.update(bar, advance=1, description=_figures(record))


def _figures(record: dict[str, Any]) -> str:
    seconds = max(record["seconds"], 1e-12)
    shares = "/".join(f"{record[f'{name}_seconds'] / seconds:.0%}" for name in ("compute", "comm", "reduce"))
    accuracies = " ".join(
        f"{name} {record[f'{name}_acc']:.4f}" for name in ("train", "val", "test") if f"{name}_acc" in record
    )
    return f"loss {record['loss']:.4f}  {accuracies}  {seconds * 1e3:.1f} ms (compute/comm/reduce {shares})"
