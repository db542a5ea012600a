"""A quarter of the graph: cut and losses as recorded, and a quarter of the memory of the whole."""

from collections.abc import Iterator

from experiments.bench import Bench
from experiments.figures import Figure, at_most, close, same
from experiments.scale.run import measured

TARGETS = {"cut": 13.0, "train": 10.0}
"""GiB that the whole graph may take: the claim."""


def check(at: Bench) -> Iterator[Figure]:
    whole = at.record("results.json")
    for parts in ("P=2", "P=4"):
        peak = whole[parts]["cut"]["peak_gib"], whole[parts]["train"]["peak_gib_together"]
        for (step, most), gib in zip(TARGETS.items(), peak, strict=True):
            yield at_most(f"on record, {parts}, {step}: peak, GiB", gib, most)
    then = at.record("quarter.json")
    _, nodes, edges = then["graph"]["spec"].split(",")
    size = (int(text.partition("=")[2]) for text in (nodes, edges))
    now = measured(*size, at.work, (2,))
    yield same("the quarter", now["graph"], then["graph"])
    for key in ("volume_rows", "edge_cut"):
        yield close(f"{key.replace('_', ' ')}", now["P=2"][key], then["P=2"][key], at.within("cut"))
    mine, was = (each["P=2"]["train"]["final_loss"] for each in (now, then))
    yield close("loss after three epochs", mine, was, at.within("loss"))
    peaks = [
        (each["P=2"]["cut"]["peak_gib"], each["P=2"]["train"]["peak_gib_together"]) for each in (now, then)
    ]
    for step, mine, was in zip(TARGETS, *peaks, strict=True):
        yield close(f"{step}: peak, GiB", mine, was, at.within("memory"))
    share = (1 + at.within("memory")) * whole["P=2"]["cut"]["peak_gib"] / 4
    why = "a quarter of the whole graph's and a share more,"
    yield at_most("cut: peak, GiB", peaks[0][0], share, why=why)
