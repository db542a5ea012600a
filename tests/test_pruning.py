"""Rows that nobody looks at are left out: the same numbers, fewer rows, fewer bytes.

Pruned training is compared with training that is not, which ``test_exactness.py`` compares with
dense matrices.
"""

from dataclasses import replace
from functools import cache

import pytest
import torch
from covering import covering, name_of
from hops import Case
from oracle import Recipe
from small import (
    NUM_CLASSES,
    NUM_FEATURES,
    NUM_NODES,
    assigned,
    both_views,
    deviations,
    model_for,
    small,
    trained,
)
from torch import nn

from gcnsys.errors import InputError
from gcnsys.graph import Graph
from gcnsys.nn import ModelSettings, build_model
from gcnsys.partition import Cutting, Partitioning, build, cut_dataset
from gcnsys.runtime import Placement
from gcnsys.testing.ranks import run_ranks
from gcnsys.train import RunConfig, Task, Trainer, views
from gcnsys.train.run import run_part

CPU = torch.device("cpu")

SHAPES = {
    "model": ["gcn", "sage", "gin"],
    "parts": [1, 2, 3, 4],
    "graph": ["undirected", "directed", "weighted"],
    "inputs": ["dense-on", "dense-off", "sparse-off"],
    "looked_at": ["few", "train-few", "inductive"],
    "assignment": ["random", "corners", "empty-rank"],
    "dropout": [0.0, 0.5],
    "residual": [False, True],
    "norm": ["none", "layer"],
    "layers": [2, 3, 4],
    "linear_layers": [0, 1],
    "hidden": [6, 14],
}


@cache
def scarce(graph, *, everywhere=False, sparse=False):
    """A small graph that is trained on at three nodes, and scored at six more or at all others."""
    made = small(graph, sparse=sparse)
    labelled = torch.nonzero((made.dataset.y >= 0) & (made.groups < 2)).flatten()
    masks = torch.zeros(3, NUM_NODES, dtype=torch.bool)
    masks[0, labelled[:3]], masks[1, labelled[3:6]], masks[2, labelled[6:9]] = True, True, True
    if everywhere:
        masks[2] = ~(masks[0] | masks[1])
    names = ("train_mask", "val_mask", "test_mask")
    y = made.dataset.y.clamp(min=0)
    dataset = replace(made.dataset, y=y, **dict(zip(names, masks, strict=True)))
    return replace(made, dataset=dataset)


def deviation_from_unpruned(case, dtype):
    storage, first_hop = case["inputs"].split("-")
    recipe = Recipe(
        case["model"], case["layers"], case["linear_layers"], case["dropout"], case["norm"], case["residual"],
        first_hop=first_hop == "on", inductive=case["looked_at"] == "inductive", epochs=10,
    )  # fmt: skip
    made = scarce(case["graph"], everywhere=case["looked_at"] == "train-few", sparse=storage == "sparse")
    assignment = assigned(made, case["assignment"], case["parts"])
    pruned, whole = (
        trained(recipe, made, assignment, case["parts"], hidden=case["hidden"], prune=prune, dtype=dtype)
        for prune in (True, False)
    )
    assert not whole.logits.isnan().any()
    left_out = pruned.logits.isnan().any(1)
    scored = made.dataset.train_mask | made.dataset.val_mask | made.dataset.test_mask
    assert torch.equal(left_out, ~scored)
    return deviations(pruned, whole)


@pytest.mark.parametrize("case", covering(SHAPES), ids=name_of)
def test_pruned_training_is_training(case):
    found = deviation_from_unpruned(case, torch.float64)
    assert max(found.values()) <= 1e-10, found


@pytest.mark.parametrize("case", covering(SHAPES)[::3], ids=name_of)
def test_pruned_training_is_training_in_single_precision(case):
    found = deviation_from_unpruned(case, torch.float32)
    assert max(found.values()) <= 1e-5, found


@pytest.mark.full
@pytest.mark.parametrize("case", covering(SHAPES, strength=3), ids=name_of)
def test_pruned_training_of_more_shapes_is_training(case):
    found = deviation_from_unpruned(case, torch.float64)
    assert max(found.values()) <= 1e-10, found


