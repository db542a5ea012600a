"""An epoch over its dense products about as recorded, its memory within what is claimed."""

from collections.abc import Iterator

from experiments.bench import Bench
from experiments.epoch.run import measured
from experiments.figures import Figure, at_most, same

ROUNDS = 3


def check(at: Bench) -> Iterator[Figure]:
    recorded = at.record("results.json")
    then = recorded["transductive"]
    now = measured(at.spec("reddit60k"), ROUNDS, at.work / "parts", inductive=False)
    yield same("rows of the first rank", now["rows_of_rank_0"], then["rows_of_rank_0"])
    for rank, peak in enumerate(now["peak_gib"]):
        yield at_most(f"rank {rank}: peak, GiB", peak, at.within("memory"))
    at.same_processor(recorded)
    bound = (1 + at.within("ratio")) * then["epoch_over_dense_products"]
    why = "the recorded ratio and a share more,"
    yield at_most("an epoch over its dense products", now["epoch_over_dense_products"], bound, why=why)
