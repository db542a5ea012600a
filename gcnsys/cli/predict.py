"""``gcnsys predict``: what a trained model says of every node of a graph."""

import argparse
from pathlib import Path
from typing import Any, get_args

from gcnsys.cli.options import add_trained
from gcnsys.cli.output import Output
from gcnsys.errors import InputError, known_to_all
from gcnsys.files import refuse_existing
from gcnsys.runtime import joined
from gcnsys.runtime.launch import launch
from gcnsys.runtime.process import launched_by_torchrun
from gcnsys.train import RunConfig
from gcnsys.train.predict import Kind, as_kind, predictions, write_rows
from gcnsys.train.preparation import Preparation
from gcnsys.train.run import prepare_process
from gcnsys.train.source import find_partitioning, is_partitioning, shared_partitioning
from gcnsys.train.trained import TrainedRun


def add(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "predict", help="use a trained model on all nodes of a graph",
        epilog="example: gcnsys predict runs/mine npz:mine.npz --out scores.npy --parts 4",
    )  # fmt: skip
    add_trained(parser)
    parser.add_argument(
        "data", metavar="DATA", nargs="?", help="a partitioning's folder or a dataset (default: the run's)"
    )
    parser.add_argument("--out", type=Path, default=Path("scores.npy"), help="(default: scores.npy)")
    parser.add_argument(
        "--kind", choices=get_args(Kind), default="logits",
        help="what to write; of regression, logits are the numbers, of links, rows whose products are the "
        "scores (default: logits)",
    )  # fmt: skip
    parser.add_argument(
        "--parts", type=int, help="cut into this many parts, one local rank each (default: 1)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file if there is one")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_predict)


def _predict(options: argparse.Namespace, output: Output) -> dict[str, Any] | None:
    if launched_by_torchrun():
        return _as_rank(options, output)
    _check(options)
    run = TrainedRun.open(options.trained, options.weights)
    config = _configured(options, run)
    with output.working():
        partitioning = find_partitioning(config, _preparation(options, run))
    if partitioning.num_parts == 1:
        return _as_rank(options, output)
    arguments = ["predict", str(options.trained), str(partitioning.folder), "--out", str(options.out)]
    arguments += ["--kind", options.kind, "--weights", options.weights]
    arguments += [flag for flag in ("--json", "--overwrite") if getattr(options, flag[2:])]
    options.exit_code = launch(partitioning.num_parts, arguments)
    return None


def _check(options: argparse.Namespace) -> None:
    if options.parts is not None and options.parts < 1:
        raise InputError(f"--parts {options.parts}: there must be at least 1")
    if options.out.suffix != ".npy":
        raise InputError(f"--out {options.out}: the file is a NumPy array; give it a name that ends in .npy")
    refuse_existing(options.out, overwrite=options.overwrite)


def _configured(options: argparse.Namespace, run: TrainedRun) -> RunConfig:
    """The run's configuration on the graph that is asked about, all of which is looked at."""
    changed: dict[str, Any] = {"inductive": False, "parts": options.parts}
    if options.data is not None:
        changed["data"] = options.data
    elif options.parts is not None and is_partitioning(Path(run.config.data)):
        raise InputError(
            f"{run.config.data} is cut already; drop --parts, or name the dataset it was made of"
        )
    return run.config.model_copy(update=changed)


def _preparation(options: argparse.Namespace, run: TrainedRun) -> Preparation | None:
    """The run's, of another dataset; of the run's own, what its configuration says."""
    return None if options.data is None else run.preparation


def _as_rank(options: argparse.Namespace, output: Output) -> dict[str, Any] | None:
    with joined() as (comm, placement):
        with comm.agreed():
            _check(options)
            run = TrainedRun.open(options.trained, options.weights)
            config = _configured(options, run)
        partitioning = shared_partitioning(config, comm, _preparation(options, run))
        if options.kind != "logits":
            told = {"numbers": run.regression, "links": run.links}
            what = next((what for what, there in told.items() if there), None)
            if what is not None:
                sentence = f"--kind {options.kind}: the model tells {what}, which have no classes; use logits"
                raise known_to_all(sentence, InputError)
        prepare_process(config)
        comm.timeout = config.timeout
        ids, logits = predictions(run, partitioning, comm, placement)
        rows = as_kind(logits, options.kind, multilabel=run.multilabel)
        nodes = partitioning.manifest.num_nodes
        write_rows(options.out, ids, rows, nodes, comm)
        if comm.rank:
            return None
    shape = [nodes, *rows.shape[1:]]
    output.say(f"{options.kind} of {nodes:,} nodes of {partitioning.manifest.dataset} in {options.out}")
    return {
        "out": str(options.out), "kind": options.kind, "shape": shape, "run": str(run.folder),
        "dataset": partitioning.manifest.dataset, "parts": partitioning.num_parts,
    }  # fmt: skip
