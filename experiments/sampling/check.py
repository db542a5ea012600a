"""Every sampler beside DGL's of the same name, in turn."""

from collections.abc import Iterator
from functools import partial

import torch

from experiments.bench import Bench
from experiments.figures import Figure, best_of, same
from experiments.sampling.speed import CLUSTERS, Batch, dgls, measured, ours
from gcnsys.datasets import load
from gcnsys.partition import assign
from gcnsys.partition.assign import Request

GRAPH, BATCHES, ROUNDS = "facebook_pages", 6, 3


def check(at: Bench) -> Iterator[Figure]:
    torch.set_num_threads(1)
    then = at.record(f"results/{GRAPH}_1.json")["milliseconds"]
    dataset = load(at.spec(GRAPH))
    train = torch.nonzero(dataset.train_mask).flatten()
    groups = assign(dataset.graph, "metis", Request(CLUSTERS))
    theirs = dgls(dataset.graph, train, groups, at.work)
    mine = {name: batch for name, batch in ours(dataset.graph, train, groups).items() if name in theirs}
    compared = [name for name, row in then.items() if "times_as_fast" in row]
    yield same(f"{GRAPH}: samplers beside DGL's", sorted(mine), sorted(compared))
    bounds = {
        f"{GRAPH}, {name}: DGL's time over ours": at.within("neighbour" if name == "neighbour" else "bar")
        for name in mine
    }
    yield from best_of(partial(leads, mine, theirs), bounds)


def leads(mine: dict[str, Batch], theirs: dict[str, Batch]) -> dict[str, float]:
    """DGL's time over ours, by sampler."""
    rows = measured(mine, theirs, BATCHES, ROUNDS)
    return {f"{GRAPH}, {name}: DGL's time over ours": row["times_as_fast"] for name, row in rows.items()}
