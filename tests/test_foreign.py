"""Layers of PyG and DGL run unchanged on parts and give what they give on one device."""

import logging

import pytest
import torch
from layers import NODES, PARTS, Answer, dgl_graph, filled, graph_of, needed, normal, ours
from torch import nn

from gcnsys.errors import InputError
from gcnsys.kernels import LocalBlock
from gcnsys.nn import FromDGL, FromPyG
from gcnsys.nn.foreign import _tell_about_draws
from gcnsys.nn.recompute import recomputed
from gcnsys.partition import cut
from gcnsys.runtime import PartBlock
from gcnsys.runtime.choices import Choices
from gcnsys.runtime.exchange import Exchange
from gcnsys.testing.ranks import run_ranks

WIDTH = 6


def own_layer(*_):
    """A layer as a user would write it: no type hints, one tensor in, attention of its own."""
    pyg = needed("torch_geometric.nn")

    class Gated(pyg.MessagePassing):
        def __init__(self):
            super().__init__(aggr="mean")
            self.gate, self.linear = nn.Linear(2 * WIDTH, 1), nn.Linear(WIDTH, 5)

        def forward(self, x, edge_index):
            return self.linear(x) + self.propagate(edge_index, x=x, h=self.linear(x))

        def message(self, x_i, x_j, h_j):
            return torch.sigmoid(self.gate(torch.cat([x_i, x_j], 1))) * h_j

    return Gated()


def pna(pyg):
    degrees = torch.tensor([1, 3, 5, 4, 2])
    return pyg.PNAConv(WIDTH, 8, ["mean", "max", "std"], ["identity", "amplification"], degrees, towers=2)


PYG = {
    "SAGEConv": lambda pyg: pyg.SAGEConv(WIDTH, 5),
    "SAGEConv-max": lambda pyg: pyg.SAGEConv(WIDTH, 5, aggr="max"),
    "GraphConv": lambda pyg: pyg.GraphConv(WIDTH, 5),
    "GATConv": lambda pyg: pyg.GATConv(WIDTH, 3, heads=2),
    "GATv2Conv": lambda pyg: pyg.GATv2Conv(WIDTH, 3, heads=2),
    "TransformerConv": lambda pyg: pyg.TransformerConv(WIDTH, 3, heads=2),
    "GENConv": lambda pyg: pyg.GENConv(WIDTH, 5, norm="layer"),
    "GENConv-batch": lambda pyg: pyg.GENConv(WIDTH, 5, norm="batch"),
    "PNAConv": pna,
    "GINConv": lambda pyg: pyg.GINConv(nn.Sequential(nn.Linear(WIDTH, 5), nn.ReLU(), nn.Linear(5, 4))),
    "EdgeConv": lambda pyg: pyg.EdgeConv(nn.Sequential(nn.Linear(2 * WIDTH, 5), nn.Tanh())),
    "ResGatedGraphConv": lambda pyg: pyg.ResGatedGraphConv(WIDTH, 5),
    "LEConv": lambda pyg: pyg.LEConv(WIDTH, 5),
    "MFConv": lambda pyg: pyg.MFConv(WIDTH, 5, max_degree=3),
    "a user's own": own_layer,
}

DGL = {
    "SAGEConv": lambda layers: layers.SAGEConv(WIDTH, 5, "pool"),
    "GATv2Conv": lambda layers: layers.GATv2Conv(WIDTH, 3, 2, allow_zero_in_degree=True),
    "GATConv": lambda layers: layers.GATConv(WIDTH, 3, 2, allow_zero_in_degree=True),
    "GINConv": lambda layers: layers.GINConv(nn.Linear(WIDTH, 5), "max"),
    "EdgeConv": lambda layers: layers.EdgeConv(WIDTH, 5, allow_zero_in_degree=True),
    "GraphConv-right": lambda layers: layers.GraphConv(WIDTH, 5, norm="right", allow_zero_in_degree=True),
}


