"""A few seeds and epochs of every run file, beside what the same seeds had reached after as many."""

from collections.abc import Iterator
from statistics import fmean

import torch

from experiments.accuracy.results import SIDES, Experiment, claims_on
from experiments.accuracy.run import EXPERIMENTS, measure
from experiments.bench import Bench
from experiments.figures import Figure, at_least, at_most, left_out, near

SMALL = ("cora", "citeseer")


def check(at: Bench) -> Iterator[Figure]:
    torch.set_num_threads(1)
    yield from at.parts(claims, accuracies)


def claims(at: Bench) -> Iterator[Figure]:
    """What the record itself says of the claims."""
    runs = at.record("results.json")["runs"]
    for experiment in EXPERIMENTS:
        for claim in claims_on(experiment, runs[experiment.run]):
            bound = at_least if "at least" in claim.text else at_most
            yield bound(f"on record, {claim.text}", claim.figure, claim.bound)


def accuracies(at: Bench) -> Iterator[Figure]:
    for experiment in EXPERIMENTS:
        yield from early(at, experiment, seeds=2 if experiment.run in SMALL else 1)


def early(at: Bench, experiment: Experiment, seeds: int) -> Iterator[Figure]:
    """Mean test accuracy of an experiment's first seeds after its first epochs."""
    recorded = at.record("results.json")
    then = recorded["runs"][experiment.run]["sides"]
    why = at.missing("pyg")
    sides = [side for side in then if side != "pyg" or why is None]
    for side, runs in measure(experiment, sides, seeds, epochs=recorded["check"]["epochs"]).items():
        now, was = fmean(run.test_acc() for run in runs), fmean(then[side]["test_acc_early"][:seeds])
        within = at.within(side.partition("-")[0])
        yield near(f"{experiment.run}, {SIDES[side]}: mean test accuracy", now, was, within)
    if why is not None and "pyg" in then:
        yield left_out(f"{experiment.run}, {SIDES['pyg']}", why)
