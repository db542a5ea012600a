"""``gcnsys polarize``: train a graph into dense diagonal blocks and a thin remainder (GCoD)."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch

from gcnsys.cli.options import add_fields, chosen
from gcnsys.cli.output import Output
from gcnsys.datasets import Dataset
from gcnsys.errors import InputError
from gcnsys.files import refuse_existing
from gcnsys.manifest import NAME
from gcnsys.polarize import PolarizeSettings, SplitSettings, TuneSettings, disk, polarize, shared
from gcnsys.polarize.learn import Setting
from gcnsys.polarize.pipeline import ROOM, From, Polarized
from gcnsys.polarize.published import as_published, as_released, setup
from gcnsys.polarize.quantize import Precision
from gcnsys.polarize.split import PER_CLASS, RELEASED, plain_layout
from gcnsys.polarize.summary import summarized
from gcnsys.runtime import Comm, Placement, joined
from gcnsys.runtime.launch import launch
from gcnsys.runtime.process import launched_by_torchrun
from gcnsys.train import RunConfig, Task
from gcnsys.train.preparation import Preparation
from gcnsys.train.run import prepare_process
from gcnsys.train.task import Regression

GROUPS = {
    "model": (
        "model", "layers", "hidden", "linear_layers", "dropout", "norm", "residual", "activation", "heads",
        "out_heads", "attention_dropout", "train_eps", "aggregation", "temperature",
    ),
    "training": ("epochs", "lr", "weight_decay", "decay_on", "patience", "first_hop", "prune", "seed"),
    "graph": ("directed", "normalize", "split", "split_seed"),
    "machine": ("parts", "device", "dtype", "threads", "timeout", "startup_timeout"),
}  # fmt: skip

EXAMPLES = """examples:
  gcnsys polarize digits --epochs 50
  gcnsys polarize npz:cora.npz --ratio 0.1 --eta 10 --plot cora.png --out polarized/cora
  gcnsys polarize npz:cora.npz --as-published --json
  gcnsys polarize npz:mine.npz --parts 2 --model sage --subgraphs 32 --out polarized/mine
  gcnsys train npz:polarized/cora/graph.npz --hidden 16"""


def add(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "polarize", help="train a graph into dense diagonal blocks and a remainder",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("spec", metavar="DATA", help="a dataset, as name[:argument]")
    usual, cuts, tuning = PolarizeSettings(), SplitSettings(), TuneSettings()
    style = parser.add_mutually_exclusive_group()
    style.add_argument("--as-published", action="store_true", help="tune as the paper's text says")
    style.add_argument("--as-released", action="store_true", help="tune as its released code does")
    cut = parser.add_argument_group("split")
    cut.add_argument(
        "--thresholds", type=_numbers, metavar="A,B",
        help="in-degrees at which classes begin (default: published ones, else quantiles)",
    )  # fmt: skip
    cut.add_argument(
        "--classes", type=int, default=cuts.classes, metavar="C",
        help=f"where quantiles are taken ({cuts.classes})",
    )  # fmt: skip
    cut.add_argument(
        "--subgraphs", type=int, metavar="S",
        help=f"of all classes and groups (default: {PER_CLASS} a class and group; plainly {RELEASED})",
    )  # fmt: skip
    cut.add_argument("--groups", type=int, default=2, metavar="G", help="that subgraphs are spread over (2)")
    cut.add_argument("--plain-layout", action="store_true", help="METIS on the whole graph, without classes")
    tune = parser.add_argument_group("tuning and pruning")
    tune.add_argument("--ratio", type=float, default=tuning.ratio, help="share of edges to prune (0.1)")
    tune.add_argument(
        "--eta", type=int, default=usual.eta, metavar="EDGES",
        help="blocks off the diagonal with fewer edges are dropped; 0: none (10)",
    )  # fmt: skip
    tune.add_argument(
        "--most", type=float, metavar="SHARE", default=argparse.SUPPRESS,
        help=f"blocks are dropped as long as at most this share of all edges is gone (ratio + {ROOM:g})",
    )  # fmt: skip
    tune.add_argument(
        "--polarization", type=float, metavar="B", default=argparse.SUPPRESS,
        help=f"polarization's derivatives, in those of the loss ({tuning.balance:g}); 0: magnitude alone",
    )  # fmt: skip
    tune.add_argument(
        "--pseudo", action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS,
        help="tune edges on what the pretrained model says of every node (default: yes)",
    )  # fmt: skip
    tune.add_argument("--rounds", type=int, default=argparse.SUPPRESS, help=f"of ADMM ({tuning.rounds})")
    tune.add_argument("--steps", type=int, default=argparse.SUPPRESS, help=f"of a round ({tuning.epochs})")
    tune.add_argument(
        "--pretrain", type=int, metavar="EPOCHS", default=argparse.SUPPRESS,
        help="at most, before tuning (default: three quarters of a full training)",
    )  # fmt: skip
    tune.add_argument(
        "--retrain", choices=get_args(From), default=argparse.SUPPRESS,
        help="from the pretrained weights, for as many epochs as a full training has left or for a full "
        f"training, or from new ones ({usual.retrain})",
    )  # fmt: skip
    tune.add_argument(
        "--keep-factors", action="store_true", help="tuned factors stay as weights of the edges that are kept"
    )
    tune.add_argument(
        "--distill", type=float, metavar="W", default=argparse.SUPPRESS,
        help=f"weight of what the pretrained model says, beside labels, in retraining ({usual.distill:g})",
    )  # fmt: skip
    tune.add_argument(
        "--bits", type=_bits, metavar="B or F,W,S", default=None,
        help="train for numbers of so many bits: all, or features, weights and sums (default: not)",
    )  # fmt: skip
    tune.add_argument(
        "--protect", type=float, default=0.0, metavar="P",
        help="with --bits: how probably rows of high in-degree are sent and added up with all bits "
        "(Degree-Quant) (0)",
    )  # fmt: skip
    tune.add_argument("--no-reference", action="store_true", help="do not train on the whole graph as well")
    for title, names in GROUPS.items():
        add_fields(parser.add_argument_group(title), names)
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep graph, parts, masks, layout and report")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the adjacency after each step")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_polarize)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(piece) for piece in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"needs numbers such as 3,6, got {text!r}") from None


def _bits(text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(piece) for piece in text.split(","))
        if len(found) not in (1, 3):
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(f"needs a number, or three such as 8,4,8, got {text!r}") from None
    return found * 3 if len(found) == 1 else found


def _precision(options: argparse.Namespace) -> Precision | None:
    if options.bits is None:
        if options.protect:
            raise InputError("--protect says which rows keep all bits: give --bits as well")
        return None
    features, weights, sums = options.bits
    return Precision(features, weights, sums, options.protect)


def _settings(options: argparse.Namespace, config: RunConfig) -> PolarizeSettings:
    given, groups = vars(options), 1 if options.plain_layout else options.groups
    usual = PolarizeSettings(
        SplitSettings(options.thresholds, options.classes, options.subgraphs, groups, config.seed),
        TuneSettings(ratio=options.ratio), options.eta, reference=not options.no_reference,
    )  # fmt: skip
    if options.as_published:
        usual = as_published(usual)
    elif options.as_released:
        usual = as_released(usual, config.epochs)
    names = {"polarization": "balance", "pseudo": "pseudo", "rounds": "rounds", "steps": "epochs"}
    tuning = replace(usual.tuning, **{names[name]: given[name] for name in names if name in given})
    more = {"pretrain": given["pretrain"]} if "pretrain" in given else {}
    more |= {name: given[name] for name in ("distill", "most", "retrain") if name in given}
    more |= {"keep_factors": True} if options.keep_factors else {}
    return replace(usual, tuning=tuning, **more)


def _polarize(options: argparse.Namespace, output: Output) -> dict[str, Any] | None:
    given = chosen(options)
    config = RunConfig.checked({**setup(given.get("model", "gcn")), **given, "data": options.spec})
    settings, precision = _settings(options, config), _precision(options)
    if precision is not None and config.first_hop == "on":
        raise InputError(
            "--first-hop on: with --bits rows are rounded before they are added up; leave it out"
        )
    ranks = config.parts or 1
    Placement.choose(config.device, 0, ranks)  # refuses a device that is not there
    if options.out:
        refuse_existing(options.out, overwrite=options.overwrite, holding=NAME)
    if ranks > 1 and not launched_by_torchrun():
        options.exit_code = launch(ranks, options.arguments)
        return None
    prepare_process(config)
    with joined(config.device, timeout=config.startup_timeout) as (comm, placement):
        if config.parts not in (None, comm.size):
            raise InputError(f"--parts {config.parts} but {comm.size} ranks were started; start one a part")
        config = config.model_copy(update={"parts": comm.size})
        with output.working():
            return _on_rank(options, config, settings, precision, comm, placement, output)


def _on_rank(
    options: argparse.Namespace, config: RunConfig, settings: PolarizeSettings,
    precision: Precision | None, comm: Comm, placement: Placement, output: Output,
) -> dict[str, Any] | None:  # fmt: skip
    dataset = None
    with comm.agreed():
        if comm.rank == 0:
            dataset = Preparation.asked(config).load(config.data)
            for note in dataset.notes:
                output.note(f"{dataset.name}: {note}")
    division = None
    with comm.agreed():
        if dataset is not None and options.plain_layout:
            number = settings.split.subgraphs or RELEASED
            division = plain_layout(dataset.graph, number, seed=config.seed)
    with shared(config, comm, None if options.out is None else options.out.parent) as share:
        with comm.agreed():
            about = None if dataset is None else _about(dataset)
        widths = comm.share(torch.tensor(about or [0] * 4)).tolist()
        task = Regression() if widths[2] else Task(bool(widths[3]))
        setting = Setting(config, widths[0], widths[1], task, comm, placement, precision)
        found = polarize(dataset, setting, settings, share, division)
    if dataset is None:
        return None
    result = summarized(found, config.model)
    _say(result, output)
    _keep(found, result, config, options, output)
    return result


def _say(result: dict[str, Any], output: Output) -> None:
    output.say(
        f"{result['dataset']}: {result['edges']:,} directed edges, {result['inside_before']:.1%} of them "
        f"within {len(result['subgraphs'])} subgraphs"
    )
    columns = ("step", "edges", "kept", "within subgraphs", "off-diagonal reduction", "mean |i - j|")
    output.table(columns, [
        (name, step["edges"], f"{step['kept']:.1%}", f"{step['inside']:.1%}",
         f"{step['off_diagonal_reduction']:.1%}", f"{step['mean_distance']:.0f}")
        for name, step in result["steps"].items()
    ])  # fmt: skip
    work = result["work"]
    loads = ", ".join(f"{load:,}" for load in work["edges_by_class"])
    output.say(
        f"work: {loads} edges in the blocks of each class, {work['edges_off_diagonal']:,} off the diagonal; "
        f"the slowest of them takes {work['balance']:.3f} times the mean once elements are shared out"
    )
    before, after = result["accuracy_before"], result["accuracy_after"]
    told = "" if before is None else f" (on the whole graph {before['test']:.4f})"
    same = result["accuracy_before_distilled"]
    if same is not None:
        told = f"{told[:-1]}, and {same['test']:.4f} with what the pretrained model says, as here)"
    output.say(f"test accuracy {after['test']:.4f} at the best validation {after['val']:.4f}{told}")
    if result["cost"] is not None:
        epochs, seconds = result["cost"]["epochs"], result["cost"]["seconds"]
        output.say(
            f"all phases took {epochs:.2f} times the epochs of plain training, and {seconds:.2f} times its "
            f"seconds without evaluation"
        )


def _keep(
    found: Polarized, result: dict[str, Any], config: RunConfig, options: argparse.Namespace, output: Output
) -> None:
    assert found.original is not None
    assert found.division is not None
    assert found.dataset is not None
    assert found.after_tuning is not None
    assert found.kept is not None
    masks = {"tuned": found.after_tuning, "thin-blocks-dropped": found.kept}
    if options.out:
        disk.save(
            options.out, found.division, found.original.graph, masks, found.dataset, result,
            model=config.model, cutting=config.cutting(), overwrite=options.overwrite,
            factors=found.factors if options.keep_factors or options.as_published else None,
        )  # fmt: skip
        output.say(f"kept in {options.out}")
        result["folder"] = str(options.out)
    if options.plot:
        from gcnsys.report.polarized import plot

        plot(
            found.original.graph, found.division.layout, found.division.group_of, masks, result["dataset"],
            options.plot,
        )  # fmt: skip
        output.say(f"drew {options.plot}")
        result["plot"] = str(options.plot)


def _about(dataset: Dataset) -> list[int]:
    """How wide features and classes are, and whether labels are numbers, or several a node."""
    kinds = dataset.is_regression, dataset.is_multilabel
    return [dataset.num_features, dataset.num_classes, *map(int, kinds)]