def single(make, x, call):
    """What the layer itself gives on the whole graph, on one device."""
    layer, x = filled(make()), x.clone().requires_grad_()
    out = call(layer, x)
    out.backward(normal(9, *out.shape))
    grads = {f"layer.{name}": value.grad for name, value in layer.named_parameters()}
    return Answer(out.detach(), x.grad, grads)


@PARTS
@pytest.mark.parametrize("name", PYG)
def test_layers_of_pyg_are_the_same_on_parts(num_parts, name):
    pyg = needed("torch_geometric.nn")
    graph, x = graph_of(), normal(0, NODES, WIDTH)
    exact = single(lambda: PYG[name](pyg), x, lambda layer, x: layer(x, graph.edge_index().long()))
    ours(lambda: FromPyG(PYG[name](pyg)), graph, x, num_parts).assert_equals(exact)


@PARTS
@pytest.mark.parametrize("name", DGL)
def test_modules_of_dgl_are_the_same_on_parts(num_parts, name):
    layers = needed("dgl.nn.pytorch")
    graph, x = graph_of(), normal(0, NODES, WIDTH)
    whole, _ = dgl_graph(graph, loops_added=False)
    exact = single(lambda: DGL[name](layers), x, lambda layer, x: layer(whole, x).flatten(1))
    ours(lambda: FromDGL(DGL[name](layers)), graph, x, num_parts).assert_equals(exact)


@PARTS
def test_weights_of_edges_reach_layers_that_take_them(num_parts):
    pyg, layers = needed("torch_geometric.nn"), needed("dgl.nn.pytorch")
    graph, x = graph_of(weighted=True), normal(0, NODES, WIDTH)
    weight = graph.weight.double()
    exact = single(
        lambda: pyg.GraphConv(WIDTH, 5), x, lambda layer, x: layer(x, graph.edge_index().long(), weight)
    )
    ours(lambda: FromPyG(pyg.GraphConv(WIDTH, 5)), graph, x, num_parts).assert_equals(exact)
    whole, _ = dgl_graph(graph, loops_added=False)
    exact = single(
        lambda: layers.SAGEConv(WIDTH, 5, "mean"), x, lambda layer, x: layer(whole, x, edge_weight=weight)
    )
    ours(lambda: FromDGL(layers.SAGEConv(WIDTH, 5, "mean")), graph, x, num_parts).assert_equals(exact)


@pytest.mark.parametrize("name", ["GCNConv", "TAGConv", "ChebConv", "SGConv"])
def test_layers_that_look_further_are_refused(name):
    pyg = needed("torch_geometric.nn")
    layer = {"ChebConv": lambda: pyg.ChebConv(WIDTH, 5, 3)}.get(name, lambda: getattr(pyg, name)(WIDTH, 5))()
    with pytest.raises(InputError, match=f"{name} of PyG cannot run on parts .*looks further"):
        FromPyG(layer)(LocalBlock.from_graph(graph_of()), torch.randn(NODES, WIDTH))


def test_a_layer_that_looks_at_all_rows_is_refused():
    pyg = needed("torch_geometric.nn")

    class Centred(pyg.MessagePassing):
        def forward(self, x, edge_index):
            return self.propagate(edge_index, x=x - x.mean(0))

    with pytest.raises(InputError, match=r"Centred of PyG cannot run on parts .*looks further"):
        FromPyG(Centred())(LocalBlock.from_graph(graph_of()), torch.randn(NODES, WIDTH))


def test_rows_in_sixteen_bits_are_computed_in_the_type_of_the_weights():
    pyg = needed("torch_geometric.nn")
    block, x = LocalBlock.from_graph(graph_of()), torch.randn(NODES, WIDTH)
    layer = FromPyG(pyg.SAGEConv(WIDTH, 5))
    half = layer(block, x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), layer(block, x), rtol=0.02, atol=0.05)


def test_a_module_of_dgl_that_looks_further_is_refused():
    layers = needed("dgl.nn.pytorch")
    with pytest.raises(InputError, match=r"GraphConv of DGL cannot run on parts .*looks further"):
        FromDGL(layers.GraphConv(WIDTH, 5))(LocalBlock.from_graph(graph_of()), torch.randn(NODES, WIDTH))


