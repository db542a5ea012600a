"""What an epoch of tuning costs beside one of training, in time and memory, each in a process of its own.

python -m experiments.polarize.scale SPEC [--model gcn] [--out FILE]
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from experiments.machine import report
from gcnsys.datasets import load
from gcnsys.polarize import SplitSettings, TuneSettings, alone, laid_out, split
from gcnsys.polarize.learn import Setting
from gcnsys.polarize.tune import TuningLoss, tune
from gcnsys.runtime.process import Placement, joined
from gcnsys.train import RunConfig, Task, Trainer, views
from gcnsys.train.optimizer import make_optimizer

PHASES = ("train", "train, first hop not precomputed", "tune", "tune, pseudo-labels")


def measured(spec: str, model: str, phase: str) -> dict[str, float]:
    """One phase in this process."""
    torch.set_num_threads(1)
    dataset = load(spec)
    began = time.perf_counter()
    found = split(dataset.graph, SplitSettings(subgraphs=24))
    split_seconds = time.perf_counter() - began
    dataset = laid_out(dataset, found.layout)
    hop = "off" if "not" in phase else "auto"
    config = RunConfig.checked({"data": spec, "model": model, "hidden": 64, "first_hop": hop})
    with joined("cpu") as (comm, placement):
        part = alone(dataset)
        setting = Setting(
            config, dataset.num_features, dataset.num_classes, Task(), comm, placement
        )  # fmt: skip
        edges = dataset.graph.num_edges
        del dataset
        seconds = (_train if phase.startswith("train") else _tune)(
            part, setting, placement, "pseudo" in phase
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return {"edges": edges, "split_seconds": split_seconds, "epoch_seconds": seconds, "peak_mib": peak}


def _train(part: Any, setting: Setting, placement: Placement, _: bool) -> float:
    config, model = setting.config, setting.model()
    training, evaluation = views(
        part, model, setting.comm, choice=config.first_hop, prune="off", device=placement.device,
        dtype=config.stored,
    )  # fmt: skip
    trainer = Trainer(model, training, evaluation, setting.task, make_optimizer(model, config), setting.comm)
    return median(epoch.seconds for epoch in list(trainer.epochs(6))[1:])


def _tune(part: Any, setting: Setting, _: Placement, pseudo: bool) -> float:
    loss = TuningLoss(part, setting.model(), setting, pseudo=pseudo)
    settings = TuneSettings(rounds=1, epochs=1, stop=0.0, pseudo=pseudo)
    tune(loss, settings)  # what is built once
    found = tune(loss, TuneSettings(rounds=3, epochs=2, stop=0.0, pseudo=pseudo))
    return found.seconds / found.epochs


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
    plain, tuned = found["train, first hop not precomputed"], found["tune, pseudo-labels"]
    ratios = {
        "time": tuned["epoch_seconds"] / plain["epoch_seconds"],
        "time, first hop precomputed": tuned["epoch_seconds"] / found["train"]["epoch_seconds"],
        "memory": tuned["peak_mib"] / found["train"]["peak_mib"],
    }
    print(ratios)
    report({"model": options.model, "phases": found, "ratios": ratios}, options.out, show=False)


if __name__ == "__main__":
    main()