def on_views(made, num_parts, settings, body, *, assignment=None, inductive=False, **options):
    """``body(training, evaluation, part, comm)`` on every rank."""
    if assignment is None:
        assignment = assigned(made, "random", num_parts)
    parts = cut_dataset(made.dataset, assignment, num_parts, inductive=inductive)

    def on_rank(comm):
        model = build_model(settings, NUM_FEATURES, NUM_CLASSES, seed=0).double()
        options.setdefault("choice", "off")
        made = views(parts[comm.rank], model, comm, device=CPU, dtype=torch.float64, **options)
        return body(*made, parts[comm.rank], comm)

    return run_ranks(num_parts, on_rank)


def test_training_goes_on_where_ranks_compute_nothing():
    made = scarce("undirected")
    assignment = assigned(made, "corners", 4)  # one rank hears no other and trains on nothing
    recipe = Recipe("sage", 3, dropout=0.3)

    def rows(training, evaluation, part, comm):
        return training.num_rows

    found = on_views(made, 4, ModelSettings("sage", 3), rows, assignment=assignment)
    assert (0, 0, 0) in found
    pruned, whole = (trained(recipe, made, assignment, 4, hidden=8, prune=prune) for prune in (True, False))
    assert max(deviations(pruned, whole).values()) <= 1e-10


def test_where_every_row_is_looked_at_nothing_changes_and_nothing_is_sent():
    made = small("undirected")
    everyone, nobody = torch.ones(NUM_NODES, dtype=torch.bool), torch.zeros(NUM_NODES, dtype=torch.bool)
    dataset = replace(made.dataset, train_mask=everyone, val_mask=nobody, test_mask=nobody)

    def body(training, evaluation, part, comm):
        assert training is evaluation
        assert len(set(training.blocks)) == 1
        assert training.blocks[0].graph is part.whole
        return comm.traffic.sent_bytes["halo"]

    assert on_views(replace(made, dataset=dataset), 3, ModelSettings("gcn", 3), body, prune="on") == [0] * 3


@pytest.mark.parametrize("choice", ["on", "off"])
def test_a_whole_evaluation_shares_edges_and_inputs_with_pruned_training(choice):
    made = scarce("undirected", everywhere=True)

    def body(training, evaluation, part, comm):
        assert len(set(evaluation.blocks)) == 1
        assert sorted(evaluation.ids.tolist()) == part.whole.inner_ids.tolist()
        whole, first = evaluation.blocks[0].graph, training.blocks[0].graph
        assert first.inner.indices.data_ptr() == whole.inner.indices.data_ptr()
        shared = [
            (view.inputs.neighbours if choice == "on" else view.inputs) for view in (training, evaluation)
        ]
        assert shared[0].data_ptr() == shared[1].data_ptr()
        expected = first.inner.num_rows if choice == "on" else first.num_inner
        assert len(shared[0]) == expected < len(shared[1])

    on_views(made, 2, ModelSettings("sage", 2), body, choice=choice)


def test_batch_norm_needs_every_row():
    made, settings = scarce("undirected"), ModelSettings("gcn", norm="batch")

    def body(training, evaluation, part, comm):
        return training is evaluation and training.num_rows == (part.whole.num_inner,) * 2

    assert on_views(made, 2, settings, body, prune="auto") == [True, True]
    with pytest.raises(
        RuntimeError, match="prune = on needs layers and norms that work row by row"
    ) as caught:
        on_views(made, 2, settings, body, prune="on")
    assert isinstance(caught.value.__cause__, InputError)


class Undeclared(nn.Module):
    """A norm of somebody else's, who does not say that rows do not matter to each other."""

    def forward(self, x, block):
        return x


class Declared(Undeclared):
    """The same, declared."""

    row_wise = True


@pytest.mark.parametrize(("norm", "pruned"), [(Undeclared, False), (Declared, True)])
def test_modules_have_to_declare_that_they_work_row_by_row(norm, pruned):
    part = cut_dataset(scarce("directed").dataset, torch.zeros(NUM_NODES, dtype=torch.int64), 1)[0]
    model = model_for(Recipe(), hidden=8).double()
    assert model.row_wise
    model.norms.append(norm())
    assert model.row_wise is pruned

    def body(comm):
        training, _ = views(part, model, comm, choice="off", device=CPU, dtype=torch.float64)
        return training.num_rows[-1] < NUM_NODES

    assert run_ranks(1, body) == [pruned]


