"""Graph polarization beside other ways to prune, on real graphs.

python -m experiments.polarize.run accuracy GRAPH [--model gcn] --seeds 0:10 --out FILE   a line a seed
python -m experiments.polarize.run styles GRAPH --seeds 0:5 --out FILE                    paper and code
python -m experiments.polarize.run frontier GRAPH --seeds 0:3 --out FILE                  by reduction
python -m experiments.polarize.run table FILE...                                          means, differences
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, replace
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor

from experiments import runfile
from experiments.machine import machine, packages
from gcnsys.datasets import Dataset, load
from gcnsys.datasets.dataset import Split as NodeSplit
from gcnsys.polarize import PolarizeSettings, SplitSettings, alone, laid_out, polarize, split
from gcnsys.polarize.distill import distilled
from gcnsys.polarize.figures import figures, in_edges_deviation, work
from gcnsys.polarize.learn import Learnt, Setting, learn
from gcnsys.polarize.pipeline import STEP, gathered, pretrain, retrain
from gcnsys.polarize.prune import by_rule, pruned_dataset, sparsified
from gcnsys.polarize.published import as_published, as_released, setup
from gcnsys.polarize.quantize import Precision
from gcnsys.polarize.split import RELEASED, Split, plain_layout
from gcnsys.polarize.tune import TuneSettings, TuningLoss, tune
from gcnsys.runtime import Comm
from gcnsys.runtime.process import Placement, joined
from gcnsys.train import RunConfig, Task

REDUCTIONS = (0.1, 0.2, 0.4, 0.6)
MOST = {10: 0.12, 40: 0.16}
"""Share of all edges that may go where thin blocks are dropped, by eta."""
CHANGES: dict[str, int] = {}
"""What is trained otherwise than usual, by the command line."""


def dataset_of(name: str, seed: int) -> Dataset:
    """A graph of the data folder; where no split is stored, 20 labels a class or so, drawn by the seed."""
    return load(
        f"npz:{runfile.data_folder() / name}.npz", split=NodeSplit(0.05, 0.15, 0.8, seed=seed)
    )  # fmt: skip


class Seed:
    """One seed of one graph: everything is trained from the same first weights on the same split.

    Args:
        name: of the graph.
        model: of the registry.
        seed: of weights, dropout, METIS and splits that are not stored.
        comm: one rank.
        settings: of polarization.
        plain: METIS on the whole graph instead of degree classes.
    """

    def __init__(
        self, name: str, model: str, seed: int, comm: Comm, settings: PolarizeSettings, *, plain: bool = False
    ) -> None:
        dataset = dataset_of(name, seed)
        self.settings = replace(settings, split=replace(settings.split, seed=seed))
        self.division: Split = split(dataset.graph, self.settings.split, name=name)
        if plain:
            self.division = plain_layout(dataset.graph, self.division.num_subgraphs, seed=seed)
        self.dataset = laid_out(dataset, self.division.layout)
        values = {**setup(model), "data": name, "model": model, "seed": seed, **CHANGES}
        self.setting = Setting(
            RunConfig.checked(values), dataset.num_features, dataset.num_classes,
            Task(dataset.is_multilabel), comm, Placement.choose("cpu", 0, 1),
        )  # fmt: skip
        self.part = alone(self.dataset)

    def tuned(self, loss: TuningLoss, tuning: TuneSettings) -> tuple[Tensor, Tensor, list[float], int]:
        """Kept edges, factors, distances between masks, and steps."""
        found = tune(loss, tuning)
        graph = self.dataset.graph
        gone, factors = (gathered(found.edges, each, graph) for each in (found.pruned, found.factors))
        assert gone is not None
        assert factors is not None
        return ~gone, factors, found.distances, found.epochs

    def trained(
        self, kept: Tensor | None, pretrained: Learnt, precision: Precision | None = None,
        teacher: Tensor | None = None, steps: int = 0,
    ) -> Learnt:  # fmt: skip
        """Train on all edges from the first weights, or on kept ones as polarization does."""
        part = self.part if kept is None else alone(pruned_dataset(self.dataset, kept))
        setting = replace(self.setting, precision=precision)
        if teacher is not None:
            setting = distilled(setting, part, teacher, 1.0)
        if kept is None:
            return learn(part, setting)
        return retrain(part, setting, self.settings.retrain, pretrained, steps)

    def told(self, learnt: Learnt, kept: Tensor | None) -> dict[str, float]:
        """Accuracies in per cent, and what was pruned."""
        graph = self.dataset.graph
        every = torch.ones(graph.num_edges, dtype=torch.bool) if kept is None else kept
        accuracy = {name: 100 * value for name, value in learnt.accuracy.items()}
        return {
            "val": accuracy["val"], "test": accuracy["test"], "best_test": 100 * learnt.best_test,
            "epochs": learnt.epochs, "seconds": learnt.seconds,
            **asdict(figures(graph, self.division, every)),
        }  # fmt: skip


def accuracy(name: str, model: str, seed: int, comm: Comm, only: str | None) -> dict[str, Any]:
    """Ways to prune a tenth of the edges, and numbers of eight bits, for one seed."""
    usual = PolarizeSettings()
    at = Seed(name, model, seed, comm, usual)
    graph, division = at.dataset.graph, at.division
    pretrained, loss, distances = pretrain(at.part, at.setting, usual)
    labels = TuningLoss(at.part, pretrained.model, at.setting)
    tuning = usual.tuning
    polarized, _, masks, steps = at.tuned(loss, tuning)
    steps += len(distances) + 1
    thin = {eta: sparsified(graph, division, polarized, eta, most=most) for eta, most in MOST.items()}
    farthest = by_rule(graph, division, "farthest", tuning.ratio)
    eight, protected = Precision(), Precision(protect=0.2)
    ways: dict[str, Callable[[], tuple[Tensor | None, Precision | None]]] = {
        "plain": lambda: (None, None),
        "random": lambda: (by_rule(graph, division, "random", tuning.ratio, seed=seed), None),
        "SGCN-style": lambda: (
            at.tuned(labels, replace(tuning, balance=0.0, pseudo=False))[0], None
        ),
        "magnitude": lambda: (at.tuned(loss, replace(tuning, balance=0.0))[0], None),
        "farthest": lambda: (farthest, None),
        "polarized": lambda: (polarized, None),
        "polarized, eta 10": lambda: (thin[10], None),
        "polarized, eta 40": lambda: (thin[40], None),
        "plain, 8 bits": lambda: (None, eight),
        "plain, Degree-Quant": lambda: (None, protected),
        "polarized, 8 bits": lambda: (polarized, eight),
        "polarized, Degree-Quant": lambda: (polarized, protected),
    }  # fmt: skip
    ways |= {f"distilled {way}": ways[way] for way in ("plain", "random", "polarized", "polarized, eta 10")}
    teacher = loss.logits()
    rows: dict[str, Any] = {}
    for way, make in ways.items():
        if only is not None and way not in only.split(";"):
            continue
        kept, precision = make()
        told = teacher if way.startswith("distilled") else None
        rows[way] = at.told(at.trained(kept, pretrained, precision, told, steps), kept)
        if kept is not None:
            gone = ~kept
            rows[way]["overlap_with_farthest"] = float((gone & ~farthest).sum() / gone.sum().clamp(min=1))
    return {
        "graph": name, "model": model, "seed": seed, "ways": rows, "mask_distances": masks,
        "in_edges_deviation": in_edges_deviation(graph, division),
        "balance": work(graph, division, polarized)["balance"],
        "steps": steps, "pretrain_epochs": pretrained.epochs, "pretrain_distances": distances,
        "pretrain_seconds": pretrained.seconds,
    }  # fmt: skip


def styles(name: str, model: str, seed: int, comm: Comm) -> dict[str, Any]:
    """The paper's text and the released code, whole."""
    rows: dict[str, Any] = {}
    usual = PolarizeSettings(SplitSettings(subgraphs=RELEASED, seed=seed), reference=False)
    ways = {
        "as published": as_published(usual), "as released, eta 10": as_released(usual),
        "as released, eta 40": as_released(replace(usual, eta=40)),
    }  # fmt: skip
    at = Seed(name, model, seed, comm, usual)
    farthest = by_rule(at.dataset.graph, at.division, "farthest", usual.tuning.ratio)
    for way, settings in ways.items():
        found = polarize(at.dataset, at.setting, settings, alone, _unchanged(at.division))
        assert found.kept is not None
        assert found.after_tuning is not None
        rows[way] = at.told(found.retrained, found.kept)
        gone = ~found.after_tuning
        rows[way]["overlap_with_farthest"] = float((gone & ~farthest).sum() / gone.sum().clamp(min=1))
        rows[way]["mask_distances"] = found.tuned.distances
    return {"graph": name, "model": model, "seed": seed, "ways": rows}


