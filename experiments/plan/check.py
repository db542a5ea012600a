"""Papers100M on paper as recorded; bytes planned and sent as recorded, memory as near as is claimed."""

from collections.abc import Iterator

from experiments.bench import Bench
from experiments.figures import Figure, at_most, close, same
from experiments.plan.papers import PARTS, SETTINGS, compared, paced, row
from experiments.plan.run import MODELS, cut, exact, gcnsys, off, planned, taken
from gcnsys.plan import Network, methods, plan, subject, units
from gcnsys.train import RunConfig

GRAPH, MODEL, NUM_PARTS, EPOCHS = "facebook_pages", "gcn", 2, 4


def check(at: Bench) -> Iterator[Figure]:
    yield from at.parts(papers, runs_on_record, a_run)


def papers(at: Bench) -> Iterator[Figure]:
    """All predictions for papers100M."""
    then = at.record("papers.json")
    network = Network(units.bandwidth(then["bandwidth"]), units.seconds(then["latency"]))
    found = subject(RunConfig.checked(SETTINGS), PARTS)
    pace = paced(found)
    yield same("papers100M: the rate of computing", pace.source, then["compute"])
    for name, (ours, _) in compared(found, pace, network).items():
        yield close(f"papers100M: {name}", ours, then["published"][name][0], at.within("papers"))
    from experiments.plan.papers import BASE

    made = plan(found, pace, network, methods((0.1, 0.01)), base=BASE)
    now = [row(each) for each in made.predictions]
    yield same(
        "papers100M: parts and methods", [(each["parts"], each["method"]) for each in now],
        [(each["parts"], each["method"]) for each in then["predictions"]],
    )  # fmt: skip
    worst = max(
        abs(mine[key] - was[key]) / max(abs(was[key]), 1e-12)
        for mine, was in zip(now, then["predictions"], strict=True)
        for key in mine.keys() - {"parts", "method"}
    )
    yield at_most("papers100M: greatest deviation of a prediction, as a share", worst, at.within("papers"))


def runs_on_record(at: Bench) -> Iterator[Figure]:
    """What the record itself says of the claim."""
    for name, record in at.records("results/*.json"):
        inexact = [run["method"] for run in record["runs"] if not exact(run)]
        yield same(f"{name}: runs on record whose bytes were not as planned", inexact, [])


def a_run(at: Bench) -> Iterator[Figure]:
    """One model on one cut: every method planned for, two of them trained."""
    record = at.record(f"results/{GRAPH}-{MODEL}.json")
    then = {run["method"]: run for run in record["runs"] if run["parts"] == NUM_PARTS}
    network = next(iter(then.values()))["network"]
    plans = planned(GRAPH, MODEL, NUM_PARTS, network, at.work)
    for method, run in then.items():
        now = taken(plans[method])
        for kind in ("halo", "reduce"):
            what = f"{GRAPH}, {MODEL}, {NUM_PARTS} parts, {method}: {kind} bytes planned"
            yield same(what, now[kind], run["measured"][kind])
    for method in list(then)[:2]:
        settings = plans[method]["settings"].items()
        given = [piece for key, value in settings for piece in (f"--{key}", value)]
        summary = gcnsys(
            "train", cut(GRAPH, NUM_PARTS, at.work), *MODELS[MODEL], "--threads", 1, *given,
            "--epochs", EPOCHS, "--out", at.work / f"run-{method.replace(' ', '-')}",
        )  # fmt: skip
        both = {"planned": taken(plans[method]), "measured": taken(summary)}
        what = f"{GRAPH}, {MODEL}, {NUM_PARTS} parts, {method}"
        for kind in ("halo", "reduce"):
            yield same(f"{what}: {kind} bytes sent", both["measured"][kind], both["planned"][kind])
        share = abs(off(both, "memory"))
        yield at_most(f"{what}: planned memory over measured, off by", share, at.within("memory"))
