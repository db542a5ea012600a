"""Layers equal those of PyG, DGL and torch; models are what their settings say."""

import pytest
import torch
from layers import NODES, PARTS, SIZES, dgl_graph, filled, graph_of, needed, normal, ours, theirs
from torch import Tensor, nn

from gcnsys.errors import InputError, UnknownNameError
from gcnsys.graph import Graph
from gcnsys.kernels import LocalBlock, SparseRows
from gcnsys.nn import (
    GNN,
    BatchNorm,
    GCNConv,
    GINConv,
    KeyedDropout,
    Linear,
    ModelSettings,
    SAGEConv,
    build_model,
    set_dropout_epoch,
)
from gcnsys.partition import cut
from gcnsys.runtime import PartBlock
from gcnsys.testing.ranks import run_ranks


@PARTS
@SIZES
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("directed", [False, True])
def test_gcn_is_that_of_pyg(num_parts, widths, weighted, directed):
    pyg = needed("torch_geometric.nn")
    graph, x = graph_of(directed=directed, weighted=weighted), normal(0, NODES, widths[0])
    edges = graph.edge_index().long()

    def make():
        return GCNConv(*widths)

    names = {"lin.weight": "linear.weight", "bias": "linear.bias"}
    exact = theirs(pyg.GCNConv(*widths), make, names, x, lambda layer, x: layer(x, edges, graph.weight))
    ours(make, graph, x, num_parts).assert_equals(exact)


@PARTS
@SIZES
@pytest.mark.parametrize("directed", [False, True])
def test_sage_is_that_of_pyg(num_parts, widths, directed):
    pyg = needed("torch_geometric.nn")
    graph, x = graph_of(directed=directed), normal(0, NODES, widths[0])
    edges = graph.edge_index().long()

    def make():
        return SAGEConv(*widths)

    names = {"lin_l.weight": "neighbours.weight", "lin_l.bias": "neighbours.bias"}
    names |= {"lin_r.weight": "own.weight"}
    exact = theirs(pyg.SAGEConv(*widths), make, names, x, lambda layer, x: layer(x, edges))
    ours(make, graph, x, num_parts).assert_equals(exact)


@PARTS
@SIZES
def test_gin_is_that_of_pyg(num_parts, widths):
    pyg = needed("torch_geometric.nn")
    graph, x = graph_of(), normal(0, NODES, widths[0])
    edges = graph.edge_index().long()

    def make():
        return GINConv(*widths, train_eps=True)

    mlp = nn.Sequential(nn.Linear(*widths), nn.ReLU(), nn.Linear(widths[1], widths[1]))
    names = {"eps": "eps"}
    names |= {"nn.0.weight": "hidden.weight", "nn.0.bias": "hidden.bias"}
    names |= {"nn.2.weight": "output.weight", "nn.2.bias": "output.bias"}
    exact = theirs(pyg.GINConv(mlp, train_eps=True), make, names, x, lambda layer, x: layer(x, edges))
    ours(make, graph, x, num_parts).assert_equals(exact)


@PARTS
@SIZES
@pytest.mark.parametrize("directed", [False, True])
def test_sage_is_that_of_dgl(num_parts, widths, directed):
    layers = needed("dgl.nn.pytorch")
    graph, x = graph_of(directed=directed), normal(0, NODES, widths[0])
    their_graph, _ = dgl_graph(graph, loops_added=False)

    def make():
        return SAGEConv(*widths)

    names = {"fc_neigh.weight": "neighbours.weight", "fc_self.weight": "own.weight"}
    names |= {"fc_self.bias": "neighbours.bias"}
    exact = theirs(layers.SAGEConv(*widths, "mean"), make, names, x, lambda layer, x: layer(their_graph, x))
    ours(make, graph, x, num_parts).assert_equals(exact)


@PARTS
@SIZES
@pytest.mark.parametrize(
    ("directed", "norm"), [(False, "symmetric"), (False, "out-in"), (True, "out-in")]
)  # on a directed graph DGL's "both" is not PyG's: it divides by the sender's out-degree
def test_gcn_on_an_unweighted_graph_is_that_of_dgl(num_parts, widths, directed, norm):
    layers = needed("dgl.nn.pytorch")
    graph, x = graph_of(directed=directed), normal(0, NODES, widths[0])
    their_graph, _ = dgl_graph(graph, loops_added=True)

    def make():
        return GCNConv(*widths, norm=norm)

    names = {"weight": "linear.weight.T", "bias": "linear.bias"}
    exact = theirs(
        layers.GraphConv(*widths, norm="both"), make, names, x, lambda layer, x: layer(their_graph, x)
    )
    ours(make, graph, x, num_parts).assert_equals(exact)


