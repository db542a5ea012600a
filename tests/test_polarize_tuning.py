"""Edge factors: what they do to a model, their gradients, and the masks that come of them, over ranks."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import NUM_CLASSES, NUM_FEATURES, assigned, perturbed, small

from gcnsys.datasets import load
from gcnsys.errors import InputError
from gcnsys.graph import Graph
from gcnsys.kernels import LocalBlock
from gcnsys.kernels.block import Degrees
from gcnsys.nn import ModelSettings
from gcnsys.nn.linear import Linear
from gcnsys.partition import cut_dataset
from gcnsys.polarize import PolarizeSettings, SplitSettings, TuneSettings, alone, polarize
from gcnsys.polarize.block import TunedBlock
from gcnsys.polarize.edges import PartEdges
from gcnsys.polarize.frozen import FrozenModel
from gcnsys.polarize.learn import Setting, learn
from gcnsys.polarize.pipeline import gathered, pretrain, retrain
from gcnsys.polarize.prune import by_rule, kept_graph
from gcnsys.polarize.published import as_published, as_released, setup
from gcnsys.polarize.quantize import Precision
from gcnsys.polarize.select import smallest
from gcnsys.polarize.split import laid_out, split
from gcnsys.polarize.terms import penalty, penalty_gradient, polarization, polarization_gradient
from gcnsys.polarize.tune import TuningLoss, chosen, first_derivatives, first_step, tune
from gcnsys.runtime import Placement
from gcnsys.testing.graphs import graphs, normal, seeds
from gcnsys.testing.ranks import run_ranks
from gcnsys.train import RunConfig, Task

CPU = Placement(torch.device("cpu"), "gloo")
MODELS = ("gcn", "sage", "gin", "gat", "gatv2", "resgcn")


def block_of(graph):
    return TunedBlock(LocalBlock.from_graph(graph), Degrees.of(graph), symmetric=graph.is_symmetric)


def setting_for(comm, *, width=NUM_FEATURES, classes=NUM_CLASSES, **options):
    config = RunConfig.checked({"data": "x", "hidden": 8, "epochs": 20, "dtype": "float64", **options})
    return Setting(config, width, classes, Task(), comm, CPU)


@given(graphs(max_nodes=8, directed=None), seeds())
def test_factors_scale_edges_as_dense_matrices_say(graph, seed):
    block, x = block_of(graph), normal(seed, graph.num_nodes, 3)
    factors = normal(seed + 1, graph.num_edges).abs() + 0.1
    if graph.is_symmetric:  # both directions of an edge have the same factor
        ids = torch.stack([graph.adjacency.rows(), graph.adjacency.indices]).long().sort(0).values
        _, which = torch.unique(ids, dim=1, return_inverse=True)
        factors = factors[which]
    factors.requires_grad_()
    block.tuned(factors)
    adjacency = graph.adjacency
    weight = factors if adjacency.weight is None else factors * adjacency.weight.double()
    place = adjacency.rows().long(), adjacency.indices.long()
    dense = torch.zeros(graph.num_nodes, graph.num_nodes, dtype=torch.float64).index_put(place, weight)
    into = dense.sum(1, keepdim=True)
    looped = dense + torch.diag(Degrees.of(graph).added_loop)
    scale = looped.sum(1).rsqrt()
    expected = {
        "sum": dense @ x, "mean": torch.where(into > 0, dense / into.clamp(min=1e-30), 0.0) @ x,
        "gcn": scale[:, None] * looped * scale @ x,
    }  # fmt: skip
    upstream = normal(seed + 2, graph.num_nodes, 3)
    for name, wanted in expected.items():
        found = getattr(block, name)(x)
        assert torch.allclose(found, wanted, rtol=1e-10, atol=1e-12), name
        ours, exact = (
            torch.autograd.grad((out * upstream).sum(), factors, retain_graph=True, allow_unused=True)[0]
            for out in (found, wanted)
        )
        assert torch.allclose(ours, exact, rtol=1e-9, atol=1e-11), name


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", ["undirected", "directed", "weighted-undirected"])
def test_a_factor_of_0_is_a_pruned_edge_to_every_model(model, kind):
    dataset = small(kind).dataset
    graph, x = dataset.graph, normal(3, dataset.graph.num_nodes, NUM_FEATURES)
    made = perturbed(ModelSettings(model, layers=2, hidden=8, heads=2)).double().eval()
    kept = torch.rand(graph.num_edges, generator=torch.Generator().manual_seed(1)) > 0.4
    kept |= graph.adjacency.rows() == graph.adjacency.indices
    if graph.is_symmetric:
        found = split(graph, SplitSettings(subgraphs=6, groups=1, classes=1))
        kept = by_rule(graph, found, "random", 0.4, seed=1)
    block = block_of(graph)
    block.tuned(kept.double())
    plain = LocalBlock.from_graph(kept_graph(graph, kept))
    with torch.no_grad():
        tuned, pruned = (made([each] * made.num_blocks, x) for each in (block, plain))
        assert torch.allclose(tuned, pruned, rtol=1e-9, atol=1e-11)
        block.tuned(torch.ones(graph.num_edges, dtype=torch.float64))
        whole = LocalBlock.from_graph(graph)
        same, exact = (made([each] * made.num_blocks, x) for each in (block, whole))
        assert torch.allclose(same, exact, rtol=1e-9, atol=1e-11)
        assert not torch.allclose(exact, pruned, rtol=1e-3)


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("hidden", [3, 40])  # maps go before sums, or after them
@pytest.mark.parametrize("model", MODELS)
def test_products_of_inputs_are_kept_while_weights_stay(model, hidden, dropout, monkeypatch):
    made, project = small("undirected"), Linear.project

    def steps(comm):
        setting = setting_for(comm, model=model, hidden=hidden, layers=2, heads=1, dropout=0.3)
        loss = TuningLoss(alone(made.dataset), setting.model(), setting, pseudo=True, dropout=dropout)
        inputs, factors, multiplied, found = loss.view.inputs, 0.9 * loss.ones(), [], []

        def counted(linear, x):
            if isinstance(x, torch.Tensor) and x.data_ptr() == inputs.data_ptr():
                multiplied.append(linear)
            return project(linear, x)

        monkeypatch.setattr(Linear, "project", counted)
        for _ in range(2):
            loss.predict()
            multiplied.clear()
            found += [loss.gradient(factors, epoch)[1] for epoch in (0, 0)]
            with torch.no_grad():  # as a step of training changes them
                for number, parameter in enumerate(loss.model.parameters()):
                    parameter.add_(normal(number, *parameter.shape), alpha=0.1)
        return found, len(multiplied), len(set(multiplied))

    found, times, maps = run_ranks(1, steps)[0]
    monkeypatch.setattr(FrozenModel, "_are_inputs", lambda self, x: False)
    wanted, twice, same_maps = run_ranks(1, steps)[0]
    assert all(map(torch.equal, found, wanted))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[1], found[2])
    assert (times, twice, maps) == (maps, 2 * maps, same_maps)
    if model in ("gcn", "sage", "gin") and hidden == 3 and not dropout:
        assert maps == (2 if model == "sage" else 1)


@pytest.mark.parametrize("model", MODELS)
def test_the_derivative_by_an_edge_is_that_of_finite_differences(model):
    made = small("undirected")

    def body(comm):
        setting = setting_for(comm, model=model, heads=2)
        part = alone(made.dataset)
        net = perturbed(setting.config.model_settings()).double()
        loss = TuningLoss(part, net, setting)
        factors = 1 + 0.1 * normal(5, loss.edges.count).abs()
        other = gathered(loss.edges, torch.arange(loss.edges.count, dtype=torch.float64), made.dataset.graph)
        assert torch.equal(other, torch.arange(loss.edges.count, dtype=torch.float64))
        low, high = torch.minimum(*ends(loss.edges)), torch.maximum(*ends(loss.edges))
        twin = (low * 1000 + high)[:, None] == (low * 1000 + high)
        factors = (twin * factors).amax(1)  # both directions share a factor
        _, gradient = loss.gradient(factors, 0)
        for edge in range(0, loss.edges.count, max(1, loss.edges.count // 12)):
            step = 1e-6 * twin[edge].double()
            above, below = (float(loss.gradient(factors + sign * step, 0)[0]) for sign in (1, -1))
            if bool(loss.edges.free[edge]):
                assert float(gradient[edge]) == pytest.approx((above - below) / 2e-6, rel=2e-4, abs=1e-8)
        return True

    assert run_ranks(1, body) == [True]


def ends(edges):
    return edges.receivers, edges.senders


@given(st.lists(st.floats(0.01, 2), min_size=1, max_size=8), seeds())
def test_the_gradients_of_both_terms_are_those_of_finite_differences(values, seed):
    factors = torch.tensor(values, dtype=torch.float64)
    count, step = factors.numel(), 1e-6
    distance = normal(seed, count).abs() * 100
    near, dual = normal(seed + 1, count), normal(seed + 2, count)
    found = polarization_gradient(factors, distance, count), penalty_gradient(factors, near, dual)
    for edge in range(count):
        moved = torch.zeros(count, dtype=torch.float64)
        moved[edge] = step
        sums = [
            [polarization(factors + sign * moved, distance, count).sum() for sign in (1, -1)],
            [penalty(factors + sign * moved, near, dual).sum() for sign in (1, -1)],
        ]
        for gradient, (above, below) in zip(found, sums, strict=True):
            assert float(gradient[edge]) == pytest.approx(
                float(above - below) / (2 * step), rel=1e-6, abs=1e-6
            )
    ones = torch.ones(count, dtype=torch.float64)
    assert float(polarization(ones, distance, count).sum()) == pytest.approx(float(distance.mean()))


@pytest.mark.parametrize("kind", ["undirected", "directed"])
def test_the_smallest_are_chosen_alike_over_any_ranks_and_ties_are_told_apart(kind):
    made = small(kind)
    graph = made.dataset.graph
    rows, cols = graph.adjacency.rows().long(), graph.adjacency.indices.long()
    counted = rows > cols if graph.is_symmetric else rows != cols

    def chosen(num_ranks):
        parts = cut_dataset(made.dataset, assigned(made, "random", num_ranks), num_ranks)

        def body(comm):
            setting = setting_for(comm)
            edges = TuningLoss(parts[comm.rank], setting.model(), setting).edges
            # A value of both ends, coarse, so that many are equal.
            values = ((edges.receivers + edges.senders) % 5).double()
            masks = [smallest(edges, values, count) for count in range(0, edges.total + 1, 7)]
            whole = graph if comm.rank == 0 else None
            found = [gathered(edges, each, whole) for each in (*masks, values)]
            return found, edges.total

        (found, total) = run_ranks(num_ranks, body)[0]
        assert total == int(counted.sum())
        return found

    *masks, values = chosen(1)
    before = torch.zeros(graph.num_edges, dtype=torch.bool)
    for number, mask in enumerate(masks):
        assert int((mask & counted).sum()) == 7 * number
        assert not (mask & (rows == cols)).any()
        assert (mask | ~before).all(), "a larger choice holds the smaller one"
        pairs = set(map(tuple, torch.stack([rows, cols])[:, mask].T.tolist()))
        assert not graph.is_symmetric or pairs == {(b, a) for a, b in pairs}
        left = (counted & ~mask).nonzero().flatten()
        if mask.any() and left.numel():
            assert float(values[mask].max()) <= float(values[left].min())
        before = mask
    for num_ranks in (2, 3):
        assert all(torch.equal(a, b) for a, b in zip(chosen(num_ranks), [*masks, values], strict=True))


@pytest.mark.parametrize(
    ("model", "assignment"),
    [("gcn", "random"), ("sage", "metis"), ("gat", "empty-rank"), ("resgcn", "random")],
)
def test_any_number_of_ranks_tunes_the_same_mask(model, assignment):
    made = small("undirected")
    graph = made.dataset.graph
    settings = TuneSettings(ratio=0.3, rounds=4, epochs=3, lr=0.05, stop=0.0)

    def tuned(num_ranks):
        parts = cut_dataset(made.dataset, assigned(made, assignment, num_ranks), num_ranks)

        def body(comm):
            setting = setting_for(comm, model=model, heads=2)
            net = perturbed(setting.config.model_settings()).double()
            loss = TuningLoss(parts[comm.rank], net, setting, pseudo=True)
            found = tune(loss, settings)
            whole = graph if comm.rank == 0 else None
            return [gathered(found.edges, each, whole) for each in (found.factors, found.pruned)], found

        (factors, pruned), found = run_ranks(num_ranks, body)[0]
        return factors, pruned, found.distances

    factors, pruned, distances = tuned(1)
    assert int(pruned.sum()) == 2 * int(0.3 * int((graph.adjacency.rows() > graph.adjacency.indices).sum()))
    for num_ranks in (2, 3):
        others, mask, same = tuned(num_ranks)
        assert float((others - factors).abs().max()) <= 1e-9
        assert torch.equal(mask, pruned)
        assert same == distances


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def outcomes(digits):
    """Digits, polarized in several ways with the same pretrained model's settings."""

    def body(comm):
        setting = setting_for(
            comm, width=digits.num_features, classes=digits.num_classes, dtype="float32", hidden=16, epochs=30
        )
        usual = PolarizeSettings(reference=False, pretrain=40)
        magnitude = replace(usual, tuning=replace(usual.tuning, balance=0.0))
        ways = {
            "default": usual, "magnitude": magnitude, "published": as_published(usual),
            "released": replace(as_released(usual), pretrain=20),
        }  # fmt: skip
        return {name: polarize(digits, setting, way, alone) for name, way in ways.items()}

    return run_ranks(1, body)[0]


