"""What samplers gain from locality, beside a control that knows nothing of it.

Every sampler that can prefer nodes trains GraphSAGE four ways: plain; preferring nodes by GNNSampler's
published score; by a score that does not change when all ids do; and by a coin, for the same share of nodes.
All four take as many epochs and draw as much, in turn, again and again. What the scores gain over the coin is
locality; what the coin gains over plain is fewer rows.

python -m experiments.locality.run npz:PATH [--samplers NAMES] [--repeats 5] [--epochs 10] [--out FILE]
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch

from experiments.cache import Cache, lines_of
from experiments.counters import counted
from experiments.machine import report
from gcnsys.partition import Partitioning
from gcnsys.runtime import Comm, Placement, joined
from gcnsys.runtime.neighbourhood import neighbourhood
from gcnsys.sampling import Locality
from gcnsys.sampling.locality import compact_score, sorted_rows
from gcnsys.train import RunConfig, make_trainer
from gcnsys.train.minibatch import MinibatchTrainer
from gcnsys.train.source import find_partitioning

SAMPLERS = ("neighbour", "ladies", "fastgcn", "shadow", "saint-node", "saint-edge", "saint-walk")
MODES = ("plain", "published", "compact", "random")
FIGURES = ("processor_seconds", "epoch_seconds", "draw_seconds", "gather_seconds", "compute_seconds", "rows",
           "edges", "megabytes", "misses_a_row", "misses_an_edge",
           "hardware_misses_an_epoch", "accuracy")  # fmt: skip


def shares(partitioning: Partitioning, comm: Comm) -> dict[str, dict[str, Any]]:
    """Settings of each mode, so that all prefer the same share of the nodes."""
    graph = neighbourhood(partitioning.part(0).training, comm)
    csr = graph.adjacency()
    published = Locality().local(csr, torch.arange(csr.num_rows))
    share, enough = float(published.double().mean()), csr.indptr.diff() >= Locality().min_degree
    scores = torch.where(enough, compact_score(sorted_rows(csr)), 0.0)
    threshold = float(scores.sort(descending=True).values[max(0, int(published.sum()) - 1)]) * (1 - 1e-12)
    return {
        "plain": {}, "published": {"locality": "published"},
        "compact": {"locality": "compact", "locality_threshold": threshold},
        "random": {"locality": "random", "locality_threshold": share},
    }  # fmt: skip


def trained(part: Partitioning, config: RunConfig, comm: Comm, placement: Placement) -> dict[str, float]:
    """One run; times and rows are those of an epoch after the first.

    Processor time tells small differences on a machine that is shared; one thread does all.
    """
    trainer = make_trainer(part, config, comm, placement)
    assert isinstance(trainer, MinibatchTrainer)
    epochs, spent, best, clock = [], [], (0.0, 0.0), time.process_time()
    seen: list[int | None] = []
    steps = trainer.epochs(config.epochs)
    for _ in range(config.epochs):
        with counted() as count:
            epoch = next(steps)
        seen.append(count.number)
        spent.append(time.process_time() - clock)
        epochs.append(epoch)
        scores = trainer.evaluate().scores
        best = max(best, (scores["val"].accuracy, scores["test"].accuracy))
        clock = time.process_time()
    next(steps, None)
    timed = epochs[1:] or epochs
    found = {
        name: fmean(each.sampled[name] / each.sampled["batches"] for each in timed)
        for name in ("rows", "edges")
    }
    for name in ("draw_seconds", "gather_seconds"):
        found[name] = fmean(each.sampled[name] for each in timed)
    x = trainer.batches.store.x
    row_bytes = x.shape[1] * 4 if isinstance(x, torch.Tensor) else round(8 * x.num_edges / x.num_rows)
    hardware = [number for number in seen[1:] or seen if number is not None]
    if hardware:  # of all that an epoch does
        found["hardware_misses_an_epoch"] = fmean(hardware)
    return found | {
        "batches": fmean(each.sampled["batches"] for each in timed),
        "processor_seconds": fmean(spent[1:] or spent),
        "epoch_seconds": fmean(each.seconds for each in timed),
        "compute_seconds": fmean(each.compute_seconds for each in timed),
        "megabytes": found["rows"] * row_bytes / 1e6, "accuracy": best[1], **missed(trainer, row_bytes),
    }  # fmt: skip


def missed(trainer: MinibatchTrainer, row_bytes: int, batches: int = 3) -> dict[str, float]:
    """Simulated misses of a cache of 32 MiB: of the gathered rows, and of the first layer's edges."""
    cache, rows, edges, row_misses, edge_misses = Cache(), 0, 0, 0, 0
    beyond = trainer.batches.store.graph.num_nodes * -(-row_bytes // 64)
    for place, batch in enumerate(trainer.batches.epoch(10**6)):
        if place == batches:
            break
        block = batch.blocks[0]
        ids, sources = block.input_ids.numpy(), block.edges().sources.numpy().astype(np.int64)
        row_misses += cache.misses(lines_of(ids, row_bytes))
        edge_misses += cache.misses(lines_of(sources, row_bytes, beyond))
        rows, edges = rows + len(ids), edges + len(sources)
    return {"misses_a_row": row_misses / max(1, rows), "misses_an_edge": edge_misses / max(1, edges)}


def compared(runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Means and standard errors by mode; of the differences, too, run by run."""
    found: dict[str, Any] = {}
    for mode, each in runs.items():
        figures = [name for name in FIGURES if all(name in run for run in each)]
        found[mode] = {name: spread([run[name] for run in each]) for name in figures}
        for other in ("plain", "random"):
            pairs = list(zip(each, runs[other], strict=True))
            found[mode][f"seconds_less_than_{other}"] = spread(
                [1 - mine["processor_seconds"] / theirs["processor_seconds"] for mine, theirs in pairs]
            )
        less = found[mode]["seconds_less_than_random"]
        points = 100 * (found[mode]["accuracy"][0] - found["plain"]["accuracy"][0])
        found[mode] |= {"points": points, "locality_gains": mode in MODES[1:3] and points >= -0.5 and
                        less[0] > 2 * less[1]}  # fmt: skip
    return found


def spread(values: list[float]) -> tuple[float, float]:
    """Mean and its standard error."""
    return fmean(values), stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def told(sampler: str, found: dict[str, Any]) -> None:
    for mode, each in found.items():
        less, control = each["seconds_less_than_plain"], each["seconds_less_than_random"]
        line = [
            f"{sampler:11}{mode:10}{1e3 * each['processor_seconds'][0]:9.1f} ms an epoch",
            f"{less[0]:+7.1%} ± {less[1]:.1%} less than plain",
            f"{control[0]:+7.1%} ± {control[1]:.1%} less than the coin", f"rows {each['rows'][0]:.0f}",
            f"misses a row {each['misses_a_row'][0]:.2f}",
            f"accuracy {each['accuracy'][0]:.4f} ({each['points']:+.2f})",
        ]  # fmt: skip
        print(", ".join(line) + ("  LOCALITY" if each["locality_gains"] else ""), flush=True)


def main() -> None:
    """Measure and print."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("data", help="SPEC of a dataset")
    cli.add_argument("--samplers", default=",".join(SAMPLERS))
    cli.add_argument("--repeats", type=int, default=5)
    cli.add_argument("--epochs", type=int, default=10)
    cli.add_argument("--batch", type=int, default=1024)
    cli.add_argument("--budget", type=int, default=4000)
    cli.add_argument("--out", type=Path, help="write the result here, too, beside samplers recorded alike")
    options = cli.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="gcnsys-") as home, joined("cpu") as (comm, placement):
        os.environ["GCNSYS_PARTITIONS"] = home
        common = {
            "data": options.data, "model": "sage", "hidden": 128, "batch": options.batch, "prefetch": 0,
            "epochs": options.epochs, "order": "cluster", "first_hop": "off", "prune": "off",
        }  # fmt: skip
        partitioning = find_partitioning(RunConfig.checked({**common, "sampler": "neighbour"}))
        common["data"] = str(partitioning.folder)
        modes = shares(partitioning, comm)
        for sampler in options.samplers.split(","):
            runs: dict[str, list[dict[str, float]]] = {mode: [] for mode in modes}
            budgeted = sampler.startswith(("saint", "ladies", "fastgcn"))
            sizes = {"budget": options.budget} if budgeted else {}
            for seed in range(-1, options.repeats):  # the first round warms up
                for mode, settings in modes.items():
                    values = {**common, **sizes, **settings, "sampler": sampler, "seed": max(0, seed)}
                    run = trained(partitioning, RunConfig.checked(values), comm, placement)
                    if seed >= 0:
                        runs[mode].append(run)
            result[sampler] = compared(runs)
            told(sampler, result[sampler])
    names = ("epochs", "repeats", "batch", "budget")
    found = {
        "data": Path(options.data).name, "share": modes["random"]["locality_threshold"],
        **{name: getattr(options, name) for name in names}, "samplers": result,
    }  # fmt: skip
    if options.out and options.out.exists():
        before = json.loads(options.out.read_text())
        if all(before[name] == found[name] for name in ("data", *names)):
            found["samplers"] = {**before["samplers"], **result}
    report(found, options.out, show=False)


if __name__ == "__main__":
    main()
