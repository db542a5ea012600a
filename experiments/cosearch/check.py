"""Nothing on record is faster than can be; one search covers as much as it did, more than random designs."""

from collections.abc import Iterator

import torch

from experiments.bench import AbsentError, Bench
from experiments.cosearch.run import STEPS
from experiments.figures import Figure, at_least, at_most, close, same
from gcnsys.datasets import load
from gcnsys.search.budget import Budget
from gcnsys.search.problem import Problem
from gcnsys.search.study import CoSearch, hypervolume


def check(at: Bench) -> Iterator[Figure]:
    torch.set_num_threads(1)
    yield from at.parts(claims, a_search)


def claims(at: Bench) -> Iterator[Figure]:
    """What the record itself says of the claim."""
    recorded = at.record("results.json")
    if not {"design", "hypervolume"} <= recorded.keys():
        raise AbsentError("no record of a design and of hypervolumes")
    found, covered = recorded["design"], recorded["hypervolume"]
    most = max(value for name, value in recorded["limit"].items() if name.startswith("at_most"))
    gain = found["over_gcod_same_model"]
    yield at_most("on record: times as fast as GCoD's template", gain, most, why="the limit is")
    yield same("on record: no worse than the baseline", found["retrained"]["no_worse_than_baseline"], True)
    yield at_least(
        "on record: mean hypervolume of evolution", covered["evolution"]["mean"], covered["random"]["mean"],
        why="random's is",
    )  # fmt: skip


def a_search(at: Bench) -> Iterator[Figure]:
    """Evolution by the first seed."""
    recorded = at.record("results.json")["hypervolume"]
    problem = Problem(load(at.spec("cora")), Budget(), seed=0)
    problem.supernet.fit(STEPS)
    search = CoSearch(problem.judge, method="evolution", seed=0)
    search.run(recorded["trials"])
    now, then = hypervolume(search.found()), recorded["evolution"]["seeds"][0]
    yield close("hypervolume by evolution, seed 0", now, then, at.within("hypervolume"))
    yield at_least("the same", now, recorded["random"]["mean"], why="random designs on record cover")