def overlap(found, with_mask):
    gone = ~found.after_tuning
    return float((gone & ~with_mask).sum() / gone.sum())


def mean_distance(found):
    pairs = found.original.graph.edge_index()[:, found.after_tuning]
    return float((pairs[0] - pairs[1]).abs().double().mean())


def test_polarization_shortens_edges_and_is_no_mere_sort_by_distance(outcomes):
    default, magnitude = outcomes["default"], outcomes["magnitude"]
    graph = default.original.graph
    farthest = by_rule(graph, default.division, "farthest", 0.1)
    assert mean_distance(default) < 0.95 * mean_distance(magnitude)
    assert overlap(default, farthest) < 0.6
    assert overlap(magnitude, farthest) < 0.3


def test_successive_masks_converge_and_tuning_stops_early(outcomes):
    default = outcomes["default"]
    assert max(default.tuned.distances[-2:]) <= 0.05
    assert default.tuned.epochs < 20
    assert default.pretrain_distances[-1] < default.pretrain_distances[0]


@pytest.mark.parametrize("name", ["cora", "citeseer"])
def test_pretraining_stops_by_default_once_its_masks_hardly_change(data_folder, name):
    dataset = load(f"npz:{data_folder / name}.npz")
    dataset = laid_out(dataset, split(dataset.graph, name=name).layout)
    usual = PolarizeSettings()

    def body(comm):
        setting = setting_for(
            comm, width=dataset.num_features, classes=dataset.num_classes, dtype="float32", **setup("gcn")
        )
        return pretrain(alone(dataset), setting, usual)

    learnt, _, distances = run_ranks(1, body)[0]
    assert learnt.epochs < 300  # three quarters of a full training
    assert max(distances[-2:]) <= usual.pretrain_stop
    assert all(max(pair) > usual.pretrain_stop for pair in pairwise(distances[:-1]))
    assert distances[-1] < 0.3 * distances[0]