def test_a_layer_that_fails_is_refused_with_its_own_words():
    pyg = needed("torch_geometric.nn")
    with pytest.raises(
        InputError, match=r"SAGEConv of PyG cannot run on parts \(RuntimeError: mat1 and mat2"
    ):
        FromPyG(pyg.SAGEConv(WIDTH + 1, 5))(LocalBlock.from_graph(graph_of()), torch.randn(NODES, WIDTH))
    with pytest.raises(InputError, match="SAGEConv does not know its input width yet"):
        FromPyG(pyg.SAGEConv(-1, 5))


def test_randomness_of_its_own_is_told_once(caplog):
    pyg = needed("torch_geometric.nn")
    layer = FromPyG(pyg.GATv2Conv(WIDTH, 3, dropout=0.5))
    block, x = LocalBlock.from_graph(graph_of()), torch.randn(NODES, WIDTH)
    before = torch.random.get_rng_state()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            layer.eval()(block, x)
    assert [record.message.split(" ")[0] for record in caplog.records] == ["GATv2Conv"]
    assert "random numbers of its own" in caplog.text
    assert torch.equal(before, torch.random.get_rng_state()), "looking does not change what is drawn"


@pytest.mark.parametrize("rate", [0.0, 0.4, 1.0])
def test_only_what_was_drawn_is_seen_and_that_is_told(rate, caplog):
    pyg = needed("torch_geometric.nn")
    graph, x = graph_of(), normal(0, NODES, WIDTH)
    parts = cut(graph, torch.arange(NODES) % 2, 2)
    _tell_about_draws.cache_clear()

    def body(comm):
        part = parts[comm.rank]
        block = PartBlock(part, comm).through(Exchange(part, comm, Choices(rows="uniform", rate=rate)))
        layer = filled(FromPyG(pyg.TransformerConv(WIDTH, 3, heads=2)))
        out = layer(block, x[part.inner_ids].clone())
        place = block.exchange.drawer.at(block.exchange.occasion).arriving.place
        there = torch.ones(part.num_halo, dtype=torch.bool) if place is None else place >= 0
        joined = part.inner.followed_by(part.halo.keep(there[part.halo.indices.long()]))
        rows = torch.cat([x[part.inner_ids], x[part.halo_ids]])
        pairs = torch.stack([joined.indices.long(), joined.rows().long()])
        exact = layer.layer((rows, rows[: part.num_inner]), pairs)
        torch.testing.assert_close(out, exact, rtol=0, atol=1e-12)

    with caplog.at_level(logging.WARNING):
        run_ranks(2, body)
    assert ("not unbiased" in caplog.text) == (rate < 1)


def test_batch_norm_over_edges_is_refused():
    pyg = needed("torch_geometric.nn")
    net = nn.Sequential(nn.Linear(2 * WIDTH, 5), nn.BatchNorm1d(5))
    layer = FromPyG(pyg.EdgeConv(net)).train()
    with pytest.raises(InputError, match="over edges it is not that of a single device"):
        layer(LocalBlock.from_graph(graph_of()), torch.randn(NODES, WIDTH))
    assert not layer.row_wise


def test_a_layer_that_draws_for_itself_draws_the_same_when_it_is_computed_again():
    pyg = pytest.importorskip("torch_geometric.nn")

    def gradient(recompute):
        torch.manual_seed(3)
        layers = [FromPyG(pyg.GATv2Conv(6, 6, dropout=0.5, add_self_loops=False)) for _ in range(3)]
        x = torch.randn(NODES, 6, requires_grad=True)
        block, out = LocalBlock.from_graph(graph_of()), x
        torch.manual_seed(5)
        for layer in layers:
            out = recomputed(layer, block, out) if recompute else layer(block, out)
        out.square().sum().backward()
        return x.grad

    torch.testing.assert_close(gradient(True), gradient(False), rtol=0, atol=0)
