"""What is known of edges and nodes survives cutting and reaches the layers that ask for it."""

import copy

import numpy as np
import pytest
import torch
from layers import NODES, PARTS, Answer, filled, needed, normal, ours, theirs
from torch import nn

from gcnsys.cli.main import run
from gcnsys.datasets.dataset import Dataset
from gcnsys.datasets.npz import save
from gcnsys.datasets.spec import load
from gcnsys.errors import InputError
from gcnsys.graph import Graph
from gcnsys.islands import Rounds, locate
from gcnsys.islands.locate import plain
from gcnsys.kernels import LocalBlock
from gcnsys.nn import GNN, FromDGL, FromPyG, KindLinear, RGCNConv, draw
from gcnsys.partition import Cutting, Partitioning, build, cut
from gcnsys.runtime import PartBlock, Placement
from gcnsys.runtime.choices import Choices
from gcnsys.runtime.exchange import Exchange
from gcnsys.sampling import Standard, WholeGraph
from gcnsys.sampling.api import samplers
from gcnsys.testing.ranks import run_ranks
from gcnsys.train import RunConfig, make_trainer

KINDS, WIDTH, EDGE_WIDTH = 4, 6, 3
CPU = Placement(torch.device("cpu"), "gloo")


def arrays(seed=0, edges=160):
    """Edges of four kinds, several between the same nodes, with features; nodes of two kinds."""
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, NODES - 1, (2, edges))  # the last node has none
    pairs[:, 1:20] = pairs[:, :1]
    return {
        "edge_index": pairs, "edge_type": rng.integers(0, KINDS, edges),
        "edge_attr": rng.standard_normal((edges, EDGE_WIDTH)).astype(np.float32),
        "node_type": rng.integers(0, 2, NODES), "y": rng.integers(0, 3, NODES),
        "x": rng.standard_normal((NODES, WIDTH)).astype(np.float32),
    }  # fmt: skip


def graph_of(**which):
    made = arrays()
    columns = {name: torch.from_numpy(made[name]) for name, there in which.items() if there}
    return Graph.from_edge_index(torch.from_numpy(made["edge_index"]), num_nodes=NODES, columns=columns)


def listed(graph):
    """Every edge with all that is known of it, in an order of its own."""
    columns = graph.adjacency.columns
    found = {}
    for number, pair in enumerate(graph.edge_index().T.tolist()):
        kind = int(columns["edge_type"][number]) if "edge_type" in columns else 0
        found[(*pair, kind)] = columns["edge_attr"][number].tolist() if "edge_attr" in columns else None
    return found


