"""Nothing on record loses more than it may; one seed of one graph ends where it ended, byte for byte sent."""

from collections.abc import Iterator

from experiments import runfile
from experiments.bench import Bench
from experiments.figures import Figure, at_most, near, same
from experiments.methods.run import GRAPHS, METHODS, planned, trained
from gcnsys.datasets import load

GRAPH, NUM_PARTS = "cora", 2


def check(at: Bench) -> Iterator[Figure]:
    yield from at.parts(claims, a_seed)


def claims(at: Bench) -> Iterator[Figure]:
    """Points lost beside what may be lost, or two standard errors."""
    for graph, record in at.records("results/*.json"):
        for count, methods in record["parts"].items():
            for method, each in methods.items():
                if METHODS[method][1] is None:
                    continue
                allowed = max(100 * METHODS[method][1], 2 * each["standard_error_of_difference"])
                what = f"on record, {graph}, P = {count}, {method}: points lost"
                yield at_most(what, each["points_lost"], allowed + 1e-9)


def a_seed(at: Bench) -> Iterator[Figure]:
    """Every method from the same weights, as the runner does it."""
    then = at.record(f"results/{GRAPH}.json")["parts"][str(NUM_PARTS)]
    config = runfile.read(GRAPHS[GRAPH], at.data("."), seed=0, split_seed=0, threads=1, parts=NUM_PARTS)
    dataset = load(config.data, split=config.data_split(), normalization=config.normalize)
    settings = {method: values for method, (values, _) in METHODS.items()}
    plan = planned(GRAPH, dataset, config, settings, at.work / "cut")
    for method, (run,) in trained(plan, NUM_PARTS, at.work / "runs").items():
        was, what = then[method], f"{GRAPH}, P = {NUM_PARTS}, seed 0, {method}"
        yield same(f"{what}: halo bytes of an epoch", run["halo_bytes"], was["halo_bytes"])
        yield near(f"{what}: test accuracy", run["test_acc"], was["test_acc"][0], at.within("accuracy"))
        apart = max(
            zip(run["validation"], was["validation"], strict=True), key=lambda pair: abs(pair[0] - pair[1])
        )
        yield near(f"{what}: validation accuracy, where most apart", *apart, at.within("validation"))
