"""What an epoch of tuning costs beside one of training, and whether two ranks prune what one prunes.

Times are taken in turn in one process, memory in two.

python -m experiments.polarize.scale SPEC [--model gcn] [--out FILE]
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from experiments.machine import report
from gcnsys.datasets import load
from gcnsys.partition import Part
from gcnsys.polarize import SplitSettings, TuneSettings, alone, disk, laid_out, split
from gcnsys.polarize.learn import Setting
from gcnsys.polarize.tune import TuningLoss, tune
from gcnsys.runtime.process import joined
from gcnsys.train import RunConfig, Task, Trainer, views
from gcnsys.train.optimizer import make_optimizer

PHASES = ("times", "train", "tune")
TURNS = 7
STEPS = TuneSettings(rounds=3, stop=0.0)


def measured(spec: str, model: str, phase: str) -> dict[str, Any]:
    """One phase in this process."""
    torch.set_num_threads(1)
    dataset = load(spec)
    began = time.perf_counter()
    found = split(dataset.graph, SplitSettings(subgraphs=24))
    split_seconds = time.perf_counter() - began
    dataset = laid_out(dataset, found.layout)
    config = RunConfig.checked({"data": spec, "model": model, "hidden": 64})
    with joined("cpu") as (comm, placement):
        setting = Setting(
            config, dataset.num_features, dataset.num_classes, Task(), comm, placement
        )  # fmt: skip
        part, edges = alone(dataset), dataset.graph.num_edges
        del dataset
        ways: dict[str, Callable[[], float]] = {}
        if phase != "tune":
            ways["train"] = _training(part, setting, "auto")
        if phase == "times":
            ways["train, first hop not precomputed"] = _training(part, setting, "off")
        if phase != "train":
            loss = TuningLoss(part, setting.model(), setting, pseudo=True)
            ways["tune"] = lambda: _steps(loss)
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(TURNS):
            for way, run in ways.items():
                seconds = run()
                if turn:  # the first builds what is kept
                    taken[way].append(seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    medians = {way: median(each) for way, each in taken.items()}
    least = {way: min(each) for way, each in taken.items()}
    return {
        "edges": edges, "split_seconds": split_seconds, "epoch_seconds": medians, "least": least,
        "peak_mib": peak,
    }  # fmt: skip


def _training(part: Part, setting: Setting, hop: Any) -> Callable[[], float]:
    config, model = setting.config, setting.model()
    device = setting.placement.device
    training, evaluation = views(
        part, model, setting.comm, choice=hop, prune="off", device=device, dtype=config.stored
    )
    trainer = Trainer(model, training, evaluation, setting.task, make_optimizer(model, config), setting.comm)
    return lambda: next(trainer.epochs(1)).seconds


def _steps(loss: TuningLoss) -> float:
    """An epoch of tuning, its share of a round and of predictions included, as in three rounds by default."""
    found = tune(loss, STEPS)
    return found.seconds / found.epochs


def masks(spec: str, model: str) -> dict[str, Any]:
    """The edges that one rank and two ranks prune, by the command, in float32."""
    kept, deviation = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        for parts in (1, 2):
            out = Path(folder) / str(parts)
            words = [
                "polarize", spec, "--model", model, "--parts", str(parts), "--epochs", "4", "--pretrain", "4",
                "--rounds", "3", "--hidden", "32", "--subgraphs", "24", "--eta", "0", "--no-reference",
                "--threads", "1", "--out", str(out), "--json",
            ]  # fmt: skip
            done = subprocess.run(
                [sys.executable, "-m", "gcnsys", *words], check=True, capture_output=True, text=True
            )
            deviation = json.loads(done.stdout)["work"]["in_edges_deviation"]
            kept.append(disk.load(out).masks["tuned"])
    one, two = kept
    return {
        "entries": one.numel(), "pruned": int((~one).sum()), "pruned_by_one_alone": int((~one & two).sum()),
        "pruned_by_two_alone": int((one & ~two).sum()), "in_edges_deviation": deviation,
    }  # fmt: skip


def main() -> None:
    """Measure all phases, or one of them."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("spec", help="a dataset")
    cli.add_argument("--model", default="gcn")
    cli.add_argument("--phase", choices=PHASES, help="this one alone, as a JSON line")
    cli.add_argument("--out", type=Path, help="write the result here, too")
    options = cli.parse_args()
    if options.phase:
        print(json.dumps(measured(options.spec, options.model, options.phase)))
        return
    found = {}
    for phase in PHASES:
        words = [options.spec, "--model", options.model, "--phase", phase]
        done = subprocess.run(
            [sys.executable, "-m", "experiments.polarize.scale", *words], check=True, capture_output=True
        )
        found[phase] = json.loads(done.stdout.splitlines()[-1])
        print(f"{phase}: {found[phase]}", flush=True)
    seconds = found["times"]["epoch_seconds"]
    ratios = {f"tune over {way}": seconds["tune"] / each for way, each in seconds.items() if way != "tune"}
    ratios["memory"] = found["tune"]["peak_mib"] / found["train"]["peak_mib"]
    print(ratios)
    pruned = masks(options.spec, options.model)
    print(pruned)
    report(
        {"model": options.model, "phases": found, "ratios": ratios, "ranks": pruned}, options.out, show=False
    )


if __name__ == "__main__":
    main()
