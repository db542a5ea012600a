"""``gcnsys train``: full-graph training, here or on every rank that torchrun started."""

import argparse
import contextlib
import json
import os
import signal
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gcnsys.cli import auto
from gcnsys.cli.options import add_fields, chosen
from gcnsys.cli.output import Output
from gcnsys.cli.plan import resources
from gcnsys.cli.told import finished, watched
from gcnsys.errors import InputError, PeerError
from gcnsys.partition import Partitioning
from gcnsys.plan import base_bytes
from gcnsys.runtime import Placement, joined
from gcnsys.runtime.launch import LAUNCHER, launch
from gcnsys.runtime.process import launched_by_torchrun
from gcnsys.train import RunConfig
from gcnsys.train.attempt import Attempt
from gcnsys.train.checkpoint import Checkpoint, Checkpoints, run_folder
from gcnsys.train.folder import CONFIG, SUMMARY, RunFolder, default_folder
from gcnsys.train.resume import configured as resumed
from gcnsys.train.run import prepare_process, run_part
from gcnsys.train.source import find_partitioning, is_partitioning, shared_partitioning
from gcnsys.train.stopping import SIGNALS, StoppedError, requests

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


OF_THE_CUT = (
    "directed", "normalize", "split", "split_seed", "partition_method", "objective", "balance", "order",
    "partition_seed",
)  # fmt: skip
"""Settings that a partitioning has from when it was built."""


def add(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "train", help="train on all of a graph",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add_options(parser, GROUPS)
    auto.add_options(parser)


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
        "--auto-resume", action="store_true",
        help="go on with the run in --out if there is one, else start it: the same line the first time and "
        "later",
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
    late = [name for name in OF_THE_CUT if name in given]
    if late and is_partitioning(Path(values["data"]).expanduser()):
        raise InputError(
            f"--{late[0].replace('_', '-')} belongs to the cut, and {values['data']} is cut already; drop "
            f"it, or build another partitioning with it"
        )
    return RunConfig.checked({**options.usual, **values})


def _parsed(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _train(options: argparse.Namespace, output: Output) -> dict[str, Any] | None:
    if options.auto_resume and (options.out is None or options.resume is not None or options.overwrite):
        raise InputError(
            "--auto-resume looks for a run in --out DIR: give that, and neither --resume nor --overwrite"
        )
    if getattr(options, "auto", False):
        auto.refuse_what_no_plan_knows(options, configured(options))
        resources(options)
    if launched_by_torchrun():
        if options.max_restarts:
            raise InputError(
                "--max-restarts is the launcher's: write torchrun --max-restarts N ... -m gcnsys"
            )
        return _as_rank(options, output)
    if _go_on(_found(options), options):
        return _told_again(options.out, output)
    config = configured(options)
    Placement.choose(config.device, 0, config.parts or 1)  # refuses a device that is not there
    with output.working():
        base = base_bytes() if getattr(options, "auto", False) else 0  # before anything is read
        partitioning = find_partitioning(config)
        if getattr(options, "auto", False):
            config = auto.planned(config, partitioning, options, output, base=base)
    folder = _folder(options, partitioning, config)
    RunFolder.check(folder, overwrite=_may_overwrite(options, folder))
    if partitioning.num_parts == 1 and not options.max_restarts:
        return _alone(partitioning, config, folder, options, output)
    # Every rank reads the same resolved file; the partitioning is there already.
    ready = config.model_copy(update={"data": str(partitioning.folder), "parts": None})
    with tempfile.TemporaryDirectory(prefix="gcnsys-") as temporary:
        run_file = Path(temporary) / "run.toml"
        run_file.write_text(ready.toml(), encoding="utf-8")
        arguments = ["train", str(run_file), "--out", str(folder)]
        arguments += ["--resume", str(options.resume)] if options.resume is not None else []
        arguments += ["--json"] if options.json else []
        arguments += ["--overwrite"] if options.overwrite else []
        options.exit_code = launch(partitioning.num_parts, arguments, max_restarts=options.max_restarts)
    if config.checkpoint_every or config.checkpoint_minutes:
        _tell_if_killed(options.exit_code - 128, folder, output)
    return None


FINISHED, STARTED, RESUMED = "finished", "started", "resumed"


def _found(options: argparse.Namespace) -> str:
    """What is to be done with the run that --auto-resume finds; empty: it was not asked for."""
    if not options.auto_resume:
        return ""
    if (options.out / SUMMARY).is_file():
        return FINISHED
    return RESUMED if Checkpoints(options.out).epochs() else STARTED


def _go_on(found: str, options: argparse.Namespace) -> bool:
    """Do so, as if the options for it had been given; whether there is nothing left to do."""
    if found == RESUMED:
        options.resume = options.out
    options.overwrite = options.overwrite or found == STARTED
    return found == FINISHED


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
    return finished(summary, path, output)


def _as_rank(options: argparse.Namespace, output: Output) -> dict[str, Any] | None:
    """One of the ranks of a launcher: problems are agreed upon, so that all leave together."""
    place = _place(options)
    with joined(place.device, timeout=place.startup_timeout) as (comm, placement):
        before = Attempt.before(comm)
        if before.stopped:
            raise StoppedError("the run was asked to stop, and stays so", before.stopped)
        run = Path(before.run or options.out or "")
        if before.state == "begun":  # its summary may be there, though nobody lived to say that it is
            over = (run / SUMMARY).is_file()
        else:
            over = _go_on(comm.texts(_found(options))[0], options) or before.state == "finished"
        if comm.texts(FINISHED if over else "")[0]:
            return _told_again(run, output) if comm.rank == 0 else None
        folder, recorded = None, ""
        with comm.agreed():
            if before.state == "begun" and comm.rank == 0:
                recorded = (run / CONFIG).read_text(encoding="utf-8")
        recorded = comm.texts(recorded)[0]  # on a disk of its own alone, perhaps
        with comm.agreed():
            config = RunConfig.checked(tomllib.loads(recorded)) if recorded else configured(options)
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
    return finished(summary, folder.path, output) if folder is not None else None


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
    return finished(json.loads((run / SUMMARY).read_text()), run, output)


def _may_overwrite(options: argparse.Namespace, path: Path) -> bool:
    """Whether a run's folder may hold a run: the one that is gone on with, or one that was given up."""
    own = options.resume is not None and path.resolve() == run_folder(options.resume).resolve()
    return bool(options.overwrite) or own
