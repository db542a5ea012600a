"""``gcnsys train``: full-graph training, here or on every rank that torchrun started."""

import argparse
import contextlib
import json
import os
import signal
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gcnsys.cli.options import add_fields, chosen
from gcnsys.cli.output import Output
from gcnsys.cli.plan import add_resources, resources
from gcnsys.errors import InputError, PeerError
from gcnsys.partition import Partitioning
from gcnsys.plan import base_bytes, measured, methods, of_partitioning, plan
from gcnsys.runtime import Placement, joined
from gcnsys.runtime.launch import LAUNCHER, launch
from gcnsys.runtime.process import launched_by_torchrun
from gcnsys.train import RunConfig
from gcnsys.train.attempt import Attempt
from gcnsys.train.checkpoint import Checkpoint, Checkpoints, run_folder
from gcnsys.train.folder import CONFIG, SUMMARY, RunFolder, default_folder
from gcnsys.train.method import EXCHANGE
from gcnsys.train.resume import configured as resumed
from gcnsys.train.run import Watch, prepare_process, run_part
from gcnsys.train.source import find_partitioning, shared_partitioning
from gcnsys.train.stopping import SIGNALS, StoppedError, requests
from gcnsys.train.summary import score_name

GROUPS = {
    "model": (
        "model", "layers", "hidden", "linear_layers", "dropout", "norm", "residual", "activation", "heads",
        "out_heads", "attention_dropout", "gcn_norm", "train_eps", "aggregation", "temperature", "alpha",
        "theta", "hops", "bases",
    ),
    "exchange": (
        "method", "rows", "rate", "draws_per", "schedule", "staleness", "first_epoch", "codec", "smoothing",
        "gamma", "smoothing_start", "exchange_side", "first_hop", "prune",
    ),
    "optimization": (
        "epochs", "lr", "lr_schedule", "warmup", "weight_decay", "decay_on", "patience", "eval_every", "seed",
    ),
    "links": ("task", "negatives", "negative_pool"),
    "graph, where DATA is a dataset": (
        "directed", "normalize", "split", "split_seed", "partition_method", "objective", "balance",
        "order", "partition_seed", "inductive",
    ),
    "machine": ("parts", "device", "dtype", "precision", "threads", "recompute", "profile"),
    "long runs": ("checkpoint_every", "checkpoint_minutes", "keep_checkpoints", "timeout", "startup_timeout"),
}  # fmt: skip

EXAMPLES = """examples:
  gcnsys train digits --parts 2
  gcnsys train npz:cora.npz --parts 3 --hidden 16 --weight-decay 5e-4 --decay-on first
  gcnsys train digits --parts 2 --model resgcn --layers 28 --recompute
  gcnsys train digits --parts 4 --method bns --rate 0.1
  gcnsys train digits --parts 4 --auto --memory 11GiB --bandwidth 1Gbit
  gcnsys train digits --parts 2 --task links --hidden 32
  gcnsys train digits --parts 4 --method bns --schedule pipeline --codec int8
  gcnsys train run.toml --set epochs=50
  gcnsys train --resume runs/mine --epochs 400
  torchrun --nproc-per-node 4 -m gcnsys train partitions/mine --model sage --hidden 256"""


def add(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "train", help="train on all of a graph",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add_options(parser, GROUPS)
    automatic = parser.add_argument_group("method by plan")
    automatic.add_argument(
        "--auto", action="store_true", help="take the method that gcnsys plan recommends for this cut"
    )
    add_resources(automatic)


def add_options(parser: argparse.ArgumentParser, groups: Mapping[str, Sequence[str]]) -> None:
    """Add what says what is trained, on what, and where it is kept.

    Args:
        parser: where to.
        groups: fields of :class:`gcnsys.train.RunConfig`, by title.
    """
    parser.add_argument(
        "data", metavar="DATA", nargs="?", help="a partitioning's folder, a dataset, or a run file (.toml)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a run file's key"
    )
    parser.add_argument("--out", type=Path, help="the run's folder (default: runs/NAME-DATE-TIME)")
    parser.add_argument(
        "--resume", type=Path, metavar="RUN",
        help="go on with a run from its last checkpoint, or from the one named; DATA may be another "
        "partitioning of its graph",
    )  # fmt: skip
    parser.add_argument(
        "--max-restarts", type=int, default=0, metavar="N",
        help="start all ranks again up to N times when one is lost (torchrun has its own)",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="start over in a folder that holds a run")
    parser.add_argument("--json", action="store_true", help="print one JSON object: the summary")
    for title, names in groups.items():
        add_fields(parser.add_argument_group(title), names)
    parser.set_defaults(run=_train, usual={})


def configured(options: argparse.Namespace) -> RunConfig:
    """The configuration of a run: of the run to go on with, run file, then ``--set``, then options."""
    given = chosen(options)
    values: dict[str, Any] = {}
    if options.data is None:
        del given["data"]
    elif options.data.endswith(".toml"):
        values = RunConfig.read(Path(given.pop("data")))
    for pair in options.set:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"--set {pair}: write it as KEY=VALUE, such as --set epochs=50")
        values[key.strip()] = _parsed(value.strip())
    values.update(given)
    if options.resume is not None:
        return resumed(options.resume, values)
    if "data" not in values:
        where = f"{options.data}: the key 'data'" if options.data else "DATA"
        raise InputError(f"{where} is missing; name a dataset or a partitioning, or a run with --resume RUN")
    return RunConfig.checked({**options.usual, **values})


