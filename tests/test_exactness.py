"""Any cut of any graph trains exactly like one device: logits, gradients and losses.

Measured as max |a - b| / max |b| over all logits, over the whole flattened gradient of the last
epoch and over the loss curve. The reference is ``oracle.py``: dense, single-process, independent,
and of the same precision: how far 20 epochs in float32 stray from float64 depends on the data (here
and there by 1e-4, dense or cut), not on the cut.
"""

import dataclasses
from functools import cache
from itertools import combinations, product

import oracle
import pytest
import torch
from covering import all_cases, covering, name_of, together
from oracle import Recipe
from small import ASSIGNMENTS, GRAPHS, assigned, deviations, model_for, small, trained

from gcnsys.partition import cut
from gcnsys.runtime.choices import Choices

CUTS = {
    "model": ["gcn", "sage", "gin", "gat", "gatv2"],
    "assignment": list(ASSIGNMENTS),
    "parts": [1, 2, 3, 4],
    "graph": ["undirected", "directed", "weighted"],
    "dropout": [0.0, 0.5],
    "inductive": [False, True],
}
"""Every way to cut, for every model: the promise itself."""

SHAPES = {
    "model": ["gcn", "sage", "gin", "gat", "gatv2"],
    "inputs": ["dense-on", "dense-off", "sparse-off"],
    "norm": ["none", "layer", "batch"],
    "parts": [1, 2, 3, 4],
    "graph": list(GRAPHS),
    "assignment": ["random", "corners", "empty-rank"],
    "hidden": [6, 14],
    "residual": [False, True],
    "linear_layers": [0, 1],
    "gcn_norm": ["symmetric", "out-in"],
    "side": ["narrower", "input"],
    "multilabel": [False, True],
    "dropout": [0.0, 0.3],
    "inductive": [False, True],
    "train_eps": [False, True],
    "recompute": [False, True],
    "schedule": ["sync", "overlap"],
    "prune": [True, False],
}
"""Every shape of model and every setting that changes what crosses between ranks."""

ORDERS = {
    "order": ["rcm", "degree", "fine", "cluster", "islands"],
    "parts": [1, 2, 3, 4],
    "inductive": [False, True],
}

# On one part all assignments are the same: the full product runs it once.
EVERY_CUT = [case for case in all_cases(CUTS) if case["parts"] > 1 or case["assignment"] == "metis"]


@cache
def exact(recipe, graph, *, hidden, dtype=torch.float64, multilabel=False, sparse=False):
    made = small(graph, multilabel=multilabel, sparse=sparse)
    weights = model_for(recipe, hidden=hidden).state_dict()
    data = made.dataset
    return oracle.train(recipe, made.adjacency, made.x, data.y, data.train_mask, weights, dtype)


def deviation_of_cut(case, dtype=torch.float64):
    recipe = Recipe(case["model"], dropout=case["dropout"], inductive=case["inductive"])
    made = small(case["graph"])
    assignment = assigned(made, case["assignment"], case["parts"])
    ours = trained(recipe, made, assignment, case["parts"], hidden=8, dtype=dtype)
    return deviations(ours, exact(recipe, case["graph"], hidden=8, dtype=dtype))


def strays(recipe, graph, **inputs):
    """Whether the dense reference itself, in float32, is another one than in float64."""
    single = exact(recipe, graph, dtype=torch.float32, **inputs)
    return max(deviations(single, exact(recipe, graph, **inputs)).values()) > 3e-6


def deviation_of_shape(case, dtype=torch.float64):
    storage, first_hop = case["inputs"].split("-")
    recipe = Recipe(
        case["model"], 3, case["linear_layers"], case["dropout"], case["norm"], case["residual"],
        case["gcn_norm"], case["train_eps"], first_hop == "on", case["inductive"], case["multilabel"],
    )  # fmt: skip
    inputs = {"multilabel": case["multilabel"], "sparse": storage == "sparse", "hidden": case["hidden"]}
    # Adam divides a gradient by its own size. Some are little more than rounding (under batch norm, where
    # attention is even), and in float32 the steps stray, the dense reference's as well.
    single = dtype == torch.float32
    if single and (case["norm"] == "batch" or strays(recipe, case["graph"], **inputs)):
        recipe = dataclasses.replace(recipe, optimizer="sgd")
    made = small(case["graph"], multilabel=case["multilabel"], sparse=storage == "sparse")
    assignment = assigned(made, case["assignment"], case["parts"])
    ours = trained(
        recipe, made, assignment, case["parts"],
        hidden=case["hidden"], side=case["side"], prune=case["prune"], dtype=dtype,
        recompute=case["recompute"], choices=Choices(schedule=case["schedule"]),
    )  # fmt: skip
    return deviations(ours, exact(recipe, case["graph"], dtype=dtype, **inputs))


def assert_exact(found, bound):
    assert max(found.values()) <= bound, found


@pytest.mark.parametrize("case", covering(CUTS), ids=name_of)
def test_any_cut_trains_like_one_device(case):
    assert_exact(deviation_of_cut(case), 1e-10)


@pytest.mark.parametrize("case", covering(CUTS), ids=name_of)
def test_any_cut_trains_like_one_device_in_single_precision(case):
    assert_exact(deviation_of_cut(case, torch.float32), 1e-5)


