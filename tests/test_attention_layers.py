"""Attention layers equal those of PyG and DGL, whole and over ranks, and see what was drawn alone."""

import pytest
import torch
from layers import NODES, PARTS, dgl_graph, filled, graph_of, needed, normal, ours, theirs
from oracle import keep_edges

from gcnsys.errors import InputError
from gcnsys.graph import CSR
from gcnsys.kernels import LocalBlock
from gcnsys.nn import GATConv, GATv2Conv, ModelSettings, build_model, set_dropout_epoch
from gcnsys.partition import cut
from gcnsys.runtime import PartBlock
from gcnsys.runtime.choices import Choices
from gcnsys.runtime.exchange import Exchange
from gcnsys.testing.ranks import run_ranks

SHAPES = pytest.mark.parametrize(
    ("width_in", "features", "heads", "average"),
    [(9, 3, 2, False), (5, 3, 4, False), (5, 3, 4, True), (12, 4, 1, True)],
)


def layer_of(width_in, features, heads, average, kind=GATConv, **options):
    return kind(width_in, features if average else heads * features, heads=heads, average=average, **options)


@PARTS
@SHAPES
@pytest.mark.parametrize("directed", [False, True])
def test_gat_is_that_of_pyg(num_parts, directed, width_in, features, heads, average):
    pyg = needed("torch_geometric.nn")
    graph, x = graph_of(directed=directed), normal(0, NODES, width_in)
    edges = graph.edge_index().long()

    def make():
        return layer_of(width_in, features, heads, average)

    names = {"lin.weight": "linear.weight", "att_src": "neighbours", "att_dst": "own", "bias": "bias"}
    their_layer = pyg.GATConv(width_in, features, heads=heads, concat=not average)
    exact = theirs(their_layer, make, names, x, lambda layer, x: layer(x, edges))
    ours(make, graph, x, num_parts).assert_equals(exact)


@PARTS
@SHAPES
@pytest.mark.parametrize("bias", [True, False])
def test_gatv2_is_that_of_pyg(num_parts, bias, width_in, features, heads, average):
    pyg = needed("torch_geometric.nn")
    graph, x = graph_of(), normal(0, NODES, width_in)
    edges = graph.edge_index().long()

    def make():
        return layer_of(width_in, features, heads, average, kind=GATv2Conv, bias=bias)

    names = {"lin_l.weight": "neighbours.weight", "lin_r.weight": "own.weight", "att": "vector"}
    if bias:
        names |= {"lin_l.bias": "neighbours.bias", "lin_r.bias": "own.bias", "bias": "bias"}
    their_layer = pyg.GATv2Conv(width_in, features, heads=heads, concat=not average, bias=bias)
    exact = theirs(their_layer, make, names, x, lambda layer, x: layer(x, edges))
    ours(make, graph, x, num_parts).assert_equals(exact)


@PARTS
def test_gat_is_that_of_dgl(num_parts):
    layers = needed("dgl.nn.pytorch")
    graph, x = graph_of(), normal(0, NODES, 7)
    their_graph, _ = dgl_graph(graph, loops_added=True)

    def make():
        return layer_of(7, 3, 2, False)

    names = {"fc.weight": "linear.weight", "attn_l": "neighbours", "attn_r": "own", "bias": "bias"}
    exact = theirs(layers.GATConv(7, 3, 2), make, names, x, lambda layer, x: layer(their_graph, x).flatten(1))
    ours(make, graph, x, num_parts).assert_equals(exact)


@PARTS
def test_gatv2_is_that_of_dgl(num_parts):
    layers = needed("dgl.nn.pytorch")
    graph, x = graph_of(), normal(0, NODES, 7)
    their_graph, _ = dgl_graph(graph, loops_added=True)

    def make():
        return layer_of(7, 3, 2, False, kind=GATv2Conv, bias=False)

    names = {"fc_src.weight": "neighbours.weight", "fc_dst.weight": "own.weight", "attn": "vector"}
    their_layer = layers.GATv2Conv(7, 3, 2, bias=False)
    exact = theirs(their_layer, make, names, x, lambda layer, x: layer(their_graph, x).flatten(1))
    ours(make, graph, x, num_parts).assert_equals(exact)


@pytest.mark.parametrize("kind", [GATConv, GATv2Conv])
@pytest.mark.parametrize("schedule", ["sync", "overlap"])
@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("width_in", [4, 12])
def test_the_softmax_is_over_what_was_drawn(width_in, rate, schedule, kind):
    """Edges from rows that did not cross are as good as absent."""
    graph, x = graph_of(), normal(0, NODES, width_in)
    parts = cut(graph, torch.arange(NODES) % 2, 2)

    def body(comm):
        part = parts[comm.rank]
        exchange = Exchange(part, comm, Choices(rows="uniform", rate=rate, schedule=schedule))
        block = PartBlock(part, comm).through(exchange)
        layer = filled(layer_of(width_in, 3, 2, False, kind=kind))
        out = layer(block, x[part.inner_ids].clone())
        place = exchange.drawer.at(exchange.occasion).arriving.place
        there = torch.ones(part.num_halo, dtype=torch.bool) if place is None else place >= 0
        assert int(there.sum()) == -int(-rate * part.num_halo // 1)
        kept = part.halo.keep(there[part.halo.indices.long()])
        joined = CSR.followed_by(part.inner, kept)
        rows = torch.cat([x[part.inner_ids], x[part.halo_ids]])
        alone = LocalBlock(joined, torch.cat([part.inner_ids, part.halo_ids]), part.degrees)
        torch.testing.assert_close(out, layer(alone, rows), rtol=0, atol=1e-12)

    run_ranks(2, body)


def test_attention_weights_are_dropped_by_key():
    graph, x = graph_of(), normal(0, NODES, 4)
    layer = filled(layer_of(4, 3, 2, False, dropout=0.4)).train()
    set_dropout_epoch(layer, seed=7, epoch=3)
    block = LocalBlock.from_graph(graph)
    h = (x @ layer.linear.weight.T).view(NODES, 2, 3)
    logits = (h * layer.own).sum(2)[:, None] + (h * layer.neighbours).sum(2)[None]
    edge = torch.eye(NODES, dtype=torch.bool)
    source, target = graph.edge_index().long()
    edge[target, source] = True
    weight = torch.nn.functional.leaky_relu(logits, 0.2).masked_fill(~edge[:, :, None], -torch.inf).softmax(1)
    mask = torch.from_numpy(keep_edges(0.4, 7, 3, 0, torch.arange(NODES).numpy(), 2))
    out = torch.einsum("vuh,uhf->vhf", weight * mask / 0.6, h).flatten(1) + layer.bias
    torch.testing.assert_close(layer(block, x), out, rtol=0, atol=1e-11)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(InputError, match="10 features cannot be divided among 4 heads"):
        build_model(ModelSettings("gat", hidden=10, heads=4), 5, 3, seed=0)
    with pytest.raises(InputError, match="heads and out_heads must be at least 1"):
        ModelSettings("gat", heads=0)
