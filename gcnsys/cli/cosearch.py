"""``gcnsys cosearch``: a model and an accelerator that fit each other, under a budget."""

import argparse
import json
import logging
import time
from pathlib import Path
from typing import Any, get_args

from safetensors.torch import save

from gcnsys.cli.output import Output
from gcnsys.datasets import load
from gcnsys.errors import InputError
from gcnsys.files import load_arrays, write, write_json
from gcnsys.registry import require
from gcnsys.search.budget import Budget
from gcnsys.search.choice import SLACK, Choice, choose
from gcnsys.search.export import export
from gcnsys.search.problem import BASELINE, Problem
from gcnsys.search.refine import refined
from gcnsys.search.space import CHOICES, GROUP
from gcnsys.search.study import CoSearch, Found, Method, front, hypervolume

EXAMPLES = """examples:
  gcnsys cosearch npz:cora.npz --budget dsp=4096,bram=42e6 --out runs/cosearch
  gcnsys cosearch npz:cora.npz --out runs/cosearch --trials 1000        # goes on with what is there
  gcnsys estimate npz:runs/cosearch/design/graph.npz --accelerator runs/cosearch/design/accelerator.toml"""

JOURNAL, WEIGHTS, SETTINGS = "trials.journal", "supernet.safetensors", "search.json"
FRONT, PICTURE = "front.json", "front.png"

log = logging.getLogger(__name__)


