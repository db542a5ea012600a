"""Run files are runs, both sides of the accuracy experiment are one model, and its check notices."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # experiments/ is not installed

from experiments import runfile
from experiments.accuracy import check, ours, run
from experiments.accuracy.history import Evaluated, History
from experiments.accuracy.results import Experiment, claims_on, page, recorded
from experiments.bench import Bench
from experiments.claim import named
from gcnsys.datasets import Dataset, load
from gcnsys.errors import InputError
from gcnsys.kernels import LocalBlock, SparseRows
from gcnsys.nn import GNN, build_model
from gcnsys.train import RunConfig

TOML_FILES = sorted((runfile.ROOT / "experiments").rglob("*.toml"))
RUN_FILES = [path for path in TOML_FILES if path.name not in ("pyproject.toml", "claim.toml")]


@pytest.fixture
def pyg():
    pytest.importorskip("torch_geometric", reason="PyG's layers need gcnsys[pyg]")
    from experiments.accuracy import pyg

    return pyg


def few_words(share: float = 0.05) -> Dataset:
    """A graph with a self-loop, a node without edges, and features of which few are not zero."""
    draw = np.random.default_rng(5)
    pairs = draw.integers(0, 39, (2, 120))
    words = draw.random((40, 60)) * (draw.random((40, 60)) < share)
    rows, columns = np.nonzero(words)
    arrays = {
        "edge_index": np.concatenate([pairs, pairs[::-1], [[3], [3]]], axis=1),
        "x_indptr": np.concatenate([[0], np.bincount(rows, minlength=40).cumsum()]),
        "x_indices": columns,
        "x_data": words[rows, columns],
        "x_shape": np.array(words.shape),
        "y": draw.integers(0, 3, 40),
    }
    return Dataset.from_arrays("few-words", arrays)


@pytest.mark.parametrize("path", RUN_FILES, ids=lambda path: path.stem)
def test_every_run_file_is_a_run(path):
    assert isinstance(runfile.read(path, Path("graphs")), RunConfig)


def test_a_run_file_names_its_graph_within_the_data_folder():
    assert runfile.read(run.FOLDER / "cora.toml", Path("graphs"), seed=3).data == "npz:graphs/cora.npz"


def test_every_run_file_of_the_experiment_is_run():
    files = {path.stem for path in RUN_FILES if path.parent == run.FOLDER}
    assert files == {experiment.run for experiment in run.EXPERIMENTS}


def test_the_record_covers_every_run_meets_every_claim_and_is_the_page():
    results = run.on_record()
    assert list(results["runs"]) == [experiment.run for experiment in run.EXPERIMENTS]
    for experiment in run.EXPERIMENTS:
        record = results["runs"][experiment.run]
        assert tuple(record["sides"]) == experiment.sides
        assert all(len(side["test_acc"]) == experiment.seeds for side in record["sides"].values())
        assert all(claim.met for claim in claims_on(experiment, record))
    assert run.RESULTS.with_suffix(".md").read_text() == page(results)


def with_weights_of(net, config: RunConfig, data: Dataset) -> GNN:
    """Our model with the weights of PyG's; biases, which start at zero or nearly, are drawn anew."""
    model = build_model(config.model_settings(), data.num_features, data.num_classes, seed=0)
    for conv, layer in zip(model.convs, (net.first, net.second), strict=True):
        if config.model == "gcn":
            pairs = [(conv.linear.weight, layer.lin.weight), (conv.linear.bias, layer.bias)]
        else:
            pairs = [(conv.neighbours.weight, layer.lin_l.weight), (conv.neighbours.bias, layer.lin_l.bias)]
            pairs += [(conv.own.weight, layer.lin_r.weight)]
        for mine, theirs in pairs:
            if theirs.ndim == 1:
                torch.nn.init.normal_(theirs)
            mine.data.copy_(theirs)
    return model


@pytest.mark.parametrize("share", [0.05, 0.3])
@pytest.mark.parametrize("name", ["gcn", "sage"])
def test_both_sides_with_the_same_weights_predict_the_same(pyg, name, share):
    data, config = few_words(share), RunConfig(data="few-words", model=name, hidden=16)
    torch.manual_seed(1)
    net = pyg.Net(config, data.num_features, data.num_classes).eval()
    model = with_weights_of(net, config, data).eval()
    theirs = net(pyg.Features(data.x), pyg.adjacency_for(name, data.graph))
    blocks = (LocalBlock.from_graph(data.graph),) * 2
    torch.testing.assert_close(model(blocks, SparseRows.from_csr(data.x)), theirs)


def test_the_first_sage_layer_is_pygs_and_so_is_gcns_adjacency(pyg):
    data = few_words()
    x, edges = torch.from_numpy(data.x.to_scipy().toarray()), data.graph.edge_index().long()
    torch.manual_seed(1)
    projected, plain = pyg.ProjectedSAGEConv(60, 8), pyg.SAGEConv(60, 8)
    plain.load_state_dict(projected.state_dict())
    torch.testing.assert_close(projected(x, pyg.adjacency_for("sage", data.graph)), plain(x, edges))
    weighted, plain = pyg.GCNConv(60, 8, normalize=False), pyg.GCNConv(60, 8)
    plain.load_state_dict(weighted.state_dict())
    torch.testing.assert_close(weighted(x, pyg.adjacency_for("gcn", data.graph)), plain(x, edges))


