"""Rows of a batch by sampler and by what it prefers, about as recorded: they decide what a batch costs."""

import os
from collections.abc import Iterator
from typing import Any

import torch

from experiments.bench import Bench
from experiments.figures import Figure, at_least, at_most, close, near
from experiments.locality.run import MODES, shares, trained
from gcnsys.partition import Partitioning
from gcnsys.runtime import Comm, Placement, joined
from gcnsys.train import RunConfig
from gcnsys.train.source import find_partitioning

GRAPH, SAMPLERS, EPOCHS = "facebook_pages", {"neighbour": {}, "saint-node": {"budget": 4000}}, 2


def check(at: Bench) -> Iterator[Figure]:
    torch.set_num_threads(1)
    os.environ["GCNSYS_PARTITIONS"] = str(at.work)
    with joined("cpu") as (comm, placement):
        common = {
            "data": at.spec(GRAPH), "model": "sage", "hidden": 128, "batch": 1024, "prefetch": 0,
            "epochs": EPOCHS, "order": "cluster", "first_hop": "off", "prune": "off", "seed": 0,
        }  # fmt: skip
        partitioning = find_partitioning(RunConfig.checked({**common, "sampler": "neighbour"}))
        common["data"] = str(partitioning.folder)

        def preferring(at: Bench) -> Iterator[Figure]:
            yield from _by_mode(at, partitioning, common, comm, placement)

        def runs_of_seeds(at: Bench) -> Iterator[Figure]:
            yield from _in_runs(at, partitioning, common, comm, placement)

        yield from at.parts(preferring, runs_of_seeds, pays_on_record)


def pays_on_record(at: Bench) -> Iterator[Figure]:
    """What the record itself says of what pays."""
    for name, least_rows, points in (("labor", 0.5, 0.003), ("runs", 0.8, 0.005)):
        record = at.record(f"results/{name}.json")
        plain, other = (record["figures"][way]["accuracy"][0] for way in ("plain", name))
        yield at_most(
            f"{name}, on record: rows of a batch over plain ones'", record["ratios"]["rows"], least_rows
        )
        yield at_least(f"{name}, on record: accuracy over plain's", other - plain, -points)
        if name == "labor":
            yield at_most(f"{name}, on record: time over plain's", record["ratios"]["batch_ms"], 0.85)


def _by_mode(
    at: Bench, part: Partitioning, common: dict[str, Any], comm: Comm, placement: Placement
) -> Iterator[Figure]:
    """Plain, by both scores, by a coin."""
    recorded = at.record(f"results/{GRAPH}.json")
    modes = shares(part, comm)
    share = modes["random"]["locality_threshold"]
    yield near(f"{GRAPH}: share of nodes that are preferred", share, recorded["share"], at.within("share"))
    for sampler, sizes in SAMPLERS.items():
        for mode in MODES:
            values = {**common, **sizes, **modes[mode], "batch": recorded["batch"], "sampler": sampler}
            run = trained(part, RunConfig.checked(values), comm, placement)
            then = recorded["samplers"][sampler][mode]["rows"][0]
            yield close(f"{GRAPH}, {sampler}, {mode}: rows of a batch", run["rows"], then, at.within("rows"))


def _in_runs(
    at: Bench, part: Partitioning, common: dict[str, Any], comm: Comm, placement: Placement
) -> Iterator[Figure]:
    """Seeds of neighbouring ids in one batch."""
    recorded = at.record("results/runs.json")
    rows = []
    for settings in ({}, {"runs": recorded["length"]}):
        values = {**common, "batch": recorded["batch"], "sampler": "neighbour", "lr": 0.005, **settings}
        rows.append(trained(part, RunConfig.checked(values), comm, placement)["rows"])
    what = f"{GRAPH}: rows of a batch of seeds in runs of {recorded['length']} over plain ones'"
    yield close(what, rows[1] / rows[0], recorded["ratios"]["rows"], at.within("rows"))
