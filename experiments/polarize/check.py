"""One seed pruned and trained as recorded; blocks as dense as recorded, and the default product no slower."""

from collections.abc import Iterator

import torch

from experiments.bench import AbsentError, Bench
from experiments.figures import Figure, at_most, close, left_out, near, same
from experiments.polarize.levels import measured
from experiments.polarize.run import accuracy
from gcnsys.runtime.process import joined

GRAPH, SEED, WAYS = "cora", 0, ("plain", "random", "polarized")
BLOCKS = ("cora", "amazon_photo")


def check(at: Bench) -> Iterator[Figure]:
    torch.set_num_threads(1)
    yield from at.parts(a_seed, blocks)


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
        found = accuracy(GRAPH, "gcn", SEED, comm, ";".join(ways))["ways"]
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