def test_gin_is_configured_so_that_it_learns_cora(data_folder):
    dataset = load(f"npz:{data_folder / 'cora.npz'}")

    def body(comm):
        setting = setting_for(
            comm, width=dataset.num_features, classes=dataset.num_classes, dtype="float32", model="gin",
            **setup("gin"),
        )  # fmt: skip
        return learn(alone(dataset), setting, epochs=60).accuracy

    # Three layers of width 16, as published, come to 0.6 to 0.7 in 200 epochs.
    assert run_ranks(1, body)[0]["val"] > 0.72


@pytest.mark.parametrize("precision", [None, Precision()])
def test_retraining_goes_on_where_pretraining_ended(digits, precision):
    """All phases together take as many epochs as plain training, but for the steps of tuning."""

    def body(comm):
        setting = setting_for(
            comm, width=digits.num_features, classes=digits.num_classes, dtype="float32", hidden=16, epochs=20
        )
        setting = replace(setting, precision=precision)
        usual = PolarizeSettings(reference=False, pretrain=8, pretrain_stop=0.0)
        learnt, _, _ = pretrain(alone(digits), setting, usual)
        went_on = retrain(alone(digits), setting, "rest", learnt, 1)
        numbers = learn(alone(digits), setting, first=18).epochs
        anew = retrain(alone(digits), setting, "scratch", learnt, 1)
        return learnt, went_on, anew, numbers, polarize(digits, setting, usual, alone)

    learnt, went_on, anew, numbers, found = run_ranks(1, body)[0]
    assert (learnt.epochs, went_on.epochs, anew.epochs, numbers) == (8, 10, 20, 2)
    assert went_on.best_epoch >= 10
    assert found.tuned.epochs >= 4
    assert found.retrained.epochs == 5  # a quarter of a full training is left in any case
    # Four epochs from new weights come nowhere near.
    assert went_on.accuracy["val"] > learnt.accuracy["val"] - 0.05