@pytest.mark.parametrize(("left_out", "pruned"), [(NUM_NODES // 10, False), (NUM_NODES // 3, True)])
def test_little_is_left_out_only_if_asked_to(left_out, pruned):
    made = small("undirected")
    masks = torch.zeros(3, NUM_NODES, dtype=torch.bool)
    masks[0, left_out:], masks[1, :left_out] = True, True
    dataset = replace(made.dataset, train_mask=masks[0], val_mask=masks[1], test_mask=masks[2])

    def body(training, evaluation, part, comm):
        return training.ids.numel() < part.whole.num_inner

    changed = replace(made, dataset=dataset)
    for prune, expected in (("auto", pruned), ("on", True), ("off", False)):
        assert on_views(changed, 1, ModelSettings("gcn", 1), body, prune=prune) == [expected]


def test_inductive_training_is_whole_and_its_evaluation_pruned():
    def body(training, evaluation, part, comm):
        assert training.blocks[0].graph is part.training
        return sum(evaluation.num_rows) < 2 * part.whole.num_inner

    assert on_views(scarce("directed"), 2, ModelSettings("gcn"), body, inductive=True) == [True, True]


def test_a_degree_that_is_not_positive_is_refused_even_where_nobody_looks():
    made = scarce("weighted")
    graph, lonely = made.dataset.graph, int(torch.nonzero(made.groups == 3)[1])  # it has a self-loop only
    weight = graph.weight.clone()
    weight[graph.adjacency.rows() == lonely] = -2.0
    graph = Graph.from_edge_index(graph.edge_index(), num_nodes=graph.num_nodes, weight=weight)
    changed = replace(made, dataset=replace(made.dataset, graph=graph))
    with pytest.raises(RuntimeError, match=f"positive weighted degrees, but node {lonely} has -2"):
        on_views(changed, 2, ModelSettings("gcn"), lambda *_: None)


def test_only_rows_that_training_needs_cross_the_wire():
    made, settings = scarce("directed"), ModelSettings("gcn", 2, 3)  # both layers cross in width 3
    assignment = assigned(made, "random", 3)
    case = Case(made.dataset.graph, assignment, 3, made.dataset.train_mask, 2)
    pairs = sum(len(case.crossing(rows)) for rows in case.sets()[1:])

    def body(training, evaluation, part, comm):
        model = build_model(settings, NUM_FEATURES, NUM_CLASSES, seed=0).double()
        optimizer = torch.optim.Adam(model.parameters())
        trainer = Trainer(model, training, evaluation, Task(False), optimizer, comm)
        *_, epoch = trainer.epochs(2)
        return epoch.halo_bytes

    sent, unpruned = (
        sum(on_views(made, 3, settings, body, assignment=assignment, prune=prune)) for prune in ("on", "off")
    )
    assert sent == 2 * pairs * 3 * 8 < unpruned


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("parts", [1, 3])
def test_a_run_says_how_many_rows_each_layer_computed(tmp_path, norm, parts):
    made = scarce("undirected")
    build(made.dataset, Cutting(parts), tmp_path / "cut")
    config = RunConfig(
        data=str(tmp_path / "cut"), layers=3, linear_layers=1, hidden=4, epochs=2, norm=norm, prune="auto"
    )
    placement = Placement(CPU, "gloo")
    summary = run_ranks(
        parts, lambda comm: run_part(Partitioning.open(tmp_path / "cut"), config, comm, placement)
    )[0]
    data, expected = made.dataset, {"training": [NUM_NODES] * 3, "evaluation": [NUM_NODES] * 3}
    if norm == "none":
        looked_at = {
            "training": data.train_mask,
            "evaluation": data.train_mask | data.val_mask | data.test_mask,
        }
        for name, wanted in looked_at.items():
            case = Case(data.graph, torch.zeros(NUM_NODES), 1, wanted, 2)
            sizes = [len(rows) for rows in case.sets()[1:]]
            expected[name] = [*sizes, sizes[-1]]
    assert summary["rows_computed_per_layer"] == expected
    assert summary["rows_per_layer"] == {"training": NUM_NODES, "evaluation": NUM_NODES}


def test_predictions_for_all_rows_are_there_for_who_asks():
    made, model = scarce("undirected"), model_for(Recipe(), hidden=8).double()
    parts = cut_dataset(made.dataset, assigned(made, "random", 2), 2)

    def body(comm):
        found = []
        for prune in (True, False):
            _, evaluation = both_views(parts[comm.rank], model, comm, prune=prune)
            with torch.no_grad():
                found.append((evaluation.ids, model.eval()(evaluation.blocks, evaluation.inputs)))
        return found

    for (some, few), (ids, rows) in run_ranks(2, body):
        assert 0 < len(some) < len(ids)
        at = torch.searchsorted(ids, some)
        torch.testing.assert_close(few, rows[at], rtol=0, atol=1e-12)