def _unchanged(division: Split) -> Split:
    """The split of a dataset that lies in its order already."""
    order = torch.arange(division.layout.order.numel())
    return replace(division, layout=replace(division.layout, order=order))


def frontier(name: str, seed: int, comm: Comm) -> dict[str, Any]:
    """Accuracy where so much of what lies off the diagonal is gone, by way and layout."""
    rows = {}
    usual = PolarizeSettings()
    for layout in ("degrees", "metis"):
        at = Seed(name, "gcn", seed, comm, usual, plain=layout == "metis")
        pretrained, loss, distances = pretrain(at.part, at.setting, usual)
        graph = at.dataset.graph
        _, polarized, _, steps = at.tuned(loss, usual.tuning)
        steps += len(distances) + 1
        scores = {
            "polarized": polarized,
            "magnitude": at.tuned(loss, replace(usual.tuning, balance=0.0))[1],
        }
        for rule in ("random", "random-off-diagonal"):
            generator = torch.Generator().manual_seed(seed)
            scores[rule] = _symmetric(graph.edge_index(), graph.num_nodes, generator)
        pairs = graph.edge_index().long()
        outside = division_of(at.division, pairs)
        scores["random-off-diagonal"] += (~outside).to(scores["random-off-diagonal"])
        rows[f"{layout}, plain"] = at.told(at.trained(None, pretrained), None)
        for way, score in scores.items():
            for target in REDUCTIONS:
                kept = reduced(pairs, score, outside, target)
                rows[f"{layout}, {way}, {target:.0%}"] = at.told(
                    at.trained(kept, pretrained, steps=steps), kept
                )
    return {"graph": name, "model": "gcn", "seed": seed, "ways": rows}