def test_the_published_weight_is_a_mere_sort_by_distance(outcomes):
    found = outcomes["published"]
    farthest = by_rule(found.original.graph, found.division, "farthest", 0.1)
    assert overlap(found, farthest) > 0.95


def test_the_released_term_has_no_derivative(outcomes):
    released, published = outcomes["released"], outcomes["published"]
    farthest = by_rule(released.original.graph, released.division, "farthest", 0.1)
    assert released.tuned.weight == 0
    assert published.tuned.weight == 10
    assert overlap(released, farthest) < 0.3


def test_the_paper_keeps_tuned_weights_and_the_code_makes_them_1_again(outcomes):
    published, released = outcomes["published"].dataset.graph, outcomes["released"].dataset.graph
    assert released.weight is None
    assert published.weight is not None
    assert published.is_symmetric
    assert torch.equal(published.weight, published.symmetrized().weight)
    assert float(published.weight.std()) > 0


def test_the_best_epoch_of_the_test_set_is_told_beside_the_choice_by_validation(digits):
    seen = []

    def noted(trainer, epoch):
        seen.append([trainer.evaluate().scores[name].accuracy for name in ("val", "test")])
        return False

    def body(comm):
        setting = setting_for(
            comm, width=digits.num_features, classes=digits.num_classes, dtype="float32", epochs=30
        )
        return learn(alone(digits), setting, watch=noted)

    learnt = run_ranks(1, body)[0]
    val, test = (list(column) for column in zip(*seen, strict=True))
    best = learnt.best_epoch
    assert (learnt.accuracy["val"], learnt.accuracy["test"]) == (max(val), test[best])
    assert val[best] == max(val)
    assert learnt.best_test == max(test) > test[best]


