"""What is exported runs without gcnsys, on plain PyG or DGL, and gives the same logits."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch
from layers import NODES, dgl_graph, filled, graph_of, needed, normal
from small import assigned, perturbed, small, trained_model

from gcnsys.cli.main import run
from gcnsys.errors import InputError
from gcnsys.files import save_arrays
from gcnsys.graph import Graph
from gcnsys.kernels import LocalBlock
from gcnsys.nn import GNN, GENConv, Model, ModelSettings, build_model
from gcnsys.nn.export import exported

STEPS = 20
MODELS = ["gcn", "sage", "gin", "gat", "gatv2"]
SHAPES = [
    {}, {"layers": 3, "residual": True, "norm": "layer"}, {"layers": 3, "linear_layers": 1, "norm": "batch"},
    {"layers": 1}, {"layers": 3, "residual": True, "activation": "elu", "out_heads": 3},
]  # fmt: skip


def loaded(folder, made):
    """The module that was exported, as its reader imports it."""
    folder.mkdir()
    (folder / "model.py").write_text(made.source)
    save_arrays(folder / "weights.safetensors", made.state)
    spec = importlib.util.spec_from_file_location("exported_model", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load()


@pytest.mark.parametrize("library", ["pyg", "dgl"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_it_gives_the_same_logits(tmp_path, name, shape, library):
    needed("torch_geometric.nn" if library == "pyg" else "dgl.nn.pytorch")
    model = filled(build_model(ModelSettings(name, hidden=8, heads=2, **shape), 7, 3, seed=0)).eval()
    compare(tmp_path, model, library, directed=name in ("sage", "gin"))


def compare(tmp_path, model, library, *, directed):
    """What a model gives, and what is exported of it."""
    graph, x = graph_of(directed=directed), normal(0, NODES, 7)
    for module in model.modules():
        if hasattr(module, "running_var"):
            module.running_mean.copy_(normal(3, module.running_mean.numel()))
            module.running_var.copy_(normal(4, module.running_var.numel()).square() + 0.5)
    mine = model([LocalBlock.from_graph(graph)] * model.num_blocks, x).detach()
    theirs = loaded(tmp_path / "exported", exported(model, library))
    given = (x, graph.edge_index().long())
    if library == "dgl":
        given = (dgl_graph(graph, loops_added=False)[0], x)
    found = theirs(*given).detach()
    assert float((mine - found).abs().max() / mine.abs().max()) < 1e-12


DEEP = {
    "resgcn-softmax": {"layers": 4}, "resgcn-mean": {"layers": 3, "aggregation": "mean", "norm": "layer"},
    "resgcn-none": {"layers": 2, "norm": "none", "temperature": 0.7},
    "gcnii-batch": {"layers": 4, "norm": "batch", "alpha": 0.3}, "gcnii-none": {"layers": 3, "theta": 1.5},
    "appnp-deep": {"layers": 3, "hops": 4, "alpha": 0.2}, "appnp-one": {"layers": 1},
    "appnp-outward": {"gcn_norm": "out-in"},
    "sgc-three": {"hops": 3},
}  # fmt: skip


@pytest.mark.parametrize("library", ["pyg", "dgl"])
@pytest.mark.parametrize("case", DEEP)
def test_deep_models_and_propagations_give_the_same_logits(tmp_path, case, library):
    needed("torch_geometric.nn" if library == "pyg" else "dgl.nn.pytorch")
    name = case.partition("-")[0]
    if (name, library) == ("resgcn", "dgl") or (case, library) == ("appnp-outward", "pyg"):
        pytest.skip("there is no such layer")
    model = filled(build_model(ModelSettings(name, hidden=8, **DEEP[case]), 7, 3, seed=0)).eval()
    outward = getattr(model, "norm", "") == "out-in"
    compare(tmp_path, model, library, directed=name == "resgcn" or outward)


@pytest.mark.parametrize("learnt", [False, True])
@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_generalized_convolutions_with_an_mlp_do_too(tmp_path, norm, learnt):
    needed("torch_geometric.nn")
    options = {"mlp_layers": 2, "norm": norm, "temperature": 0.8, "learn_temperature": learnt}
    model = filled(GNN([GENConv(7, 8, **options), GENConv(8, 8, **options)])).eval()
    compare(tmp_path, model, "pyg", directed=True)


@pytest.mark.parametrize("bases", [None, 2])
def test_rgcn_takes_the_kinds_of_edges_along(tmp_path, bases):
    needed("torch_geometric.nn")
    generator = torch.Generator().manual_seed(0)
    pairs = torch.randint(NODES, (2, 150), generator=generator)
    columns = {"edge_type": torch.randint(3, (150,), generator=generator)}
    graph, x = Graph.from_edge_index(pairs, num_nodes=NODES, columns=columns), normal(0, NODES, 7)
    settings = ModelSettings("rgcn", 3, 8, residual=True, norm="layer", bases=bases, edge_kinds=3)
    model = filled(build_model(settings, 7, 4, seed=0)).eval()
    mine = model([LocalBlock.from_graph(graph)] * 3, x).detach()
    theirs = loaded(tmp_path / "exported", exported(model, "pyg"))
    found = theirs(x, graph.edge_index().long(), graph.adjacency.columns["edge_type"].long()).detach()
    assert float((mine - found).abs().max() / mine.abs().max()) < 1e-12
    with pytest.raises(InputError, match="RGCNConv has no counterpart in dgl"):
        exported(model, "dgl")


@pytest.mark.parametrize("num_parts", [1, 2, 3])
@pytest.mark.parametrize("library", ["pyg", "dgl"])
@pytest.mark.parametrize("name", MODELS)
def test_twenty_steps_of_training_are_those_of_the_other_library(tmp_path, name, library, num_parts):
    needed("torch_geometric.nn" if library == "pyg" else "dgl.nn.pytorch")
    if (name, library) == ("gatv2", "dgl"):
        pytest.skip("DGL's has its biases in other places, so that they learn in other steps")
    norm = "batch" if name in ("sage", "gatv2") else "layer"
    settings = ModelSettings(name, 3, 6, dropout=0.0, heads=2, norm=norm, train_eps=True)

    made = small("undirected" if name in ("gcn", "gat", "gatv2") else "directed")
    data, model = made.dataset, perturbed(settings).double()
    theirs = loaded(tmp_path / "exported", exported(model, library)).train()
    given = (made.x.double(), data.graph.edge_index().long())
    if library == "dgl":
        graph = needed("dgl").graph(tuple(given[1]), num_nodes=data.graph.num_nodes)
        given = (graph, given[0])
    optimizer, losses = torch.optim.Adam(theirs.parameters(), lr=0.01), []
    for _ in range(STEPS):
        loss = torch.nn.functional.cross_entropy(theirs(*given)[data.train_mask], data.y[data.train_mask])
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    logits = theirs.eval()(*given).detach()
    mine = trained_model(
        lambda: perturbed(settings), made, assigned(made, "random", num_parts), num_parts, epochs=STEPS
    )
    there = ~mine.logits.isnan().any(1)
    assert float((mine.losses - torch.tensor(losses, dtype=torch.float64)).abs().max()) < 1e-9
    assert float((mine.logits - logits)[there].abs().max() / logits.abs().max()) < 1e-9
    assert losses[-1] < 0.97 * losses[0]


class Own(Model):
    num_blocks = 1

    def forward(self, blocks, x):
        return blocks[0].sum(x)


def test_what_a_library_does_not_have_is_refused():
    outward = build_model(ModelSettings("gcn", gcn_norm="out-in"), 5, 3, seed=0)
    with pytest.raises(InputError, match="PyG's GCNConv has no gcn_norm = out-in"):
        exported(outward, "pyg")
    for name, library, sentence in (
        ("resgcn", "dgl", "GENConv has no counterpart in dgl"),
        ("sgc", "pyg", "SGC of gcn_norm = out-in has no counterpart in pyg"),
        ("appnp", "pyg", "APPNP of gcn_norm = out-in has no counterpart in pyg"),
    ):
        with pytest.raises(InputError, match=sentence):
            exported(build_model(ModelSettings(name, gcn_norm="out-in"), 5, 3, seed=0), library)
    with pytest.raises(InputError, match="PyG's GENConv has no MLP without norms"):
        exported(GNN([GENConv(5, 3, mlp_layers=2, norm="none")]), "pyg")
    with pytest.raises(InputError, match="Own cannot be exported; of this package's models, GNN, ResGCN"):
        exported(Own(), "pyg")


def test_the_command_writes_a_folder_that_stands_alone(tmp_path, monkeypatch, capsys):
    needed("torch_geometric.nn")
    monkeypatch.chdir(tmp_path)
    assert run(["train", "digits", "--epochs", "3", "--out", "run"]) == 0
    assert run(["export", "run", "--to", "pyg", "--out", "plain"]) == 0
    assert run(["export", "run", "--out", "plain"]) == 2
    assert "plain exists; choose another --out or pass --overwrite" in capsys.readouterr().err
    assert run(["predict", "run", "--out", "scores.npy"]) == 0
    script = (
        "import sys, numpy, torch, model\n"
        "from torch_geometric.utils import to_undirected\n"
        "x, edges = (torch.from_numpy(numpy.load(f'../{name}.npy')) for name in ('x', 'edges'))\n"
        "assert 'gcnsys' not in sys.modules\n"
        "numpy.save('../theirs.npy', model.load()(x, edges).detach().numpy())\n"
    )
    from gcnsys.datasets.spec import load

    dataset = load("digits")
    np.save("x.npy", dataset.x.numpy())
    np.save("edges.npy", dataset.graph.edge_index().long().numpy())
    subprocess.run([sys.executable, "-c", script], cwd="plain", check=True, capture_output=True)
    mine, theirs = np.load("scores.npy"), np.load("theirs.npy")
    assert np.abs(mine - theirs).max() / np.abs(mine).max() < 1e-5
    assert torch.from_numpy(theirs).argmax(1).eq(torch.from_numpy(mine).argmax(1)).float().mean() > 0.999
