"""Seconds a batch of every sampler, beside DGL's of the same name in the same run.

python -m experiments.sampling.speed npz:reddit60k.npz [--threads 1] [--batches 12] [--rounds 3]
    [--samplers NAMES] [--out FILE]
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from experiments.machine import report
from gcnsys.datasets import load
from gcnsys.graph import Graph
from gcnsys.partition import assign
from gcnsys.partition.assign import Request
from gcnsys.registry import require
from gcnsys.sampling import Moment, Standard, WholeGraph, samplers

FANOUTS = (15, 10, 5)
SEEDS, NODES, EDGES, ROOTS, STEPS, CLUSTERS = 1024, 6000, 4000, 3000, 2, 60

Batch = Callable[[int], Any]


def ours(graph: Graph, train: Tensor, groups: Tensor) -> dict[str, Batch]:
    """A batch of each of our samplers, by number."""
    whole = WholeGraph(graph)

    def made(name: str, **standard: Any) -> Batch:
        sampler = samplers.get(name)(whole, Standard(**{"layers": 3, "fanouts": FANOUTS, **standard}))
        covers = name not in ("saint-node", "saint-edge", "saint-walk")
        fixed = sampler.batches(train, SEEDS, Moment(0)) if covers else ()

        def batch(number: int) -> Any:
            moment = Moment(0, number)
            seeds = fixed[number % len(fixed)] if covers else sampler.roots(moment)  # type: ignore[attr-defined]
            return sampler.sample(seeds, moment)

        return batch

    return {
        "neighbour": made("neighbour"), "labor": made("labor"),
        "shadow": made("shadow", fanouts=(10, 5), layers=2),
        "cluster": made("cluster", groups=groups), "saint-node": made("saint-node", budget=NODES),
        "saint-edge": made("saint-edge", budget=EDGES),
        "saint-walk": made("saint-walk", budget=ROOTS, walk=STEPS),
        "walk": _walk(whole, train), "pinsage": made("pinsage", walk=3, walks=10, fanouts=(10,), layers=1),
        "ladies": made("ladies", budget=4096), "fastgcn": made("fastgcn", budget=4096),
    }  # fmt: skip


def _walk(whole: WholeGraph, train: Tensor) -> Batch:
    def batch(number: int) -> Tensor:
        generator, there = Moment(0, number).generator(), train[:SEEDS]
        for _ in range(10):
            there = whole.step(there, torch.rand(there.numel(), generator=generator, dtype=torch.float64))
        return there

    return batch


def dgls(graph: Graph, train: Tensor, groups: Tensor, folder: Path) -> dict[str, Batch]:
    """The same of DGL's, where it has one of the name."""
    dgl = require("dgl", extra="dgl", purpose="the comparison")
    sources, ends = graph.edge_index().long()
    theirs = dgl.graph((sources, ends), num_nodes=graph.num_nodes)
    theirs.create_formats_()
    loading, batches = dgl.dataloading, train[torch.randperm(train.numel())].split(SEEDS)
    layered = {
        "neighbour": loading.NeighborSampler(list(FANOUTS)), "labor": loading.LaborSampler(list(FANOUTS)),
        "shadow": loading.ShaDowKHopSampler([10, 5]),
    }  # fmt: skip
    drawn = {
        "saint-node": loading.SAINTSampler("node", NODES), "saint-edge": loading.SAINTSampler("edge", EDGES),
        "saint-walk": loading.SAINTSampler("walk", (ROOTS, STEPS)),
    }  # fmt: skip
    clusters = loading.ClusterGCNSampler(theirs, CLUSTERS, cache_path=str(folder / "clusters.pkl"))
    # Ours are as many clusters as have about SEEDS training nodes: the same number of theirs.
    together = max(1, round(SEEDS * groups[train].unique().numel() / train.numel()))
    kind = [theirs.canonical_etypes[0]]
    pinsage = dgl.sampling.RandomWalkNeighborSampler(theirs, 3, 0.5, 10, 10, metapath=kind)
    found = {
        name: lambda number, sampler=sampler: sampler.sample(theirs, batches[number % len(batches)])
        for name, sampler in layered.items()
    }
    found |= {
        name: lambda number, sampler=sampler: sampler.sample(theirs, torch.arange(1))
        for name, sampler in drawn.items()
    }
    chosen = torch.randperm(CLUSTERS).split(together)
    found["cluster"] = lambda number: clusters.sample(theirs, chosen[number % (CLUSTERS // together)])
    found["walk"] = lambda number: dgl.sampling.random_walk(theirs, train[:SEEDS], length=10)
    found["pinsage"] = lambda number: pinsage(batches[number % len(batches)])
    return found


def measured(mine: dict[str, Batch], theirs: dict[str, Batch], batches: int, rounds: int) -> dict[str, Any]:
    """Median milliseconds a batch; batches of the two in turn."""
    result = {}
    for name, batch in mine.items():
        taken: dict[str, list[float]] = {"ours": [], "dgl": []}
        pair = {"ours": batch, "dgl": theirs.get(name)}
        for number in range(-2, batches * rounds):
            for who, draw in pair.items():
                if draw is None:
                    continue
                began = time.perf_counter()
                draw(abs(number))
                if number >= 0:
                    taken[who].append(1e3 * (time.perf_counter() - began))
        row: dict[str, float] = {who: median(values) for who, values in taken.items() if values}
        if "dgl" in row:
            row["times_as_fast"] = row["dgl"] / row["ours"]
        result[name] = row
        print(f"{name:12}" + "  ".join(f"{what} {value:8.2f}" for what, value in row.items()), flush=True)
    return result


def main() -> None:
    """Measure and print."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("graph", help="SPEC of a dataset")
    cli.add_argument("--threads", type=int, default=1)
    cli.add_argument("--batches", type=int, default=12)
    cli.add_argument("--rounds", type=int, default=3)
    cli.add_argument("--samplers", help="these alone, divided by commas")
    cli.add_argument("--out", type=Path, help="write the result here, too, beside what is on record")
    options = cli.parse_args()
    torch.set_num_threads(options.threads)
    dataset = load(options.graph)
    train = torch.nonzero(dataset.train_mask).flatten()
    groups = assign(dataset.graph, "metis", Request(CLUSTERS))
    with tempfile.TemporaryDirectory(prefix="gcnsys-") as folder:
        theirs = dgls(dataset.graph, train, groups, Path(folder))
        mine = ours(dataset.graph, train, groups)
        names = options.samplers.split(",") if options.samplers else list(mine)
        found = measured({name: mine[name] for name in names}, theirs, options.batches, options.rounds)
    if options.out and options.out.exists():
        found = {**json.loads(options.out.read_text())["milliseconds"], **found}
    result = {"graph": dataset.name, "threads": options.threads, "milliseconds": found}
    report(result, options.out, "dgl", show=False)


if __name__ == "__main__":
    main()
