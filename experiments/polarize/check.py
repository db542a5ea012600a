"""One seed pruned and trained as recorded; blocks as dense as recorded, and the default product no slower."""

from collections.abc import Iterator
from math import sqrt
from statistics import fmean, stdev
from typing import Any

import torch

from experiments.bench import AbsentError, Bench
from experiments.figures import Figure, at_least, at_most, close, left_out, near, same
from experiments.polarize.levels import measured
from experiments.polarize.run import accuracy
from gcnsys.runtime.process import joined

GRAPH, SEED, WAYS = "cora", 0, ("plain", "random", "polarized")
BLOCKS = ("cora", "amazon_photo")

LOSS, LOWEST = 0.5, 1.2
"""Points of test accuracy that the default may lose on average, and at the lower end of the interval."""

EIGHT = 0.5
"""Points that numbers of eight bits may lose, or two standard errors."""

UNEVEN, BALANCE = 0.05, 1.1
"""By how much in-edges of a class's subgraphs may differ, and the longest time of elements over the mean."""


def check(at: Bench) -> Iterator[Figure]:
    torch.set_num_threads(1)
    yield from at.parts(a_seed, blocks, claims_on_record)


def claims_on_record(at: Bench) -> Iterator[Figure]:
    """What the record itself says of the default, beside plain training and beside chance."""
    ways: dict[str, dict[int, dict[str, Any]]] = {}
    for line in at.lines("gcn.jsonl"):
        ways.setdefault(line["graph"], {}).setdefault(line["seed"], {}).update(line["ways"])
    for graph, seeds in ways.items():
        changes = [each["polarized"]["test"] - each["plain"]["test"] for each in seeds.values()]
        gains = [each["polarized"]["test"] - each["random"]["test"] for each in seeds.values()]
        error = 2 * stdev(changes) / sqrt(len(changes))
        yield at_least(f"{graph}, on record: change of accuracy, points", fmean(changes), -LOSS)
        yield at_least(f"{graph}, on record: lower end of its interval", fmean(changes) - error, -LOWEST)
        yield at_least(f"{graph}, on record: points over random pruning", fmean(gains), 0.0)
        for eta, most, least in ((10, 0.12, 0.18), (40, 0.16, 0.24)):
            each = [
                seed[f"polarized, eta {eta}"] for seed in seeds.values() if f"polarized, eta {eta}" in seed
            ]
            reduction = min(way["off_diagonal_reduction"] for way in each)
            pruned = max(1 - way["kept"] for way in each)
            yield at_least(f"{graph}, eta {eta}, on record: least off-diagonal reduction", reduction, least)
            yield at_most(f"{graph}, eta {eta}, on record: greatest share pruned", pruned, most + 1e-4)
        nearer = [
            seed["polarized"]["mean_distance"] / seed["magnitude"]["mean_distance"]
            for seed in seeds.values()
            if "magnitude" in seed
        ]
        yield at_most(f"{graph}, on record: mean distance over magnitude pruning's", fmean(nearer), 0.9)
        same_as_sort = max(seed["polarized"]["overlap_with_farthest"] for seed in seeds.values())
        yield at_most(f"{graph}, on record: greatest overlap with the farthest", same_as_sort, 0.6)
        eight = [
            each["polarized, 8 bits"]["test"] - each["polarized"]["test"]
            for each in seeds.values()
            if "polarized, 8 bits" in each
        ]
        error = 2 * stdev(eight) / sqrt(len(eight))
        yield at_least(f"{graph}, on record: 8 bits, points over polarized", fmean(eight), -max(EIGHT, error))
    scale = at.record("scale.json")
    for what, ratio in scale["ratios"].items():
        yield at_most(f"6 million edges, on record: {what}", ratio, 3.0)
    for who in ("one", "two"):
        yield same(
            f"entries that {who} rank(s) alone prune, on record", scale["ranks"][f"pruned_by_{who}_alone"], 0
        )


def a_seed(at: Bench) -> Iterator[Figure]:
    """Edges that stay, where they lie, and what a model makes of them."""
    recorded = {
        way: row
        for line in at.lines("gcn.jsonl")
        if (line["graph"], line["model"], line["seed"]) == (GRAPH, "gcn", SEED)
        for way, row in line["ways"].items()
    }
    ways = [way for way in WAYS if way in recorded]
    if not ways:
        raise AbsentError(f"no record of {GRAPH}, seed {SEED}, in gcn.jsonl")
    with joined("cpu") as (comm, _):
        whole = accuracy(GRAPH, "gcn", SEED, comm, ";".join(ways))
    yield at_most(
        f"{GRAPH}, seed {SEED}: in-edges of subgraphs from their mean", whole["in_edges_deviation"], UNEVEN
    )
    yield at_most(f"{GRAPH}, seed {SEED}: balance of work over classes", whole["balance"], BALANCE)
    found = whole["ways"]
    for way in ways:
        now, then, what = found[way], recorded[way], f"{GRAPH}, seed {SEED}, {way}"
        yield close(f"{what}: edges that stay", now["edges"], then["edges"], at.within("edges"))
        for key in ("inside", "off_diagonal_reduction"):
            yield near(f"{what}: {key.replace('_', ' ')}", now[key], then[key], at.within("shape"))
        yield near(f"{what}: test accuracy, %", now["test"], then["test"], at.within("test"))


def blocks(at: Bench) -> Iterator[Figure]:
    """What dense products would multiply, and what the default takes."""
    recorded = at.record("levels.json")
    for name in BLOCKS:
        if name not in recorded["graphs"]:
            yield left_out(f"{name}: blocks", f"no record of {name}")
            continue
        now, then = measured(name, recorded["features"]), recorded["graphs"][name]
        for key in ("edges", "blocks"):
            yield same(f"{name}: {key}", now[key], then[key])
        yield close(f"{name}: densest block", now["densest_block"], then["densest_block"], 1e-9)
        way = "all blocks dense"
        products = (each["dense_products_per_nonzero"][way] for each in (now, then))
        yield close(f"{name}: dense products for a nonzero", *products, 1e-9)
        yield at_most(
            f"{name}: the default's time over the plain product's", now["default_over_plain"],
            at.within("default"),
        )  # fmt: skip