@PARTS
def test_gcn_on_a_weighted_directed_graph_is_that_of_dgl(num_parts):
    """DGL's layer ignores weights in its degrees; its EdgeWeightNorm is what counts them."""
    layers = needed("dgl.nn.pytorch")
    graph, x = graph_of(weighted=True), normal(0, NODES, 5)
    their_graph, weight = dgl_graph(graph, loops_added=True)

    def make():
        return GCNConv(5, 3, norm="out-in")

    scaled = layers.EdgeWeightNorm(norm="both")(their_graph, weight)
    names = {"weight": "linear.weight.T", "bias": "linear.bias"}
    exact = theirs(
        layers.GraphConv(5, 3, norm="none"), make, names, x,
        lambda layer, x: layer(their_graph, x, edge_weight=scaled),
    )  # fmt: skip
    ours(make, graph, x, num_parts).assert_equals(exact)


def test_the_two_norms_differ_on_a_directed_graph():
    block, x = LocalBlock.from_graph(graph_of()), normal(0, NODES, 3)
    assert (block.gcn(x, "symmetric") - block.gcn(x, "out-in")).abs().max() > 0.1


@pytest.mark.parametrize("num_parts", [1, 2, 3])
def test_batch_norm_over_ranks_is_that_of_torch_over_all_rows(num_parts):
    # The second of three ranks has no rows at all.
    assignment = {1: 0, 2: 1, 3: 2}[num_parts] * (torch.arange(NODES) % 3 == 0).long()
    graph, width = graph_of(), 4
    parts = cut(graph, assignment, num_parts)
    batches = [3 + 2 * normal(step, NODES, width) for step in range(4)]

    def passes(norm, rows, sync):
        found = []
        for step, batch in enumerate(batches):
            norm.train(step != 2)  # the third is evaluated, with the running statistics so far
            x = batch[rows].clone().requires_grad_()
            norm.zero_grad()
            out = norm(x)
            out.backward(normal(50 + step, NODES, width)[rows])
            grads = [sync(norm.weight.grad), sync(norm.bias.grad)]
            found.append((out.detach(), x.grad, *grads, norm.running_mean.clone(), norm.running_var.clone()))
        return found

    exact = passes(filled(nn.BatchNorm1d(width)), slice(None), lambda grad: grad.clone())

    def body(comm):
        part = parts[comm.rank]
        norm, block = filled(BatchNorm(width)), PartBlock(part, comm)
        norm.register_forward_pre_hook(lambda _, x: (*x, block))
        return part.inner_ids, passes(norm, part.inner_ids, comm.add)

    for ids, found in run_ranks(num_parts, body):
        for (out, x_grad, *rest), (exact_out, exact_grad, *exact_rest) in zip(found, exact, strict=True):
            torch.testing.assert_close(out, exact_out[ids], rtol=0, atol=1e-11)
            torch.testing.assert_close(x_grad, exact_grad[ids], rtol=0, atol=1e-11)
            torch.testing.assert_close(rest, exact_rest, rtol=0, atol=1e-11)


def test_the_same_seed_draws_the_same_weights_whatever_else_draws_numbers():
    settings = ModelSettings("gin", 3, 7, linear_layers=1, norm="batch")
    first = build_model(settings, 10, 4, seed=3).state_dict()
    torch.rand(11)
    again = build_model(settings, 10, 4, seed=3).state_dict()
    other = build_model(settings, 10, 4, seed=4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name, value in first.items() if value.ndim == 2]
    assert len(drawn) == 5
    assert all(not torch.equal(first[name], other[name]) for name in drawn)


def test_building_a_model_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    build_model(ModelSettings("sage"), 10, 4, seed=3)
    assert torch.equal(torch.get_rng_state(), state)


def test_weights_fill_glorots_range_and_biases_start_at_zero():
    model = build_model(ModelSettings("sage", 2, 200), 300, 50, seed=0)
    layers = [module for module in model.modules() if isinstance(module, Linear)]
    assert len(layers) == 4
    for layer in layers:
        bound = (6 / sum(layer.weight.shape)) ** 0.5
        assert 0.99 * bound < layer.weight.abs().max() <= bound
        assert abs(layer.weight.mean()) < 0.01 * bound
        assert layer.bias is None or not layer.bias.any()


def by_hand(model: GNN, block: LocalBlock, x: Tensor) -> list[Tensor]:
    """The rows after each layer, written out for evaluation."""
    rows, layers = [], [*model.convs, *model.linears]
    for number, layer in enumerate(layers):
        before = rows[-1] if rows else x
        after = layer(block, before) if number < len(model.convs) else layer(before)
        if number < len(layers) - 1:
            after = model.norms[number](after, block) if len(model.norms) else after
            after = after.relu()
            if model.residual and number > 0:
                after = after + before
        rows.append(after)
    return rows


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("linear_layers", [0, 1, 3])
def test_a_model_is_its_layers_in_order(norm, residual, linear_layers):
    settings = ModelSettings("sage", 4, 6, linear_layers=linear_layers, norm=norm, residual=residual)
    model = filled(build_model(settings, 5, 3, seed=0)).eval()
    block, x = LocalBlock.from_graph(graph_of()), normal(0, NODES, 5)
    assert model.num_blocks == len(model.convs) == 4 - linear_layers
    assert (len(model.linears), len(model.dropouts)) == (linear_layers, 4)
    assert len(model.norms) == (0 if norm == "none" else 3)
    rows = by_hand(model, block, x)
    assert [after.shape[1] for after in rows] == [6, 6, 6, 3]
    torch.testing.assert_close(model([block] * model.num_blocks, x), rows[-1], rtol=0, atol=1e-12)
    assert (rows[-1] < 0).any()  # no ReLU after the last layer