def test_training_waits_for_others_as_long_as_it_is_told(digits):
    seen = []

    def noted(trainer, epoch):
        seen.append(trainer.comm.timeout)
        return False

    def body(comm):
        before = comm.timeout
        setting = setting_for(
            comm, width=digits.num_features, classes=digits.num_classes, dtype="float32", timeout=7
        )
        learn(alone(digits), setting, epochs=3, watch=noted)
        return before, comm.timeout

    before, after = run_ranks(1, body)[0]
    assert seen == [before, 7, 7]
    assert after == before != 7


@pytest.mark.parametrize("num_ranks", [1, 2])
def test_of_more_factors_at_0_than_are_pruned_those_with_the_farthest_to_go_are(num_ranks):
    made = small("undirected")
    parts = cut_dataset(made.dataset, assigned(made, "random", num_ranks), num_ranks)

    def body(comm):
        setting = setting_for(comm)
        edges = TuningLoss(parts[comm.rank], setting.model(), setting).edges
        none = torch.zeros(edges.count, dtype=torch.float64)
        free = -edges.distance
        count = edges.total // 4
        pruned = chosen(edges, none, none, free, count)
        few = chosen(edges, none + (edges.distance > 1), none, free, edges.total)
        lengths = edges.distance[edges.counted]
        return lengths, pruned[edges.counted], few[edges.counted], count

    found = run_ranks(num_ranks, body)
    lengths, pruned, few = (torch.cat([each[place] for each in found]) for place in range(3))
    assert int(pruned.sum()) == found[0][3]
    assert float(lengths[pruned].min()) >= float(lengths[~pruned].max())
    assert bool(few.all())