def test_one_part_and_two_learn_the_digits_alike():
    config = RunConfig(data="digits", epochs=8, device="cpu")
    one, two = (ours.train(load("digits"), config, parts) for parts in (1, 2))
    assert len(one.evaluations) == len(two.evaluations) == 8
    assert one.test_acc() > 0.5
    assert one.test_acc() == pytest.approx(two.test_acc(), abs=0.01)


def test_pygs_layers_learn_the_digits(pyg):
    history = pyg.train(load("digits"), RunConfig(data="digits", epochs=8, weight_decay=5e-4))
    assert len(history.evaluations) == 8
    assert history.test_acc() > 0.5


def test_a_model_is_chosen_on_validation_then_on_its_loss_then_early():
    figures = [(0.5, 1.0, 0.9), (0.6, 0.9, 0.4), (0.6, 0.8, 0.5), (0.6, 0.8, 0.3), (0.7, 0.9, 0.2)]
    history = History([Evaluated(epoch, *figure) for epoch, figure in enumerate(figures)])
    assert [history.test_acc(epochs) for epochs in (1, 2, 3, 4, None)] == [0.9, 0.4, 0.5, 0.5, 0.2]


def always(accuracy: float) -> list[History]:
    """Two runs, one a little better."""
    return [History([Evaluated(0, 0.5, 1.0, accuracy + step)]) for step in (0.0, 0.0002)]


@pytest.mark.parametrize(
    ("accuracies", "met"), [((0.82, 0.8205), [True, True]), ((0.80, 0.805), [False, False])]
)
def test_published_claims_are_met_or_not(accuracies, met):
    experiment = Experiment("cora", 2, ("gcnsys-1", "gcnsys-3"), published=0.815, at_least=0.81)
    histories = {side: always(accuracy) for side, accuracy in zip(experiment.sides, accuracies, strict=True)}
    assert [claim.met for claim in claims_on(experiment, recorded(experiment, histories, 1))] == met


@pytest.mark.parametrize(("theirs", "met"), [(0.896, True), (0.906, False), (0.894, False)])
def test_the_claim_beside_pyg_is_met_or_not(theirs, met):
    experiment = Experiment("graph_gcn", 2)
    record = recorded(experiment, {"gcnsys-1": always(0.9), "pyg": always(theirs)}, 1)
    assert [claim.met for claim in claims_on(experiment, record)] == [met]


def bench(name: str, folder: Path) -> Bench:
    """Of the experiment of a name; it works in the folder."""
    (claim,) = named([name])
    return Bench(claim, folder)


def test_cora_agrees_with_the_record(data_folder, pyg, tmp_path):
    figures = list(check.early(bench("accuracy", tmp_path), run.EXPERIMENTS[0], seeds=2))
    assert [figure.good for figure in figures] == [True] * 3


def test_a_figure_that_is_off_is_noticed(data_folder, tmp_path, monkeypatch):
    record = {"check": {"epochs": 3}, "runs": {"cora": {"sides": {"gcnsys-1": {"test_acc_early": [0.99]}}}}}
    monkeypatch.setattr(Bench, "record", lambda at, name: record)
    (figure,) = check.early(bench("accuracy", tmp_path), run.EXPERIMENTS[0], seeds=1)
    assert figure.good is False
    assert str(figure).startswith("cora, gcnsys, P = 1: mean test accuracy: 0.")


def test_what_cannot_be_run_is_said_in_one_sentence(tmp_path, monkeypatch, capsys):
    assert run.main(["--only", "corra"]) == 2
    assert "--only corra: no such run; known: cora, citeseer" in capsys.readouterr().err
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results.json")
    with pytest.raises(InputError, match=r"results\.json is missing"):
        run.on_record()
    monkeypatch.setenv("GCNSYS_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="name their folder in GCNSYS_DATA"):
        runfile.data_folder()


def test_kernels_are_measured_beside_their_peers(data_folder, tmp_path):
    command = [
        sys.executable, "-m", "experiments.kernels.spmm", "cora", "--widths", "5,16", "--threads", "1",
        "--seconds", "0.02", "--out", str(tmp_path / "results.json"),
    ]  # fmt: skip
    environment = {**os.environ, "GCNSYS_DATA": str(data_folder), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=runfile.ROOT, env=environment, check=True, capture_output=True, timeout=120)
    records = json.loads((tmp_path / "results.json").read_text())["records"]
    assert [(record["width"], record["direction"]) for record in records] == [
        (width, direction) for width in (5, 16) for direction in ("forward", "backward")
    ]
    assert all(record["times_ours"].keys() >= {"torch", "dgl", "pyg"} for record in records)


@pytest.mark.parametrize(("harness", "trials"), [("writing", 8), ("damage", 60)])
def test_faults_come_to_what_they_may(tmp_path, harness, trials):
    # A process of its own: the harness forks, which one with threads should not.
    command = [
        sys.executable,
        "-m",
        "experiments.faults.run",
        harness,
        "--trials",
        str(trials),
        "--work",
        tmp_path,
    ]
    done = subprocess.run(command, cwd=runfile.ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{trials} trials, 0 of them wrong" in done.stdout
