"""Every combination of rows, schedule, codec and smoothing trains as one process replays it (``replay.py``).

Staleness, first epochs, draws and averages are all in the replay, so a row that is used an epoch too early,
with another epoch's scale, or averaged before it arrived, shows.
"""

import pytest
import torch
from covering import all_cases, covering, name_of
from hops import Case
from oracle import Recipe
from replay import replayed
from small import assigned, deviations, model_for, small, trained

from gcnsys.runtime.choices import Choices

PARTS = {
    "rows": ["all", "uniform", "importance"],
    "codec": ["fp32", "bf16", "int8"],
    "when": ["sync", "overlap", "pipeline-off", "pipeline-features", "pipeline-gradients", "pipeline-both"],
}
"""The product of choices: 54 combinations."""

SETTINGS = {
    "model": ["gcn", "sage", "gin"],
    "assignment": ["random", "corners", "empty-rank"],
    "parts": [2, 3, 4],
    "graph": ["undirected", "directed", "weighted"],
    "first_hop": [True, False],
    "norm": ["none", "layer", "batch"],
    "hidden": [6, 14],
    "side": ["narrower", "input"],
    "draws_per": ["epoch", "layer"],
    "first_epoch": ["exact", "zero"],
    "smoothing_start": ["corrected", "zero"],
    "staleness": [1, 2],
    "recompute": [False, True],
    "inductive": [False, True],
    "prune": [False, True],
}

EVERY_COMBINATION = all_cases(PARTS)


def chosen(case, **changes) -> Choices:
    schedule, _, smoothing = case["when"].partition("-")
    pipelined = schedule == "pipeline"
    more = {name: case[name] for name in ("draws_per",) if name in case and case["rows"] != "all"}
    if pipelined:
        more |= {name: case[name] for name in ("first_epoch", "smoothing_start", "staleness") if name in case}
    return Choices(
        rows=case["rows"], rate=1.0 if case["rows"] == "all" else 0.4, schedule=schedule, codec=case["codec"],
        smoothing=smoothing or "off", gamma=0.7, seed=5, **more | changes,
    )  # fmt: skip


def strayed(choices, *, model="sage", graph="directed", assignment="random", parts=3, first_hop=False,
            norm="layer", hidden=6, side="narrower", recompute=False, inductive=False, prune=False,
            epochs=5):  # fmt: skip
    """How far a run is from its replay."""
    recipe = Recipe(
        model, 3, dropout=0.3, norm=norm, first_hop=first_hop, inductive=inductive, epochs=epochs, seed=5
    )
    made = small(graph)
    part_of = assigned(made, assignment, parts)
    ours = trained(
        recipe, made, part_of, parts,
        hidden=hidden, side=side, prune=prune, recompute=recompute, choices=choices,
    )  # fmt: skip
    data, edges = made.dataset, None
    weights = model_for(recipe, hidden=hidden).state_dict()
    if prune and norm != "batch" and not inductive:
        edges = needed_edges(Case(data.graph, part_of, parts, data.train_mask, 3), made.adjacency)
    found = replayed(
        recipe, made.adjacency, made.x, data.y, data.train_mask, weights, part_of, choices,
        side=side, edges=edges,
    )  # fmt: skip
    return deviations(ours, found)


def needed_edges(case: Case, adjacency: torch.Tensor) -> list[torch.Tensor]:
    """The edges that each layer aggregates over: those that end at a row it computes."""
    rows = torch.zeros(case.depth, len(adjacency), dtype=torch.bool)
    for layer, nodes in enumerate(case.sets()[1:]):
        rows[layer, list(nodes)] = True
    return [(adjacency != 0) & row[:, None] for row in rows]


# Rounding at random may go the other way for numbers that differ in their last bit, but hardly ever does.
BOUND = 1e-9


@pytest.mark.parametrize("case", covering(PARTS), ids=name_of)
def test_a_combination_trains_as_its_replay(case):
    assert max(strayed(chosen(case)).values()) <= BOUND


@pytest.mark.full
@pytest.mark.parametrize("case", EVERY_COMBINATION, ids=name_of)
def test_every_combination_trains_as_its_replay(case):
    assert max(strayed(chosen(case)).values()) <= BOUND
    assert max(strayed(chosen(case, staleness=2)).values()) <= BOUND


@pytest.mark.parametrize("case", covering(PARTS | SETTINGS), ids=name_of)
def test_a_combination_trains_as_its_replay_in_any_setting(case):
    settings = {key: value for key, value in case.items() if key in SETTINGS}
    for name in ("draws_per", "first_epoch", "smoothing_start", "staleness"):
        settings.pop(name)
    assert max(strayed(chosen(case), **settings).values()) <= BOUND


ATTENDING = {
    "model": ["gat", "gatv2"],
    "assignment": ["random", "corners"],
    "parts": [2, 3],
    "graph": ["undirected", "directed"],
    "norm": ["none", "layer"],
    "hidden": [6, 14],
    "side": ["narrower", "input"],
    "first_epoch": ["exact", "zero"],
    "staleness": [1, 2],
    "prune": [False, True],
}


@pytest.mark.parametrize("case", covering(PARTS | ATTENDING), ids=name_of)
def test_attention_trains_as_its_replay(case):
    settings = {key: value for key, value in case.items() if key in ATTENDING}
    for name in ("first_epoch", "staleness"):
        settings.pop(name)
    assert max(strayed(chosen(case), **settings).values()) <= BOUND


@pytest.mark.parametrize("schedule", ["sync", "overlap"])
@pytest.mark.parametrize("rows", ["uniform", "importance"])
def test_rows_drawn_at_rate_1_are_vanilla_bit_for_bit(rows, schedule):
    recipe, made = Recipe("sage", 3, dropout=0.3, norm="layer", first_hop=False, epochs=3), small("directed")
    runs = [
        trained(recipe, made, assigned(made, "random", 3), 3, hidden=6, choices=choices)
        for choices in (Choices(), Choices(rows=rows, rate=1.0, schedule=schedule))
    ]
    same = [torch.equal(runs[0].losses, runs[1].losses)]
    same += [torch.equal(a, b) for a, b in zip(runs[0].gradients, runs[1].gradients, strict=True)]
    assert all(same)


def test_a_pipeline_of_weights_that_stand_still_is_exact():
    """Where nothing changes from epoch to epoch, old rows are the rows of now."""
    choices = Choices(schedule="pipeline", smoothing="both")
    recipe, made = Recipe("sage", 3, norm="layer", epochs=6, optimizer="still"), small("directed")
    runs = [
        trained(recipe, made, assigned(made, "random", 3), 3, hidden=6, choices=each)
        for each in (None, choices)
    ]
    assert max(deviations(runs[1], runs[0]).values()) <= 1e-12


def test_a_pipeline_of_moving_weights_is_not():
    recipe, made = Recipe("sage", 3, norm="layer", epochs=6), small("directed")
    runs = [
        trained(recipe, made, assigned(made, "random", 3), 3, hidden=6, choices=each)
        for each in (None, Choices(schedule="pipeline"))
    ]
    assert max(deviations(runs[1], runs[0]).values()) > 1e-4