def test_more_polarization_never_lengthens_what_is_kept(digits):
    """Also where it is so much that most factors come to 0."""

    def body(comm):
        setting = setting_for(
            comm, width=digits.num_features, classes=digits.num_classes, dtype="float32", hidden=16, epochs=8
        )
        usual = PolarizeSettings(reference=False, pretrain=8, eta=0)
        return [
            mean_distance(
                polarize(digits, setting, replace(usual, tuning=TuneSettings(balance=balance)), alone)
            )
            for balance in (0.0, 0.8, 5.0, 50.0)
        ]

    found = run_ranks(1, body)[0]
    assert all(before >= after for before, after in pairwise(found))
    assert found[-1] < 0.9 * found[0]


def test_the_released_code_takes_a_quarter_of_the_derivative(digits):
    found = {}

    def body(comm):
        setting = setting_for(comm, width=digits.num_features, classes=digits.num_classes, hidden=16)
        net = setting.model()
        usual = TuneSettings(rounds=1, epochs=1, relative=False, balance=None, weight=0.0, rho=0.0, lr=1e-3)
        for share in (1.0, 0.25):
            loss = TuningLoss(alone(digits), net, setting)
            found[share] = 1 - tune(loss, replace(usual, gradient_share=share)).factors
        return True

    run_ranks(1, body)
    assert float(found[1.0].abs().max()) > 0
    assert torch.allclose(found[0.25], 0.25 * found[1.0], rtol=1e-6, atol=1e-15)


def test_few_labels_do_not_reach_all_edges_but_pseudo_labels_do(data_folder):
    dataset = load(f"npz:{data_folder / 'cora.npz'}")
    dataset = laid_out(dataset, split(dataset.graph, name="cora").layout)

    def body(comm):
        setting = setting_for(comm, width=dataset.num_features, classes=dataset.num_classes, hidden=16)
        net, shares = setting.model(), []
        for pseudo in (False, True):
            loss = TuningLoss(alone(dataset), net, setting, pseudo=pseudo)
            loss.predict()
            _, gradient = loss.gradient(torch.ones(loss.edges.count, dtype=torch.float64), 0)
            shares.append(float((gradient == 0).double().mean()))
        return shares

    labels, pseudo = run_ranks(1, body)[0]
    assert labels > 0.1
    assert pseudo < 0.02


def test_the_first_step_is_what_a_single_step_of_tuning_prunes(digits):
    def body(comm):
        setting = setting_for(comm, width=digits.num_features, classes=digits.num_classes, hidden=16)
        net = setting.model()
        settings = TuneSettings(rounds=1, epochs=1, lr=1e-6)
        first, tuned = (TuningLoss(alone(digits), net, setting, pseudo=True) for _ in range(2))
        mask = first_step(first.edges, first_derivatives(first, settings), settings)
        return mask, tune(tuned, settings).pruned

    first, pruned = run_ranks(1, body)[0]
    assert float((first & pruned).sum() / pruned.sum()) > 0.99


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ratio": 1.0}, "share of edges to prune"), ({"rounds": 0}, "at least 1"), ({"lr": 0.0}, "above 0"),
        ({"balance": -1.0}, "at least 0"), ({"stop": 2.0}, "lies in"), ({"weight": float("nan")}, "finite"),
        ({"lr": float("inf")}, "above 0"), ({"rho": float("nan")}, "at least 0"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(change, sentence):
    with pytest.raises(InputError, match=sentence):
        TuneSettings(**change)


def test_parts_that_were_cut_for_induction_are_refused():
    made = small("undirected")
    part = cut_dataset(made.dataset, assigned(made, "metis", 1), 1, inductive=True)[0]

    def body(comm):
        setting = setting_for(comm)
        with pytest.raises(InputError, match="without --inductive"):
            TuningLoss(part, setting.model(), setting)
        return True

    assert run_ranks(1, body) == [True]


def test_an_edge_to_oneself_is_never_counted():
    graph = Graph.from_edge_index(torch.tensor([[0, 0, 1], [0, 1, 0]]), num_nodes=2)

    def body(comm):
        edges = PartEdges.of(LocalBlock.from_graph(graph), comm, symmetric=True)
        return edges.total, edges.paired(torch.tensor([1.0, 2.0, 4.0])).tolist()

    assert run_ranks(1, body) == [(1, [1.0, 6.0, 6.0])]
