"""What is exported runs without gcnsys, on plain PyG or DGL, and gives the same logits."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch
from layers import NODES, dgl_graph, filled, graph_of, needed, normal

from gcnsys.cli.main import run
from gcnsys.errors import InputError
from gcnsys.files import save_arrays
from gcnsys.kernels import LocalBlock
from gcnsys.nn import ModelSettings, build_model
from gcnsys.nn.export import exported

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
    graph, x = graph_of(directed=name in ("sage", "gin")), normal(0, NODES, 7)
    model = filled(build_model(ModelSettings(name, hidden=8, heads=2, **shape), 7, 3, seed=0)).eval()
    for module in model.modules():
        if hasattr(module, "running_var"):
            module.running_mean.copy_(normal(3, 8))
            module.running_var.copy_(normal(4, 8).square() + 0.5)
    mine = model([LocalBlock.from_graph(graph)] * model.num_blocks, x).detach()
    theirs = loaded(tmp_path / "exported", exported(model, library))
    given = (x, graph.edge_index().long())
    if library == "dgl":
        given = (dgl_graph(graph, loops_added=False)[0], x)
    found = theirs(*given).detach()
    assert float((mine - found).abs().max() / mine.abs().max()) < 1e-12


def test_what_a_library_does_not_have_is_refused():
    outward = build_model(ModelSettings("gcn", gcn_norm="out-in"), 5, 3, seed=0)
    with pytest.raises(InputError, match="PyG's GCNConv has no gcn_norm = out-in"):
        exported(outward, "pyg")
    with pytest.raises(InputError, match="ResGCN cannot be exported yet"):
        exported(build_model(ModelSettings("resgcn"), 5, 3, seed=0), "pyg")


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