@pytest.mark.parametrize("model", ["gcn", "sage", "gin"])
def test_layers_may_each_have_a_block_of_their_own(model):
    """Destinations first: each block keeps the first rows of the one before, as minibatches do."""
    graph = graph_of()
    whole = LocalBlock.from_graph(graph)
    blocks = []
    for rows in (20, 8):
        columns = NODES if not blocks else 20
        csr = graph.adjacency.take_rows(torch.arange(rows))
        csr = csr.keep(csr.indices < columns)
        csr = type(csr)(csr.indptr, csr.indices, columns, csr.weight)
        blocks.append(LocalBlock(csr, torch.arange(columns), whole.degrees.take(torch.arange(columns))))
    net = filled(build_model(ModelSettings(model, 2, 6, residual=True), 5, 3, seed=0)).eval()
    x = normal(0, NODES, 5)
    hidden = net.convs[0](blocks[0], x).relu()
    assert list(hidden.shape) == [20, 6]
    expected = net.convs[1](blocks[1], hidden)
    assert list(expected.shape) == [8, 3]
    torch.testing.assert_close(net(blocks, x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("model", ["gcn", "sage", "gin"])
@pytest.mark.parametrize("side", ["narrower", "input"])
def test_sparse_rows_give_what_the_same_dense_rows_give_dropout_included(model, side):
    graph = graph_of()
    x = normal(0, NODES, 9) * (normal(1, NODES, 9) > 0.5)
    rows, columns = x.nonzero(as_tuple=True)
    stored = Graph.from_edge_index(torch.stack([columns, rows]), num_nodes=NODES, weight=x[rows, columns])
    csr = stored.adjacency
    sparse = SparseRows.from_csr(type(csr)(csr.indptr, csr.indices, 9, csr.weight))
    net = filled(build_model(ModelSettings(model, 2, 6, exchange_side=side), 9, 3, seed=0)).train()
    set_dropout_epoch(net, seed=1, epoch=2)
    blocks = [LocalBlock.from_graph(graph)] * 2
    torch.testing.assert_close(net(blocks, sparse), net(blocks, x), rtol=0, atol=1e-12)


def test_dropout_modules_count_as_sites_in_order():
    net = build_model(ModelSettings("gcn", 3, linear_layers=1), 5, 3, seed=0)
    set_dropout_epoch(net, seed=7, epoch=4)
    keys = [module.key for module in net.modules() if isinstance(module, KeyedDropout)]
    assert [(key.seed, key.epoch, key.site) for key in keys] == [(7, 4, 0), (7, 4, 1), (7, 4, 2)]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"layers": 0}, "layers and hidden must be at least 1, got 0 and 64"),
        ({"hidden": 0}, "layers and hidden must be at least 1, got 2 and 0"),
        ({"layers": 2, "linear_layers": 2}, r"must be in 0\.\.1 so that one layer convolves, got 2"),
        ({"linear_layers": -1}, r"linear_layers must be in 0\.\.1"),
    ],
)
def test_a_shape_no_model_can_have_is_refused(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        ModelSettings(**settings)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2.0, float("nan")])
def test_a_dropout_rate_outside_its_range_is_refused(rate):
    with pytest.raises(InputError, match=r"dropout must be in \[0, 1\), got"):
        build_model(ModelSettings(dropout=rate), 5, 3, seed=0)


def test_an_unknown_model_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match="unknown model 'sgae'; did you mean 'sage'"):
        build_model(ModelSettings("sgae"), 5, 3, seed=0)


@pytest.mark.parametrize("kind", ["mean", "gcn"])
def test_weights_that_a_mean_or_a_normalization_cannot_take_are_refused(kind):
    pairs = torch.tensor([[0, 1], [1, 2]])
    graph = Graph.from_edge_index(pairs, num_nodes=3, weight=torch.tensor([-3.0, 1.0]))
    message = {"mean": "node 1 has a negative sum", "gcn": "node 1 has -2: remove its negative edge weights"}
    with pytest.raises(InputError, match=message[kind]):
        getattr(LocalBlock.from_graph(graph), kind)(torch.ones(3, 1))