def division_of(division: Split, pairs: Tensor) -> Tensor:
    """``[E]`` bool: edges between subgraphs."""
    at = division.subgraph_at
    return at[pairs[0]] != at[pairs[1]]


def _symmetric(pairs: Tensor, num_nodes: int, generator: torch.Generator) -> Tensor:
    """Chance for every edge, the same in both directions."""
    low, high = torch.minimum(pairs[0], pairs[1]).long(), torch.maximum(pairs[0], pairs[1]).long()
    _, which = torch.unique(low * num_nodes + high, return_inverse=True)
    return torch.rand(int(which.max()) + 1, generator=generator)[which]


def reduced(pairs: Tensor, score: Tensor, outside: Tensor, target: float) -> Tensor:
    """The edges that stay where those of least score go until so much between subgraphs is gone."""
    free = pairs[0] != pairs[1]
    order = torch.argsort(torch.where(free, score.double(), torch.inf), stable=True)
    gone = outside[order].cumsum(0)
    count = int(torch.searchsorted(gone, round(target * int(outside.sum()))))
    limit = score[order[count]]
    return ~(free & (score <= limit))


def table(paths: list[Path]) -> None:
    """Means over seeds, paired differences from plain training with two standard errors."""
    found: dict[tuple[str, str], dict[str, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
    for path in paths:
        for line in path.read_text().splitlines():
            record = json.loads(line)
            before = record.get("pretrain_epochs", 0) + STEP * record.get("steps", 0)
            for way, row in record["ways"].items():
                every = row.get("epochs", 0) + (before if row["kept"] < 1 else 0)
                found[record["graph"], record["model"]][way].append(
                    {**row, "seed": record["seed"], "every": every}
                )
    for (graph, model), ways in found.items():
        print(f"{graph}, {model}")
        for way, rows in ways.items():
            like = f"{way.split(',')[0]}, plain" if f"{way.split(',')[0]}, plain" in ways else "plain"
            if way.startswith("distilled") and "distilled plain" in ways:
                like = "distilled plain"
            base = {row["seed"]: row for row in ways.get(like, [])}
            both = [(row, base[row["seed"]]) for row in rows if row["seed"] in base]
            change = [row["test"] - other["test"] for row, other in both]
            error = 2 * stdev(change) / sqrt(len(change)) if len(change) > 1 else 0.0
            valid = fmean(row["val"] - other["val"] for row, other in both) if both else 0.0
            means = {key: fmean(row[key] for row in rows) for key in (
                "test", "kept", "off_diagonal_reduction", "mean_distance", "best_test", "every")}  # fmt: skip
            over = [row["overlap_with_farthest"] for row in rows if "overlap_with_farthest" in row]
            print(
                f"  {way:36} n {len(rows):2}  test {means['test']:6.2f}  change {fmean(change or [0]):+.2f} "
                f"± {error:.2f}  val {valid:+.2f}  pruned {100 - 100 * means['kept']:5.1f} %  off-diagonal "
                f"{100 * means['off_diagonal_reduction']:5.1f} %  |i-j| {means['mean_distance']:6.0f}  "
                f"farthest {100 * fmean(over or [0]):3.0f} %  epochs {means['every']:.0f}"
            )
        for way in ways:
            full = way.rpartition(", ")[0]
            if way.endswith((", 8 bits", ", Degree-Quant")) and full in ways:
                print(f"  {way}, paired with {full}: {_paired(ways[way], ways[full])}")
        if "random" in ways and "polarized" in ways:
            print(f"  polarized, paired with random: {_paired(ways['polarized'], ways['random'])}")


def _paired(rows: list[dict[str, float]], others: list[dict[str, float]]) -> str:
    """The mean change of test accuracy by seed, with two standard errors."""
    base = {row["seed"]: row["test"] for row in others}
    change = [row["test"] - base[row["seed"]] for row in rows if row["seed"] in base]
    if len(change) < 2:
        return f"{fmean(change or [0]):+.2f} (n {len(change)})"
    return f"{fmean(change):+.2f} ± {2 * stdev(change) / sqrt(len(change)):.2f} (n {len(change)})"


def main() -> None:
    """Measure, or print."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("what", choices=["accuracy", "styles", "frontier", "table"])
    cli.add_argument("names", nargs="+", help="a graph of the data folder, or files")
    cli.add_argument("--model", default="gcn")
    cli.add_argument("--seeds", default="0:10", help="from:to")
    cli.add_argument("--epochs", type=int, help="of a full training (default: 400)")
    cli.add_argument("--only", help="ways, divided by semicolons")
    cli.add_argument("--out", type=Path, help="lines are added here")
    options = cli.parse_args()
    if options.what == "table":
        table([Path(name) for name in options.names])
        return
    torch.set_num_threads(1)
    CHANGES.update({} if options.epochs is None else {"epochs": options.epochs})
    low, high = (int(end) for end in options.seeds.split(":"))
    with joined("cpu") as (comm, _):
        for name in options.names:
            for seed in range(low, high):
                if options.what == "accuracy":
                    record = accuracy(name, options.model, seed, comm, options.only)
                elif options.what == "styles":
                    record = styles(name, options.model, seed, comm)
                else:
                    record = frontier(name, seed, comm)
                line = json.dumps(record | {"machine": machine(), "versions": packages()})
                print(f"{name}, seed {seed}", flush=True)
                if options.out:
                    with options.out.open("a") as file:
                        file.write(line + "\n")


if __name__ == "__main__":
    main()
