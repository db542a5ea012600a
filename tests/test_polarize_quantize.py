"""Numbers of a few bits: levels, gradients that pass, scales that follow, rows that are protected."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import NUM_CLASSES, NUM_FEATURES, assigned, small

from gcnsys.errors import InputError
from gcnsys.kernels import LocalBlock, SparseRows
from gcnsys.nn import ModelSettings, build_model, set_dropout_epoch
from gcnsys.partition import cut_dataset
from gcnsys.polarize.distill import distilled
from gcnsys.polarize.learn import Setting, learn
from gcnsys.polarize.quantize import Precision, QuantizedModel, Scale, rounded
from gcnsys.runtime import Placement
from gcnsys.testing.graphs import normal, seeds
from gcnsys.testing.ranks import run_ranks
from gcnsys.train import RunConfig, Task

CPU = Placement(torch.device("cpu"), "gloo")


@given(seeds(), st.integers(2, 12), st.floats(-3, 0), st.floats(0.1, 3))
def test_numbers_lie_on_levels_and_0_is_one_of_them(seed, bits, low, high):
    x = torch.cat([normal(seed, 200) * 2, torch.zeros(1)])
    found = rounded(x, torch.tensor(low).double(), torch.tensor(high).double(), bits)
    assert torch.unique(found).numel() <= 2**bits
    assert float(found[-1]) == 0
    step = (high - low) / (2**bits - 1)
    inside = (x >= low + step) & (x <= high - step)
    assert float((found - x)[inside].abs().max() if inside.any() else 0) <= step / 2 + 1e-9
    assert float(found.min()) >= low - step
    assert float(found.max()) <= high + step


def test_gradients_pass_between_the_ends_and_stop_beyond_them():
    x = torch.tensor([-5.0, -0.4, 0.3, 0.9, 5.0], requires_grad=True)
    rounded(x, torch.tensor(-1.0), torch.tensor(1.0), 8).backward(torch.arange(1.0, 6.0))
    assert x.grad.tolist() == [0.0, 2.0, 3.0, 4.0, 0.0]


def test_a_scale_follows_training_and_is_the_same_on_all_ranks():
    def body(comm):
        scale = Scale(8, 0.0, comm).train()
        scale(torch.tensor([-1.0 - comm.rank, 2.0]))
        first = scale.ends.tolist()
        scale(torch.tensor([-1.0 - comm.rank, 4.0]))
        after = scale.ends.tolist()
        kept = scale.eval()(torch.tensor([100.0]))
        return first, after, float(kept), scale.ends.tolist() == after

    for first, after, kept, still in run_ranks(2, body):
        assert first == [-2.0, 2.0]
        assert after == pytest.approx([-2.0, 2.2])
        assert kept == pytest.approx(2.2, abs=0.02)
        assert still


@pytest.mark.parametrize("model", ["gcn", "sage", "gin", "gat", "resgcn"])
def test_many_bits_change_little_and_few_change_much(model):
    graph = small("undirected").dataset.graph
    block, x = LocalBlock.from_graph(graph), normal(1, graph.num_nodes, NUM_FEATURES).float()
    settings = ModelSettings(model, layers=2, hidden=8, heads=2, dropout=0.0)

    def body(comm):
        outs = []
        for bits in (0, 12, 8, 2):
            net = build_model(settings, NUM_FEATURES, NUM_CLASSES, seed=1)
            wrapped = QuantizedModel(net, Precision(bits, bits, bits, outliers=0.0), comm).train()
            outs.append(wrapped([block] * net.num_blocks, x).detach())
        plain = build_model(settings, NUM_FEATURES, NUM_CLASSES, seed=1).train()
        exact = plain([block] * plain.num_blocks, x).detach()
        return [float((out - exact).abs().max() / exact.abs().max()) for out in outs]

    none, twelve, eight, two = run_ranks(1, body)[0]
    assert none < 1e-5
    assert twelve < 0.02
    assert twelve < eight < two


@pytest.mark.parametrize("what", ["features", "weights", "sums"])
@pytest.mark.parametrize("model", ["gcn", "sage", "gin", "gat", "gatv2", "resgcn"])
def test_each_of_the_three_is_rounded_in_every_model(model, what):
    graph = small("undirected").dataset.graph
    block, x = LocalBlock.from_graph(graph), normal(1, graph.num_nodes, NUM_FEATURES).float()
    settings = ModelSettings(model, layers=2, hidden=8, heads=2, dropout=0.0)

    def body(comm):
        outs = []
        for bits in (0, 12, 4):
            net = build_model(settings, NUM_FEATURES, NUM_CLASSES, seed=1)
            precision = replace(Precision(0, 0, 0, outliers=0.0), **{what: bits})
            wrapped = QuantizedModel(net, precision, comm).train()
            outs.append(wrapped([block] * net.num_blocks, x).detach())
        return outs

    exact, twelve, four = run_ranks(1, body)[0]
    size = float(exact.abs().max())
    assert 1e-6 < float((twelve - exact).abs().max()) / size < 0.02
    assert float((four - exact).abs().max()) > 4 * float((twelve - exact).abs().max())


def test_protected_rows_are_those_of_high_degree_and_others_in_every_epoch():
    graph = small("undirected").dataset.graph
    block = LocalBlock.from_graph(graph)

    def body(comm):
        net = build_model(ModelSettings("gcn", hidden=8), NUM_FEATURES, NUM_CLASSES, seed=1)
        model = QuantizedModel(net, Precision(2, 0, 2, protect=1.0), comm).train()
        counts = torch.zeros(graph.num_nodes)
        for epoch in range(200):
            set_dropout_epoch(model, seed=1, epoch=epoch)
            wrapped = _wrapped(model, block)
            counts += wrapped.safe[:, 0]
        model.eval()
        assert _wrapped(model, block).safe is None
        return counts / 200

    found = run_ranks(1, body)[0]
    degree = block.degrees.into.log1p()
    assert float((found - degree / degree.max()).abs().max()) < 0.13
    assert float(found[degree.argmax()]) == 1.0


def _wrapped(model, block):
    from gcnsys.polarize.quantize import QuantizedBlock

    return QuantizedBlock(
        block, model.features[0], model.sums[0], model.precision.protect, model.site, model.comm
    )


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("protect", [0.0, 0.5])
def test_any_number_of_ranks_trains_the_same_quantized_model(sparse, protect):
    made = small("undirected", sparse=sparse)

    def trained(num_ranks):
        parts = cut_dataset(made.dataset, assigned(made, "random", num_ranks), num_ranks)

        def body(comm):
            config = RunConfig.checked(
                {"data": "x", "hidden": 8, "epochs": 6, "dtype": "float64", "lr": 0.05}
            )
            precision = Precision(12, 12, 12, protect=protect, outliers=0.0)
            setting = Setting(config, NUM_FEATURES, NUM_CLASSES, Task(), comm, CPU, precision)
            learnt = learn(parts[comm.rank], setting)
            return torch.cat([each.flatten() for each in learnt.model.state_dict().values()])

        return run_ranks(num_ranks, body)[0]

    one, two = trained(1), trained(2)
    assert torch.isfinite(one).all()
    assert float((one - two).abs().max()) < 1e-6


@pytest.mark.parametrize("sparse", [False, True])
def test_features_are_read_as_they_are(sparse):
    """Sparse ones stay so, whose zeros are no part of a scale; the first hop is computed anew every epoch."""
    made = small("undirected", sparse=sparse)
    part = cut_dataset(made.dataset, assigned(made, "random", 1), 1)[0]
    seen = []

    def noted(trainer, epoch):
        seen.append(trainer.training.inputs)
        return False

    def body(comm):
        config = RunConfig.checked({"data": "x", "hidden": 8, "epochs": 1})
        setting = Setting(config, NUM_FEATURES, NUM_CLASSES, Task(), comm, CPU, Precision())
        for exact in (False, True):
            learn(part, setting, model=setting.model(exact=exact), watch=noted)

    run_ranks(1, body)
    assert [type(each) for each in seen] == [SparseRows if sparse else torch.Tensor] * 2


def test_a_scale_looks_at_every_column_of_many_numbers():
    width = 64
    x = torch.zeros((1 << 18) // width + 1, width)
    x[:, 1::2] = torch.tensor([-1.0, 1.0]).repeat(width // 4)

    def body(comm):
        scale = Scale(8, 0.001, comm).train()
        scale(x)
        return scale.ends.tolist()

    assert run_ranks(1, body) == [[-1.0, 1.0]]


def test_sparse_features_are_rounded_as_dense_ones():
    made = small("undirected", sparse=True)
    graph = made.dataset.graph
    block = LocalBlock.from_graph(graph)

    def body(comm):
        outs = []
        for x in (SparseRows.from_csr(made.dataset.x), made.x):
            net = build_model(ModelSettings("gcn", hidden=8), NUM_FEATURES, NUM_CLASSES, seed=1)
            model = QuantizedModel(net, Precision(outliers=0.0), comm).train()
            set_dropout_epoch(model, seed=0, epoch=0)
            model.eval()
            for module in model.modules():
                if isinstance(module, Scale):
                    module.ends.copy_(torch.tensor([-3.0, 3.0]))
            outs.append(model([block] * 2, x).detach())
        return outs

    sparse, dense = run_ranks(1, body)[0]
    assert torch.allclose(sparse, dense, atol=1e-5)


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_a_teacher_is_heard_on_all_nodes_whatever_the_ranks(num_ranks):
    made = small("undirected")
    logits = normal(9, made.dataset.graph.num_nodes, NUM_CLASSES)
    parts = cut_dataset(made.dataset, assigned(made, "random", num_ranks), num_ranks)

    def body(comm):
        config = RunConfig.checked(
            {"data": "x", "hidden": 8, "epochs": 3, "dtype": "float64", "dropout": 0.0}
        )
        setting = Setting(config, NUM_FEATURES, NUM_CLASSES, Task(), comm, CPU)
        part = parts[comm.rank]
        told = distilled(setting, part, logits[part.whole.inner_ids], 2.0)
        losses = []
        learn(part, told, watch=lambda _, epoch: losses.append(epoch.loss) or False)
        return losses

    losses = run_ranks(num_ranks, body)[0]
    dataset = made.dataset
    net = build_model(
        RunConfig.checked({"data": "x", "hidden": 8, "dropout": 0.0}).model_settings(), NUM_FEATURES,
        NUM_CLASSES, seed=0,
    ).double()  # fmt: skip
    out = net([LocalBlock.from_graph(dataset.graph)] * 2, dataset.x.double()).detach()
    train = dataset.train_mask
    labels = torch.nn.functional.cross_entropy(out[train], dataset.y[train])
    said = -(logits.softmax(1) * out.log_softmax(1)).sum(1).mean()
    assert losses[0] == pytest.approx(float(labels + 2 * said), rel=1e-9)


@pytest.mark.parametrize("change", [{"features": 1}, {"weights": 17}, {"protect": 2.0}, {"outliers": 0.6}])
def test_precisions_that_make_no_sense_are_refused(change):
    with pytest.raises(InputError):
        Precision(**change)