def _parsed(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _train(options: argparse.Namespace, output: Output) -> dict[str, Any] | None:
    if getattr(options, "auto", False):
        _check_auto(options, configured(options))
        resources(options)
    if launched_by_torchrun():
        if options.max_restarts:
            raise InputError(
                "--max-restarts is the launcher's: write torchrun --max-restarts N ... -m gcnsys"
            )
        return _as_rank(options, output)
    config = configured(options)
    Placement.choose(config.device, 0, config.parts or 1)  # refuses a device that is not there
    with output.working():
        base = base_bytes() if getattr(options, "auto", False) else 0  # before anything is read
        partitioning = find_partitioning(config)
        if getattr(options, "auto", False):
            config = _planned(config, partitioning, options, output, base=base)
    folder = _folder(options, partitioning, config)
    RunFolder.check(folder, overwrite=_may_overwrite(options, folder))
    if partitioning.num_parts == 1 and not options.max_restarts:
        return _alone(partitioning, config, folder, options, output)
    # Every rank reads the same resolved file; the partitioning is there already.
    ready = config.model_copy(update={"data": str(partitioning.folder), "parts": None})
    with tempfile.TemporaryDirectory(prefix="gcnsys-") as temporary:
        run_file = Path(temporary) / "run.toml"
        run_file.write_text(ready.toml())
        arguments = ["train", str(run_file), "--out", str(folder)]
        arguments += ["--resume", str(options.resume)] if options.resume is not None else []
        arguments += ["--json"] if options.json else []
        arguments += ["--overwrite"] if options.overwrite else []
        options.exit_code = launch(partitioning.num_parts, arguments, max_restarts=options.max_restarts)
    if config.checkpoint_every or config.checkpoint_minutes:
        _tell_if_killed(options.exit_code - 128, folder, output)
    return None


def _planned(
    config: RunConfig, partitioning: Partitioning, options: argparse.Namespace, output: Output, *, base: int
) -> RunConfig:
    """The configuration with the method that is recommended for it."""
    memory, network = resources(options)
    threads = config.threads
    if threads is None and "OMP_NUM_THREADS" not in os.environ:  # as many as each rank will have
        threads = max(1, len(os.sched_getaffinity(0)) // partitioning.num_parts)
    prepare_process(config.model_copy(update={"threads": threads}))
    found = of_partitioning(partitioning, config)
    made = plan(found, measured(found.job, *found.shape()), network, methods(), base=base, memory=memory)
    taken = made.recommendation.taken
    output.note(f"taking {taken.method.name}: {made.recommendation.because}")
    kept = {key: value for key, value in config.model_dump(exclude_none=True).items() if key not in EXCHANGE}
    return RunConfig.checked(kept | taken.method.settings)


def _check_auto(options: argparse.Namespace, config: RunConfig) -> None:
    """Refuse what a plan does not know, before anything is cut.

    Raises:
        InputError: it was asked for.
    """
    if launched_by_torchrun():
        raise InputError(
            "--auto plans before ranks start: ask gcnsys plan, and give its settings to all of them"
        )
    if options.resume is not None:
        raise InputError("--auto chooses a method for a new run, not for --resume: drop one of the two")
    plain = RunConfig.checked({"data": config.data})
    for name in ("method", *EXCHANGE, "sampler", "recompute", "dtype", "precision", "task"):
        if getattr(config, name) != getattr(plain, name):
            raise InputError(
                f"--auto chooses how rows cross for plain runs in float32, but {name} = "
                f"{getattr(config, name)} was asked for: drop one of the two"
            )


def _tell_if_killed(number: int, folder: Path, output: Output) -> None:
    """Say so if ranks that were asked to stop did not come to a checkpoint in time."""
    if number not in SIGNALS or (folder / SUMMARY).exists():
        return
    kept = Checkpoints(folder).epochs()
    if not kept or Checkpoint.open(Checkpoints(folder).path(kept[-1])).manifest.stopped != number:
        last = f"the last checkpoint is that of {kept[-1]} epochs" if kept else "there is no checkpoint"
        output.problem(f"the ranks ended without a checkpoint of their last epoch; {last}")


def _folder(options: argparse.Namespace, partitioning: Partitioning, config: RunConfig) -> Path:
    if options.out is not None:
        return Path(options.out)
    if options.resume is not None:
        return run_folder(options.resume)
    method = config.sampler or config.method
    name = f"{partitioning.manifest.dataset}-{config.model}-{method}-p{partitioning.num_parts}"
    return default_folder(Path("runs"), name)


def _alone(
    partitioning: Partitioning, config: RunConfig, path: Path, options: argparse.Namespace, output: Output
) -> dict[str, Any]:
    prepare_process(config)
    with joined(config.device, timeout=config.startup_timeout) as (comm, placement), requests() as request:
        folder = RunFolder(path, config, overwrite=_may_overwrite(options, path))
        with watched(config, output) as watch:
            summary = run_part(
                partitioning, config, comm, placement, folder, watch, request=request, resume=options.resume
            )
    return _finished(summary, path, output)


def _as_rank(options: argparse.Namespace, output: Output) -> dict[str, Any] | None:
    """One of the ranks of a launcher: problems are agreed upon, so that all leave together."""
    place = _place(options)
    with joined(place.device, timeout=place.startup_timeout) as (comm, placement):
        before = Attempt.before(comm)
        if before.stopped:
            raise StoppedError("the run was asked to stop, and stays so", before.stopped)
        if before.state == "finished":
            return _told_again(Path(before.run), output) if comm.rank == 0 else None
        folder = None
        with comm.agreed():
            config = _recorded(Path(before.run)) if before.state == "begun" else configured(options)
        partitioning = shared_partitioning(config, comm)
        with comm.agreed():
            if comm.rank == 0:
                path = Path(before.run or _folder(options, partitioning, config))
                folder = RunFolder(path, config, overwrite=bool(before.run) or _may_overwrite(options, path))
                Attempt(str(path), before.state).leave(comm)
            goes_on = before.state == "begun" and Checkpoints(Path(before.run)).epochs()
            resume = Path(before.run) if goes_on else options.resume
        asked_for = comm.texts(str(resume or ""))[0]  # what rank 0 sees counts
        resume = Path(asked_for) if asked_for else None
        prepare_process(config)
        with requests() as request, watched(config, output) as watch:
            try:
                summary = run_part(
                    partitioning, config, comm, placement, folder, watch, request=request, resume=resume
                )
            except PeerError as error:
                # Our own launcher knows best who was killed: it says so, and ends the others by this signal.
                error.said = error.said or (LAUNCHER in os.environ and request.signal == signal.SIGTERM)
                raise
    return _finished(summary, folder.path, output) if folder is not None else None


def _place(options: argparse.Namespace) -> RunConfig:
    """Enough of a configuration to join the others, who will hear of it if the whole cannot be read."""
    with contextlib.suppress(InputError):
        return configured(options)
    with contextlib.suppress(InputError):  # its checkpoint may be gone by now, and a later one there
        return _recorded(run_folder(options.resume or options.out or Path()))
    return RunConfig.checked({"data": options.data or ""})


def _recorded(run: Path) -> RunConfig:
    return RunConfig.checked(RunConfig.read(run / CONFIG))


def _told_again(run: Path, output: Output) -> dict[str, Any]:
    return _finished(json.loads((run / SUMMARY).read_text()), run, output)


def _may_overwrite(options: argparse.Namespace, path: Path) -> bool:
    """Whether a run's folder may hold a run: the one that is gone on with, or one that was given up."""
    own = options.resume is not None and path.resolve() == run_folder(options.resume).resolve()
    return bool(options.overwrite) or own


def _finished(summary: dict[str, Any], folder: Path, output: Output) -> dict[str, Any]:
    said = score_name(summary)
    seconds = {
        name: summary[f"{name}_seconds_median"] * 1e3 for name in ("epoch", "compute", "comm", "reduce")
    }
    output.say(
        f"test {said} {summary['test_acc_at_best_val']:.4f} at the best validation {said} "
        f"{summary['best_val_acc']:.4f} (epoch {summary['best_epoch']}); last epoch: "
        f"{summary['test_acc']:.4f}"
    )
    if summary.get("links"):
        output.say(
            f"of wrong answers to a held-out link, that share scores less; its mean reciprocal rank is "
            f"{summary['test_mrr_at_best_val']:.4f}, and it is among the first 10 of "
            f"{summary['test_hits10_at_best_val']:.1%}"
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
    if summary.get("sampler"):
        counts = {name: sum(counted) for name, counted in summary["sampled_per_epoch"].items()}
        times = counts["rows"] / max(1, summary["rows_per_layer"]["training"])
        number = summary["sampled_per_epoch"]["batches"][0]
        output.say(
            f"an epoch drew {number:.0f} batch{'' if number == 1 else 'es'}: {counts['rows']:,.0f} rows were "
            f"gathered, {times:.1f} times those of the graph, for {counts['edges']:,.0f} edges"
        )
    computed, total = summary["rows_computed_per_layer"], summary["rows_per_layer"]
    for name in computed:
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