def add(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "cosearch", help="search a model and an accelerator that fit each other",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("spec", metavar="DATA", help="a dataset, as name[:argument]")
    parser.add_argument(
        "--budget", default="", metavar="dsp=N,bram=BYTES",
        help="what an accelerator may use: dsp, bram, bandwidth (GB/s), clock (MHz) (default: GCoD's board)",
    )  # fmt: skip
    parser.add_argument("--trials", type=int, default=400, metavar="N", help="designs to try (default: 400)")
    parser.add_argument(
        "--steps", type=int, default=400,
        help="that train the supernet; a model alone takes half as many (default: 400)",
    )  # fmt: skip
    parser.add_argument(
        "--method", choices=get_args(Method), default="evolution", help="(default: evolution)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the supernet and the proposals (default: 0)")
    parser.add_argument(
        "--retrain", type=int, default=3, metavar="SEEDS",
        help="train the chosen model and the baseline anew, from so many seeds (default: 3)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("runs/cosearch"), help="(default: runs/cosearch)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_cosearch)


def _cosearch(options: argparse.Namespace, output: Output) -> dict[str, Any]:
    for flag in ("trials", "steps", "retrain"):
        if getattr(options, flag) < 1:
            raise InputError(f"--{flag} must be at least 1, got {getattr(options, flag)}")
    budget, began, folder = Budget.parse(options.budget), time.perf_counter(), options.out
    if not 0 <= options.seed < 2**63:
        raise InputError(f"--seed must be at least 0 and below 2^63, got {options.seed}")
    for package in ("optuna", "matplotlib"):
        require(package, extra="search", purpose="a co-search")
    with output.working():
        problem = Problem(load(options.spec), budget, seed=options.seed)
        search = CoSearch(problem.judge, _journal(options), method=options.method, seed=options.seed)
        _train(problem, folder, options.steps)
        before = search.done
        search.run(options.trials, lambda done: log.info("%d of %d designs tried", done, options.trials))
        found = search.found()
        least = problem.accuracy(BASELINE)[0] - SLACK
        good = [each for each in found if each.judged.accuracy >= least]
        improved = refined([*good, *front(found)], problem.judge)
        choice = choose(improved, problem, seeds=options.retrain, steps=-(-options.steps // 2))
    (folder / "design").mkdir(exist_ok=True)
    export(choice.found.design, problem, folder / "design")
    told = _told(choice, found, improved, problem) | {
        "trials": len(found), "trials_before": before, "seconds": time.perf_counter() - began,
        "seeds": options.retrain, "folder": str(folder),
    }  # fmt: skip
    write_json(folder / FRONT, told)
    _draw(told, choice, found, problem, folder)
    _say(told, output)
    return told


def _journal(options: argparse.Namespace) -> Path:
    """The file of trials; a folder that is there must be of the same search."""
    folder: Path = options.out
    settings = {name: getattr(options, name) for name in ("spec", "budget", "steps", "method", "seed")}
    space = {name: list(values) for name, values in CHOICES.items()}
    kept = folder / SETTINGS
    if kept.is_file():
        there = _settings(kept)
        differs = [name for name in settings if there.get(name) != settings[name]]
        if differs:
            name = differs[0]
            raise InputError(
                f"{folder} is of a search with --{name} {there.get(name)}, not {settings[name]}; "
                f"go on with that, or choose another --out"
            )
        if there.get("space") != space:
            raise InputError(f"{folder} is of a search in another space of designs; choose another --out")
    elif folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} holds something else; choose another --out")
    write_json(kept, settings | {"space": space})
    return folder / JOURNAL


def _settings(path: Path) -> dict[str, Any]:
    """What the search in a folder is of."""
    try:
        there = json.loads(path.read_text())
    except ValueError:
        there = None
    if not isinstance(there, dict):
        raise InputError(f"{path}: damaged; remove its folder, or choose another --out")
    return there


def _train(problem: Problem, folder: Path, steps: int) -> None:
    """Train the supernet, or take the weights that are there."""
    path = folder / WEIGHTS
    if path.is_file():
        problem.supernet.load_state_dict(load_arrays(path, name=str(path)))
        return
    log.info("training the supernet, %d steps", steps)
    problem.supernet.fit(steps)
    write(path, save(dict(problem.supernet.state_dict())))


def _told(choice: Choice, found: list[Found], improved: list[Found], problem: Problem) -> dict[str, Any]:
    best, shape = choice.found, choice.found.design.shape
    beside = problem.beside_gcod(best.design)
    return {
        "dataset": problem.dataset.name, "design": best.design.plain(),
        "seconds_estimated": best.judged.seconds,
        "hidden_density": problem.accuracy(shape)[2],
        "gcod_seconds_same_model": beside["as_it_is"] * best.judged.seconds,
        "over_gcod_same_model": beside["as_it_is"],
        "over_gcod_one_constant": beside["one_constant"],
        "over_gcod_that_skips_zeros": beside["zeros_skipped"],
        "gcod_seconds_baseline_model": problem.gcod(32).estimate(problem.work(BASELINE)).seconds,
        "retrained": choice.plain(), "hypervolume": hypervolume(found),
        "front": [
            each.design.plain() | {"val_acc": each.judged.accuracy, "seconds": each.judged.seconds}
            for each in front([*found, *improved])
        ],
    }  # fmt: skip


def _draw(told: dict[str, Any], choice: Choice, found: list[Found], problem: Problem, folder: Path) -> None:
    from gcnsys.report.front import plot

    shared, judged = problem.accuracy(BASELINE)[0], choice.found.judged
    plot(
        told["dataset"], [(each.judged.seconds, each.judged.accuracy) for each in found],
        [(each["seconds"], each["val_acc"]) for each in told["front"]],
        {
            "baseline GCN on GCoD's template": (told["gcod_seconds_baseline_model"], shared),
            "chosen": (judged.seconds, judged.accuracy),
            "its model on GCoD's template": (told["gcod_seconds_same_model"], judged.accuracy),
        },
        folder / PICTURE,
    )  # fmt: skip


def _say(told: dict[str, Any], output: Output) -> None:
    rows = [
        (
            each["model"]["kind"], each["model"]["layers"], each["model"]["hidden"], each["model"]["bits"],
            f"{each['model']['pruned']:.0%}", f"{each['model']['kept'] / GROUP:.0%}",
            each["accelerator"]["dataflow"], len(each["accelerator"]["elements"]),
            f"{each['val_acc']:.3f}", f"{1e6 * each['seconds']:.3f}",
        )
        for each in told["front"]
    ]  # fmt: skip
    output.table(
        (
            "front", "layers", "hidden", "bits", "pruned", "weights", "dataflow", "parts", "validation",
            "µs, estimated",
        ),
        rows,
    )  # fmt: skip
    alone, model = told["retrained"], told["design"]["model"]
    output.say(
        f"chosen: {model['kind']}, {model['layers']} layers of {model['hidden']}, {model['bits']} bits, "
        f"{model['pruned']:.0%} of edges pruned, {model['kept']} of {GROUP} weights kept; "
        f"{1e6 * told['seconds_estimated']:.3f} µs by estimate"
    )
    output.say(
        f"{told['over_gcod_same_model']:.2f} times as fast as GCoD's template on the same model, bits and "
        f"budget; {told['over_gcod_that_skips_zeros']:.2f} if that skipped zeros of weights as well"
    )
    output.say(
        f"trained alone, {told['seeds']} seeds: test {alone['test_acc']:.3f}, baseline GCN "
        f"{alone['baseline_test_acc']:.3f}; {told['trials']} designs in {told['seconds']:.0f} s; kept in "
        f"{told['folder']}"
    )