@pytest.mark.full
@pytest.mark.parametrize("case", EVERY_CUT, ids=name_of)
def test_every_cut_trains_like_one_device(case):
    assert_exact(deviation_of_cut(case), 1e-10)
    assert_exact(deviation_of_cut(case, torch.float32), 1e-5)


@pytest.mark.parametrize("case", covering(SHAPES), ids=name_of)
def test_any_shape_of_model_trains_like_one_device(case):
    assert_exact(deviation_of_shape(case), 1e-10)


@pytest.mark.parametrize("case", covering(SHAPES), ids=name_of)
def test_any_shape_of_model_trains_like_one_device_in_single_precision(case):
    assert_exact(deviation_of_shape(case, torch.float32), 1e-5)


@pytest.mark.full
@pytest.mark.parametrize("case", covering(SHAPES, strength=3), ids=name_of)
def test_more_shapes_of_models_train_like_one_device(case):
    assert_exact(deviation_of_shape(case), 1e-10)
    assert_exact(deviation_of_shape(case, torch.float32), 1e-5)


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("model", ["gcn", "sage", "gin"])
def test_the_training_curve_is_the_same_for_any_number_of_parts_dropout_included(model, norm):
    recipe = Recipe(model, 3, dropout=0.5, norm=norm, first_hop=False)
    made = small("weighted")
    one, *more = [
        trained(recipe, made, assigned(made, "random", parts), parts, hidden=8) for parts in (1, 2, 3, 4)
    ]
    for several in more:
        assert_exact(deviations(several, one), 1e-10)


@pytest.mark.parametrize("case", covering(ORDERS), ids=name_of)
def test_the_training_curve_is_the_same_for_any_order_of_nodes(case, monkeypatch):
    assert_any_order(*case.values(), monkeypatch)


@pytest.mark.full
@pytest.mark.parametrize("case", all_cases(ORDERS), ids=name_of)
def test_the_training_curve_is_the_same_for_every_order_of_nodes(case, monkeypatch):
    assert_any_order(*case.values(), monkeypatch)


def assert_any_order(order, parts, inductive, monkeypatch):
    monkeypatch.setattr("gcnsys.partition.order._FINE", 4)  # a small graph has clusters, too
    recipe = Recipe("sage", 3, dropout=0.5, first_hop=False, inductive=inductive)
    made = small("weighted")
    assignment = assigned(made, "corners", parts)
    assert any(
        (part.inner_ids.diff() < 0).any() for part in cut(made.dataset.graph, assignment, parts, order=order)
    )
    for dtype, bound in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        natural, found = (
            trained(recipe, made, assignment, parts, hidden=8, dtype=dtype, order=one)
            for one in ("natural", order)
        )
        assert_exact(deviations(found, natural), bound)


def test_dropout_makes_a_difference_and_so_does_its_seed():
    made = small("directed")
    curves = [
        trained(recipe, made, assigned(made, "random", 2), 2, hidden=8).losses
        for recipe in (Recipe(), Recipe(dropout=0.5), Recipe(dropout=0.5, seed=1))
    ]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert (curves[a] - curves[b]).abs().max() > 1e-2


def test_the_oracle_learns():
    losses = exact(Recipe(epochs=100), "undirected", hidden=8).losses
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("strength", [2, 3])
def test_a_covering_selection_holds_every_combination_and_is_much_smaller_than_the_product(strength):
    for choices in (CUTS, SHAPES):
        cases = covering(choices, strength)
        held = set().union(*(together(case, choices, strength) for case in cases))
        for names in combinations(choices, strength):
            for values in product(*(choices[name] for name in names)):
                assert tuple(zip(names, values, strict=True)) in held
        assert all(list(case) == list(choices) for case in cases)
        assert len(cases) <= 5**strength  # no fewer than the two longest lists call for
        assert cases == covering(choices, strength)


def test_the_full_product_leaves_nothing_out():
    assert len(EVERY_CUT) == len(CUTS["model"]) * (3 * 4 + 1) * 3 * 2 * 2


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_small_graphs_have_the_corners_they_promise(graph):
    made = small(graph)
    dense = made.adjacency
    assert made.dataset.graph.is_symmetric == torch.equal(dense, dense.T) == ("undirected" in graph)
    assert (made.dataset.graph.weight is not None) == ("weighted" in graph)
    assert ((dense.sum(0) == 0) & (dense.sum(1) == 0)).sum() == 1  # isolated
    assert 0 < (dense.diag() != 0).sum() < len(dense)
    assert (made.dataset.y == -1).any()


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("parts", [2, 3, 4])
def test_the_hand_made_assignments_have_the_corners_they_promise(graph, parts):
    made = small(graph)
    isolated = (made.adjacency.sum(0) == 0) & (made.adjacency.sum(1) == 0)
    corners = assigned(made, "corners", parts)
    last = cut(made.dataset.graph, corners, parts)[-1]
    assert last.num_halo == 0
    assert (last.plan.send_rows.numel() > 0) == ("undirected" not in graph)
    assert corners[isolated] == parts - 1
    assert sorted(corners.unique().tolist()) == list(range(parts))
    if parts > 2:
        assert not made.dataset.train_mask[corners == parts - 2].any()
    empty = assigned(made, "empty-rank", parts)
    assert torch.bincount(empty, minlength=parts).tolist()[1] == 0
    assert len(empty.unique()) == parts - 1
