"""A few trials of every harness: none comes to what must not be, and none to what is not on record."""

from collections.abc import Iterator

from experiments.bench import Bench
from experiments.faults.run import HARNESSES, counted, wrong
from experiments.figures import Figure, at_most, same

TRIALS = {"writing": 20, "damage": 80, "kill": 1, "silence": 2}
SEED = 1
"""Another than the record's: other moments, other files."""


def check(at: Bench) -> Iterator[Figure]:
    yield from at.parts(writing, damage, kill, silence)


def writing(at: Bench) -> Iterator[Figure]:
    yield from _tried(at, "writing")


def damage(at: Bench) -> Iterator[Figure]:
    yield from _tried(at, "damage")


def kill(at: Bench) -> Iterator[Figure]:
    yield from _tried(at, "kill")


def silence(at: Bench) -> Iterator[Figure]:
    """Named, kept and soon: how soon, beside other work, is less strict than on record."""
    at.need("root")
    yield _on_record(at, "silence")
    for record in HARNESSES["silence"][0].trials(TRIALS["silence"], at.work / "silence", SEED):
        what = f"silence: {record['fault']}, {record['method']}, rank {record['rank']} of {record['parts']}"
        yield same(f"{what}: named", record["named"], True)
        yield same(f"{what}: its last checkpoint loads", record["checkpoint_loads"], True)
        yield at_most(f"{what}: seconds until all had ended", record["seconds"], at.within("seconds"))


def _on_record(at: Bench, harness: str) -> Figure:
    recorded = at.record(f"{harness}.json")
    what = f"{harness}: wrong of {recorded['trials']} trials on record"
    return at_most(what, len(recorded["wrong"]), at.within("wrong"))


def _tried(at: Bench, harness: str) -> Iterator[Figure]:
    yield _on_record(at, harness)
    recorded, count = at.record(f"{harness}.json"), TRIALS[harness]
    records = list(HARNESSES[harness][0].trials(count, at.work / harness, SEED))
    yield at_most(f"{harness}: wrong of {count} trials", len(wrong(records)), at.within("wrong"))
    known = {row["outcome"] for row in recorded["outcomes"]}
    new = sorted({str(row["outcome"]) for row in counted(records)} - known)
    yield same(f"{harness}: outcomes that are not on record", new, [])
