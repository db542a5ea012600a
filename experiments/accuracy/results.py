"""What was measured, what it says about the claims, and how it is written down."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from experiments.accuracy.history import History

Record = dict[str, Any]

SIDES = {"gcnsys-1": "gcnsys, P = 1", "gcnsys-3": "gcnsys, P = 3", "pyg": "PyG layers"}
"""Who trained, and what tables call them."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """A run file, repeated with several seeds.

    Attributes:
        run: name of the run file.
        seeds: 0 to this, not included; of weights and dropout, and of the split where none is stored.
        sides: who trains.
        published: accuracy, if there is one for this split.
        at_least: what gcnsys's mean has to reach; None: compare with PyG's layers.
    """

    run: str
    seeds: int
    sides: tuple[str, ...] = ("gcnsys-1", "pyg")
    published: float | None = None
    at_least: float | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim and what was measured; both as fractions."""

    text: str
    figure: float
    bound: float
    met: bool


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """The mean of several runs and its standard error; 0 for a single one."""
    return fmean(values), stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def recorded(experiment: Experiment, histories: Mapping[str, list[History]], check_epochs: int) -> Record:
    """Accuracies of all seeds, of whole runs and of their first epochs."""
    sides = {}
    for side, runs in histories.items():
        accuracies = [round(run.test_acc(), 6) for run in runs]
        mean, error = mean_and_error(accuracies)
        sides[side] = {
            "mean": round(mean, 6),
            "standard_error": round(error, 6),
            "test_acc": accuracies,
            "test_acc_early": [round(run.test_acc(check_epochs), 6) for run in runs],
        }
    epochs = 1 + next(iter(histories.values()))[0].evaluations[-1].epoch
    return {"seeds": experiment.seeds, "epochs": epochs, "published": experiment.published, "sides": sides}


def claims_on(experiment: Experiment, record: Record) -> list[Claim]:
    """What an experiment's record says about its claims."""
    sides, run = record["sides"], experiment.run
    if experiment.at_least is not None:
        mean = sides["gcnsys-1"]["mean"]
        text = f"{run}: mean test accuracy at least {experiment.at_least:.1%}"
        claims = [Claim(text, mean, experiment.at_least, mean >= experiment.at_least)]
        if "gcnsys-3" in sides:
            apart = abs(sides["gcnsys-3"]["mean"] - mean)
            claims.append(Claim(f"{run}: P = 3 within 0.1 points of P = 1", apart, 0.001, apart <= 0.001))
        return claims
    mean, error = difference(sides, "gcnsys-1", "pyg")
    bound = max(0.005, 2 * error)
    text = f"{run}: within 0.5 points or two standard errors of PyG's layers"
    return [Claim(text, abs(mean), bound, abs(mean) <= bound)]


def difference(sides: Record, one: str, other: str) -> tuple[float, float]:
    """The mean difference of two sides, seed by seed, and its standard error."""
    pairs = zip(sides[one]["test_acc"], sides[other]["test_acc"], strict=True)
    return mean_and_error([a - b for a, b in pairs])


def table(runs: Mapping[str, Record]) -> str:
    """All records as a Markdown table, in per cent and points."""
    lines = [
        "| run | who | seeds x epochs | test accuracy, % | published | P = 1 minus this, points |",
        "|---|---|---|---|---|---|",
    ]
    for run, record in runs.items():
        sides = record["sides"]
        for side, figures in sides.items():
            accuracy = f"{figures['mean'] * 100:.2f} ± {figures['standard_error'] * 100:.2f}"
            published = f"{record['published'] * 100:.1f}" if record["published"] else "-"
            apart = "-"
            if side != "gcnsys-1":
                mean, error = difference(sides, "gcnsys-1", side)
                apart = f"{mean * 100:+.2f} ± {error * 100:.2f}"
            size = f"{record['seeds']} x {record['epochs']}"
            lines.append(f"| {run} | {SIDES[side]} | {size} | {accuracy} | {published} | {apart} |")
    return "\n".join(lines)


def claim_table(claims: list[Record]) -> str:
    """Claims as a Markdown table."""
    lines = ["| claim | measured, % or points | bound | met |", "|---|---|---|---|"]
    for claim in claims:
        figures = f"{claim['figure'] * 100:.2f} | {claim['bound'] * 100:.2f}"
        lines.append(f"| {claim['text']} | {figures} | {'yes' if claim['met'] else 'NO'} |")
    return "\n".join(lines)


def page(results: Record) -> str:
    """The recorded result as a Markdown page."""
    machine = results["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    return f"""# Accuracy: the recorded result

Written by the run that measured it; `results.json` holds every seed.
Mean and standard error of test accuracy, each run's model chosen on validation; differences are
means over seeds of the difference on the same seed and split.

{table(results["runs"])}

{claim_table(results["claims"])}

Command: `{results["command"]}`, {results["seconds"] / 60:.0f} minutes
({results["processor_seconds"] / 60:.0f} of processor time).
Machine: {machine["processor"]}, {machine["cores"]} cores, {machine["memory_gib"]} GiB;
threads a rank: {machine["threads"]}.
Versions: {versions}.
"""