def test_equal_edges_of_one_kind_become_one_with_the_mean_of_their_features():
    made, graph = arrays(), graph_of(edge_type=True, edge_attr=True)
    expected = {}
    for source, target, kind, features in zip(
        *made["edge_index"].tolist(), made["edge_type"].tolist(), made["edge_attr"], strict=True
    ):
        expected.setdefault((source, target, kind), []).append(features)
    found = listed(graph)
    assert found.keys() == expected.keys()
    assert len(found) < made["edge_type"].size
    for key, features in expected.items():
        assert found[key] == pytest.approx(np.mean(features, 0).tolist(), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("operation", ["transposed", "rows", "keep", "followed", "symmetrized", "induced"])
def test_columns_go_where_their_edges_go(operation):
    graph = graph_of(edge_type=True, edge_attr=True)
    before, csr = listed(graph), graph.adjacency
    if operation == "transposed":
        found = listed(Graph(csr.transposed(), False))
        assert found == {(b, a, kind): features for (a, b, kind), features in before.items()}
    if operation == "rows":
        order = torch.randperm(NODES, generator=torch.Generator().manual_seed(0))
        taken = Graph(csr.take_rows(order), False)
        place = {int(node): place for place, node in enumerate(order)}
        assert listed(taken) == {(a, place[b], kind): f for (a, b, kind), f in before.items()}
    if operation == "keep":
        kept = csr.keep(csr.columns["edge_type"] == 2)
        assert listed(Graph(kept, False)) == {key: f for key, f in before.items() if key[2] == 2}
    if operation == "followed":
        even = csr.indices % 2 == 0
        joined = csr.keep(even).followed_by(csr.keep(~even))
        found = {(a % NODES, b, k): f for (a, b, k), f in listed(Graph(joined, False)).items()}
        assert found == before
    if operation == "symmetrized":
        both = graph.symmetrized()
        assert both.is_symmetric
        for (a, b, kind), features in listed(both).items():
            ways = [before[key] for key in ((a, b, kind), (b, a, kind)) if key in before]
            ways = ways[:1] if a == b else ways
            assert features == pytest.approx(np.mean(ways, 0).tolist(), rel=1e-5, abs=1e-6)
    if operation == "induced":
        nodes = torch.arange(NODES - 1, -1, -2)
        found = listed(graph.induced(nodes))
        place = {int(node): place for place, node in enumerate(nodes)}
        inside = {k: f for k, f in before.items() if k[0] in place and k[1] in place}
        assert found == {(place[a], place[b], kind): f for (a, b, kind), f in inside.items()}


def test_a_graph_file_keeps_them(tmp_path):
    dataset = Dataset.from_arrays("kinds", arrays())
    for name in ("one.npz", "folder"):
        save(dataset, tmp_path / name)
        again = load(f"{'npz' if name.endswith('npz') else 'npy'}:{tmp_path / name}", undirected=False)
        assert listed(again.graph) == listed(dataset.graph)
        assert torch.equal(again.node_type, dataset.node_type)


@pytest.mark.parametrize("inductive", [False, True])
def test_parts_on_disk_hold_the_edges_of_the_graph_and_the_kinds_of_their_nodes(tmp_path, inductive):
    dataset = Dataset.from_arrays("kinds", arrays())
    build(dataset, Cutting(3, "random", inductive=inductive), tmp_path / "cut")
    partitioning = Partitioning.open(tmp_path / "cut")
    manifest = partitioning.manifest
    assert (manifest.edge_features, manifest.edge_kinds, manifest.node_kinds) == (EDGE_WIDTH, KINDS, 2)
    found, trained = {}, {}
    for rank in range(3):
        part = partitioning.part(rank, checked=True)
        for graph, into in ((part.whole, found), (part.training, trained)):
            ids = torch.cat([graph.inner_ids, graph.halo_ids]).tolist()
            for (a, b, kind), features in listed(Graph(graph.inner.followed_by(graph.halo), False)).items():
                into[ids[a], ids[b], kind] = features
        assert torch.equal(part.nodes.kinds, dataset.node_type[part.whole.inner_ids])
    assert found == listed(dataset.graph)
    mask = dataset.train_mask
    if inductive:
        assert trained == {key: f for key, f in found.items() if mask[key[0]] and mask[key[1]]}


def dense_rgcn(layer, graph, x):
    """Adjacency matrices, one a kind."""
    out = x @ layer.own.weight.T + layer.own.bias
    for kind in range(KINDS):
        matrix = torch.zeros(NODES, NODES, dtype=x.dtype)
        for source, target, its in listed(graph):
            matrix[target, source] += its == kind
        mean = matrix / matrix.sum(1, keepdim=True).clamp(min=1)
        out = out + mean @ x @ layer.weights[kind]
    return out


@PARTS
@pytest.mark.parametrize("bases", [None, 2])
def test_rgcn_is_dense_algebra_on_any_number_of_parts(num_parts, bases):
    graph, x = graph_of(edge_type=True), normal(0, NODES, WIDTH)

    def make():
        return RGCNConv(WIDTH, 5, KINDS, num_bases=bases)

    layer, rows = filled(make()), x.clone().requires_grad_()
    out = dense_rgcn(layer, graph, rows)
    out.backward(normal(9, NODES, 5))
    grads = {name: value.grad for name, value in layer.named_parameters()}
    ours(make, graph, x, num_parts).assert_equals(Answer(out.detach(), rows.grad, grads))


@PARTS
@pytest.mark.parametrize("bases", [None, 2])
def test_rgcn_is_that_of_pyg(num_parts, bases):
    pyg = needed("torch_geometric.nn")
    graph, x = graph_of(edge_type=True), normal(0, NODES, WIDTH)
    kinds = graph.adjacency.columns["edge_type"].long()

    def make():
        return RGCNConv(WIDTH, 5, KINDS, num_bases=bases)

    names = {"weight": "bases", "root": "own.weight.T", "bias": "own.bias"}
    names |= {} if bases is None else {"comp": "shares"}
    exact = theirs(
        pyg.RGCNConv(WIDTH, 5, KINDS, num_bases=bases), make, names, x,
        lambda layer, x: layer(x, graph.edge_index().long(), kinds),
    )  # fmt: skip
    ours(make, graph, x, num_parts).assert_equals(exact)


@pytest.mark.parametrize("num_parts", [1, 2, 3])
@pytest.mark.parametrize("bases", [None, 2])
def test_twenty_steps_of_rgcn_are_those_of_pyg(tmp_path, num_parts, bases):
    pyg = needed("torch_geometric.nn")
    dataset = Dataset.from_arrays("kinds", arrays())
    build(dataset, Cutting(num_parts, "random"), tmp_path / "cut")
    partitioning = Partitioning.open(tmp_path / "cut")
    config = RunConfig(data=str(tmp_path / "cut"), dtype="float64", lr=0.02, prune="off")

    def made():
        convs = [RGCNConv(a, b, KINDS, num_bases=bases) for a, b in ((WIDTH, 7), (7, 3))]
        return draw(GNN(convs, dropout=0.0), seed=3)

    def body(comm):
        trainer = make_trainer(partitioning, config, comm, CPU, model=made())
        found = [epoch.loss for epoch in trainer.epochs(20)]
        return found, {name: value.detach().clone() for name, value in trainer.model.named_parameters()}

    source = made().double()
    theirs = nn.ModuleList(
        pyg.RGCNConv(a, b, KINDS, num_bases=bases) for a, b in ((WIDTH, 7), (7, 3))
    ).double()
    with torch.no_grad():
        for mine, other in zip(source.convs, theirs, strict=True):
            other.weight.copy_(mine.bases)
            other.root.copy_(mine.own.weight.T)
            other.bias.copy_(mine.own.bias)
            if bases is not None:
                other.comp.copy_(mine.shares)
    edges, kinds = dataset.graph.edge_index().long(), dataset.graph.adjacency.columns["edge_type"].long()
    x, optimizer, exact = dataset.x.double(), torch.optim.Adam(theirs.parameters(), lr=0.02), []
    for _ in range(20):
        logits = theirs[1](theirs[0](x, edges, kinds).relu(), edges, kinds)
        loss = nn.functional.cross_entropy(logits[dataset.train_mask], dataset.y[dataset.train_mask])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        exact.append(loss.item())
    losses, weights = run_ranks(num_parts, body)[0]
    assert exact[-1] < 0.8 * exact[0]
    assert losses == pytest.approx(exact, rel=1e-9)
    for number, other in enumerate(theirs):
        torch.testing.assert_close(weights[f"convs.{number}.own.weight"], other.root.T, rtol=0, atol=1e-9)
        torch.testing.assert_close(weights[f"convs.{number}.bases"], other.weight, rtol=0, atol=1e-9)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_relational_means_are_over_what_was_drawn(rate):
    graph, x = graph_of(edge_type=True), normal(0, NODES, WIDTH)
    parts = cut(graph, torch.arange(NODES) % 2, 2)

    def body(comm):
        part = parts[comm.rank]
        block = PartBlock(part, comm).through(Exchange(part, comm, Choices(rows="uniform", rate=rate)))
        layer = filled(RGCNConv(WIDTH, 5, KINDS, num_bases=2))
        out = layer(block, x[part.inner_ids].clone())
        place = block.exchange.drawer.at(block.exchange.occasion).arriving.place
        kept = part.halo.keep((place >= 0)[part.halo.indices.long()])
        joined = part.inner.followed_by(kept)
        alone = LocalBlock(joined, torch.cat([part.inner_ids, part.halo_ids]), part.degrees)
        exact = layer(alone, torch.cat([x[part.inner_ids], x[part.halo_ids]]))
        torch.testing.assert_close(out, exact, rtol=0, atol=1e-12)

    run_ranks(2, body)


PYG = {
    "TransformerConv": (lambda pyg: pyg.TransformerConv(WIDTH, 3, heads=2, edge_dim=EDGE_WIDTH), "edge_attr"),
    "GATv2Conv": (lambda pyg: pyg.GATv2Conv(WIDTH, 3, edge_dim=EDGE_WIDTH), "edge_attr"),
    "GENConv": (lambda pyg: pyg.GENConv(WIDTH, 5, norm="layer", edge_dim=EDGE_WIDTH), "edge_attr"),
    "GINEConv": (lambda pyg: pyg.GINEConv(nn.Linear(WIDTH, 5), edge_dim=EDGE_WIDTH), "edge_attr"),
    "NNConv": (lambda pyg: pyg.NNConv(WIDTH, 4, nn.Linear(EDGE_WIDTH, WIDTH * 4)), "edge_attr"),
    "RGCNConv": (lambda pyg: pyg.RGCNConv(WIDTH, 5, KINDS, num_bases=2), "edge_type"),
    "FiLMConv": (lambda pyg: pyg.FiLMConv(WIDTH, 5, num_relations=KINDS), "edge_type"),
}


@PARTS
@pytest.mark.parametrize("name", PYG)
def test_layers_of_pyg_get_features_and_kinds_of_edges(num_parts, name):
    pyg = needed("torch_geometric.nn")
    make, column = PYG[name]
    graph, x = graph_of(**{column: True}), normal(0, NODES, WIDTH)
    values = graph.adjacency.columns[column]
    values = values.double() if column == "edge_attr" else values.long()
    layer, rows = filled(make(pyg)), x.clone().requires_grad_()
    out = layer(rows, graph.edge_index().long(), values)
    out.backward(normal(9, *out.shape))
    grads = {f"layer.{key}": value.grad for key, value in layer.named_parameters()}
    exact = Answer(out.detach(), rows.grad, grads)
    ours(lambda: FromPyG(make(pyg)), graph, x, num_parts).assert_equals(exact)


@PARTS
def test_modules_of_dgl_get_features_of_edges(num_parts):
    layers, dgl = needed("dgl.nn.pytorch"), needed("dgl")
    graph, x = graph_of(edge_attr=True), normal(0, NODES, WIDTH)

    def make():
        return layers.EdgeGATConv(WIDTH, EDGE_WIDTH, 3, 2, allow_zero_in_degree=True)

    layer, rows = filled(make()), x.clone().requires_grad_()
    whole = dgl.graph(tuple(graph.edge_index().long()), num_nodes=NODES)
    out = layer(whole, rows, graph.adjacency.columns["edge_attr"].double()).flatten(1)
    out.backward(normal(9, *out.shape))
    grads = {f"layer.{key}": value.grad for key, value in layer.named_parameters()}
    exact = Answer(out.detach(), rows.grad, grads)
    ours(lambda: FromDGL(make()), graph, x, num_parts).assert_equals(exact)


def test_kinds_of_nodes_choose_the_linear_map():
    layer = filled(KindLinear(WIDTH, 5, 2))
    block, x = LocalBlock.from_graph(graph_of()), normal(0, NODES, WIDTH)
    with pytest.raises(InputError, match="does not say of what kind its nodes are"):
        layer(block, x)
    block.input_kinds = torch.arange(NODES) % 2
    out = layer(block, x)
    for kind in range(2):
        torch.testing.assert_close(out[kind::2], layer.linears[kind](x[kind::2]))
    block.input_kinds = torch.arange(NODES) % 3
    with pytest.raises(InputError, match="a node of kind 2, the layer knows 2 kinds"):
        layer(block, x)


def test_the_command_line_trains_rgcn_and_predicts_the_same_on_other_parts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("kinds.npz", **arrays())
    options = ["--model", "rgcn", "--bases", "2", "--epochs", "5", "--directed", "--out", "run"]
    assert run(["train", "npz:kinds.npz", *options]) == 0
    for parts in ("1", "3"):
        assert run(["predict", "run", "npz:kinds.npz", "--parts", parts, "--out", f"{parts}.npy"]) == 0
    one, three = np.load("1.npy"), np.load("3.npy")
    assert np.abs(one - three).max() / np.abs(one).max() < 1e-6
    assert run(["partition", "show", "run"]) == 2


REFUSED = {
    "a kind below 0": ({"edge_type": -np.ones(160, np.int64)}, "edge_type holds -1; kinds count from 0"),
    "kinds that are numbers": ({"edge_type": np.ones(160)}, "edge_type must hold integers"),
    "too few kinds": ({"edge_type": np.ones(9, np.int64)}, r"edge_type must have shape \[160\], got \[9\]"),
    "flat features": ({"edge_attr": np.ones(160)}, r"edge_attr must have shape \[160, K\], got \[160\]"),
    "features that are not": ({"edge_attr": np.full((160, 1), np.nan)}, "edge_attr holds NaN"),
    "kinds of other nodes": ({"node_type": np.zeros(3, np.int64)}, r"node_type must be \[30\] integers"),
    "kinds of nodes below 0": ({"node_type": np.full(NODES, -2)}, "node_type holds -2; kinds count from 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_known_of_an_edge_or_a_node_is_refused(case):
    changed, sentence = REFUSED[case]
    with pytest.raises(InputError, match=sentence):
        Dataset.from_arrays("kinds", {**arrays(), **changed})


def test_a_layer_must_know_the_kinds_of_its_graph():
    with pytest.raises(InputError, match="the graph has 4 kinds of edges, the layer knows 3"):
        RGCNConv(WIDTH, 5, 3)(LocalBlock.from_graph(graph_of(edge_type=True)), torch.randn(NODES, WIDTH))
    with pytest.raises(InputError, match="num_kinds and num_bases must be at least 1, got 0 and None"):
        RGCNConv(3, 3, 0)
    columns = {"colour": torch.zeros(2)}
    with pytest.raises(InputError, match="colour is not known of edges; there are edge_attr and edge_type"):
        Graph.from_edge_index(torch.zeros(2, 2, dtype=torch.long), num_nodes=1, columns=columns)


def test_a_rank_without_edges_has_the_gradients_that_the_others_have():
    made = arrays()
    made["edge_index"] = made["edge_index"] % 20  # the nodes of the last part have none
    pairs, kinds = (torch.from_numpy(made[name]) for name in ("edge_index", "edge_type"))
    graph = Graph.from_edge_index(pairs, num_nodes=NODES, columns={"edge_type": kinds})
    x, assignment = torch.from_numpy(made["x"]).double(), torch.arange(NODES).clamp(max=20) // 20
    parts = cut(graph, assignment, 2)
    layers = [filled(RGCNConv(WIDTH, WIDTH, KINDS, num_bases=2).double()) for _ in range(2)]

    def gradients(block, rows):
        own = copy.deepcopy(layers)
        out = rows
        for layer in own:
            out = layer(block, out)
        out.square().sum().backward()
        found = [weight.grad for layer in own for weight in layer.parameters()]
        assert all(each is not None for each in found)
        return found

    def body(comm):
        part = parts[comm.rank]
        return [comm.add(each) for each in gradients(PartBlock(part, comm), x[part.inner_ids])]

    for found in run_ranks(2, body):
        for one, other in zip(found, gradients(LocalBlock.from_graph(graph), x), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_edges_of_several_kinds_between_two_nodes_count_once_where_pairs_matter():
    pairs, kinds = torch.tensor([[0, 0, 1, 2], [1, 1, 2, 1]]), torch.tensor([0, 1, 0, 1])
    graph = Graph.from_edge_index(pairs, num_nodes=3, columns={"edge_type": kinds}).symmetrized()
    assert int(graph.adjacency.repeated.sum()) == 4
    assert plain(graph).num_edges == 4
    before = locate(Graph.from_edge_index(torch.tensor([[1], [2]]), num_nodes=3))
    after = before.updated(graph, Rounds())
    ends = after.island_of[plain(graph).edge_index()]
    assert not bool(((ends >= 0).all(0) & (ends[0] != ends[1])).any())
    with pytest.raises(InputError, match="saint-edge draws pairs of nodes"):
        samplers.get("saint-edge")(WholeGraph(graph), Standard(layers=1, fanouts=(2,), budget=2))
