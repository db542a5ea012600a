"""Predictions are those of the model on the whole graph, in its own numbering, for any number of parts."""

import json
import shutil

import numpy as np
import pytest
import torch

from gcnsys.cli.main import run
from gcnsys.datasets.dataset import Dataset
from gcnsys.datasets.spec import load
from gcnsys.errors import DamagedFileError, InputError
from gcnsys.graph import CSR
from gcnsys.kernels import LocalBlock, SparseRows
from gcnsys.partition import Cutting, Partitioning, build
from gcnsys.runtime import Placement
from gcnsys.testing.ranks import run_ranks
from gcnsys.train.predict import as_kind, predictions, write_rows
from gcnsys.train.trained import TrainedRun

CPU = Placement(torch.device("cpu"), "gloo")
NODES = 70


def arrays(*, multilabel=False, sparse=False):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((NODES, 9)).astype(np.float32)
    found = {
        "edge_index": rng.integers(0, NODES - 1, (2, 400)),  # the last node has no edge
        "y": rng.random((NODES, 4)) < 0.4 if multilabel else rng.integers(0, 4, NODES),
    }
    if sparse:
        x[rng.random(x.shape) < 0.6] = 0
        rows, columns = x.nonzero()
        counts = np.bincount(rows, minlength=NODES)
        found |= {"x_indptr": np.concatenate([[0], counts.cumsum()]), "x_indices": columns}
        return found | {"x_data": x[rows, columns], "x_shape": np.array(x.shape)}
    return found | {"x": x}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with a graph, where partitionings go as well."""
    monkeypatch.chdir(tmp_path)
    np.savez("mine.npz", **arrays())
    return tmp_path


def trained(*options, data="npz:mine.npz", out="run"):
    assert run(["train", data, "--out", out, "--epochs", "5", "--dropout", "0.3", *options]) == 0


def whole(trained_run, dataset):
    """What the model says on one device that holds everything."""
    model, x = trained_run.model(), dataset.x
    block = LocalBlock.from_graph(dataset.graph)
    dense = SparseRows.from_csr(x).to_dense() if isinstance(x, CSR) else x
    with torch.no_grad():
        return model([block] * model.num_blocks, dense)


@pytest.mark.parametrize("model", ["gcn", "sage", "gatv2", "resgcn", "sgc"])
def test_one_part_and_four_say_what_a_single_device_does(home, model):
    trained("--model", model)
    exact = whole(TrainedRun.open(home / "run"), load("npz:mine.npz"))
    for parts in ("1", "4"):
        assert run(["predict", "run", "npz:mine.npz", "--parts", parts, "--out", f"{parts}.npy"]) == 0
        found = torch.from_numpy(np.load(f"{parts}.npy"))
        assert found.shape == exact.shape == (NODES, 4)
        assert float((found - exact).abs().max() / exact.abs().max()) < 1e-6
    assert sorted(path.name for path in home.glob("*.npy")) == ["1.npy", "4.npy"]


@pytest.mark.parametrize("form", [{}, {"multilabel": True}, {"sparse": True}])
@pytest.mark.parametrize("inductive", [False, True])
def test_whatever_the_graph_and_the_training(home, form, inductive):
    np.savez("mine.npz", **arrays(**form))
    trained(*(["--inductive"] if inductive else []), "--seed", "1")
    exact = whole(TrainedRun.open(home / "run"), load("npz:mine.npz"))
    for kind in ("logits", "probabilities", "classes"):
        command = ["predict", "run", "npz:mine.npz", "--kind", kind, "--out", f"{kind}.npy"]
        assert run(command) == 0
        found = torch.from_numpy(np.load(f"{kind}.npy"))
        expected = {
            "logits": exact,
            "probabilities": exact.sigmoid() if "multilabel" in form else exact.softmax(1),
            "classes": exact > 0 if "multilabel" in form else exact.argmax(1),
        }[kind]
        assert found.dtype == as_kind(exact, kind, multilabel="multilabel" in form).dtype
        found = found.to(expected.dtype)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def other_graph(**changes):
    """Another graph, whose columns lie elsewhere, and nobody has labelled."""
    rng = np.random.default_rng(8)
    found = {"edge_index": rng.integers(0, 50, (2, 300)), "x": 3 * rng.standard_normal((50, 9)) + 5}
    return {**found, "x": found["x"].astype(np.float32), **changes}


@pytest.mark.parametrize("cut_first", [True, False], ids=["on a cut", "on a dataset"])
@pytest.mark.parametrize("parts", ["1", "3"])
def test_another_graph_is_made_ready_as_the_one_that_was_trained_on(home, cut_first, parts):
    asked = ["--directed", "--normalize", "standard"]
    if cut_first:
        assert run(["partition", "build", "mine.npz", "--parts", "2", *asked, "--out", "cut"]) == 0
        trained(data="cut")
    else:
        trained(*asked)
    other = other_graph()
    np.savez("other.npz", **other)
    assert run(["predict", "run", "other.npz", "--parts", parts, "--out", "said.npy"]) == 0
    was = load("npz:mine.npz", undirected=False, normalization="none")
    seen = was.x.numpy()[was.train_mask.numpy()].astype(np.float64)
    x = ((other["x"] - seen.mean(0)) / seen.std(0)).astype(np.float32)
    ready = Dataset.from_arrays("other", {**other, "x": x, "y": np.zeros(50, np.int64)})
    exact = whole(TrainedRun.open(home / "run"), ready)
    torch.testing.assert_close(torch.from_numpy(np.load("said.npy")), exact, rtol=1e-4, atol=1e-5)


def test_a_published_scaling_goes_by_the_graph_that_was_trained_on(home):
    positive = {**arrays(), "x": np.abs(arrays()["x"])}
    np.savez("cora.npz", **positive)
    trained(data="npz:cora.npz")
    np.savez("other.npz", **other_graph())
    assert run(["predict", "run", "npz:other.npz", "--out", "said.npy"]) == 0
    x = np.asarray(other_graph()["x"])
    ready = other_graph(x=x / np.abs(x).sum(1, keepdims=True), y=np.zeros(50, np.int64))
    exact = whole(TrainedRun.open(home / "run"), Dataset.from_arrays("other", ready).undirected())
    torch.testing.assert_close(torch.from_numpy(np.load("said.npy")), exact, rtol=1e-4, atol=1e-5)


def test_several_labels_are_told_where_none_are_known(home):
    np.savez("mine.npz", **arrays(multilabel=True))
    trained()
    np.savez("other.npz", **other_graph())
    assert run(["predict", "run", "other.npz", "--kind", "classes", "--out", "said.npy"]) == 0
    found = np.load("said.npy")
    assert (found.dtype, found.shape) == (np.dtype(bool), (50, 4))


@pytest.mark.parametrize("case", ["numbers", "edges"])
def test_a_cut_that_was_made_ready_otherwise_is_refused(home, capsys, case):
    trained("--normalize", "standard")
    np.savez("other.npz", **other_graph(y=np.arange(50) % 4))
    asked = ["--directed"] if case == "edges" else []
    command = ["partition", "build", "other.npz", "--parts", "2", "--normalize", "standard", "--out", "cut"]
    assert run([*command, *asked]) == 0
    capsys.readouterr()
    assert run(["predict", "run", "cut", "--out", "said.npy"]) == 2
    sentence = {
        "numbers": "its features are scaled by other numbers (normalize = standard) than those the model",
        "edges": "its edges are as stored, and should be undirected",
    }[case]
    assert sentence in capsys.readouterr().err
    assert not (home / "said.npy").exists()


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("normalize='row'", "cut was cut with normalize = none, which normalize = row cannot change"),
        ("directed=true", "cut: its edges are undirected, and should be as stored"),
    ],
)
def test_what_is_cut_is_not_made_ready_again(home, capsys, setting, sentence):
    assert run(["partition", "build", "mine.npz", "--parts", "1", "--out", "cut"]) == 0
    capsys.readouterr()
    assert run(["train", "cut", "--set", setting, "--epochs", "1", "--out", "run"]) == 2
    assert sentence in capsys.readouterr().err


def test_a_run_that_noted_less_is_read_by_its_configuration(home):
    trained("--normalize", "row")
    summary = json.loads((home / "run/summary.json").read_text())
    del summary["directed"], summary["normalization"]
    (home / "run/summary.json").write_text(json.dumps(summary))
    prepared = TrainedRun.open(home / "run").preparation
    assert (prepared.directed, prepared.normalization, prepared.exact) == (False, "row", False)


def test_the_last_weights_and_the_best(home):
    trained("--epochs", "30", "--lr", "0.05")
    states = {which: TrainedRun.open(home / "run", which).state for which in ("best", "final")}
    assert any(not torch.equal(states["best"][name], states["final"][name]) for name in states["best"])
    data, said = load("npz:mine.npz"), json.loads((home / "run" / "summary.json").read_text())
    for which, name in (("best", "test_acc_at_best_val"), ("final", "test_acc")):
        assert run(["predict", "run", "--weights", which, "--out", f"{which}.npy"]) == 0
        expected = whole(TrainedRun.open(home / "run", which), data)
        found = torch.from_numpy(np.load(f"{which}.npy"))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        right = (found.argmax(1) == data.y)[data.test_mask].float().mean()
        assert float(right) == pytest.approx(said[name])


def test_ranks_write_one_file_between_them(home):
    trained()
    dataset = Dataset.from_arrays("mine", arrays()).undirected()
    build(dataset, Cutting(3, "random"), home / "cut")
    partitioning, opened = Partitioning.open(home / "cut"), TrainedRun.open(home / "run")

    def body(comm):
        ids, logits = predictions(opened, partitioning, comm, CPU)
        write_rows(home / "scores.npy", ids, logits, NODES, comm)
        return ids.numel()

    assert sum(run_ranks(3, body)) == NODES
    torch.testing.assert_close(
        torch.from_numpy(np.load("scores.npy")), whole(opened, dataset), rtol=1e-4, atol=1e-5
    )


def test_a_full_disk_leaves_no_file(home, monkeypatch):
    trained()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gcnsys.train.predict.os.posix_fallocate", full)
    assert run(["predict", "run", "--out", "scores.npy"]) == 2
    assert not list(home.glob("*.npy"))
    assert not list(home.glob(".*.tmp"))


def test_json_says_where_and_what(home, capsys):
    trained()
    capsys.readouterr()
    assert run(["predict", "run", "--kind", "classes", "--json", "--out", "sub/c.npy"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["out"], told["shape"], told["kind"]) == ("sub/c.npy", [NODES], "classes")


REFUSED = {
    "no run": (["nothing"], "nothing holds no run"),
    "a text file": (["run", "--out", "scores.txt"], "give it a name that ends in .npy"),
    "a file that is there": (["run", "--out", "there.npy"], "there.npy exists; choose another --out"),
    "no parts": (["run", "--parts", "0"], "--parts 0: there must be at least 1"),
    "other features": (
        ["run", "npz:wide.npz"],
        "has 3 features a node, but the model",
    ),
    "an unfinished run": (["cut"], "the run is not finished"),
    "an unknown dataset": (["run", "diggits"], "diggits"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_in_a_sentence(home, capsys, case):
    trained()
    np.save("there.npy", np.zeros(1))
    shutil.copytree("run", "cut")
    (home / "cut" / "summary.json").unlink()
    np.savez("wide.npz", **{**arrays(), "x": np.zeros((NODES, 3), np.float32)})
    capsys.readouterr()
    options, sentence = REFUSED[case]
    assert run(["predict", *options]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("gcnsys: ")
    assert sentence in said
    assert not (home / "scores.npy").exists()


@pytest.mark.parametrize("case", ["other weights", "no sizes", "cut short"])
def test_damaged_runs_are_refused(home, case):
    trained()
    if case == "other weights":
        text = (home / "run/config.toml").read_text()
        (home / "run/config.toml").write_text(text.replace("hidden = 64", "hidden = 32"))
    elif case == "no sizes":
        (home / "run/summary.json").write_text("{}")
    else:
        path = home / "run/best.safetensors"
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises((DamagedFileError, InputError)):
        TrainedRun.open(home / "run").model()
    assert run(["predict", "run"]) == 2


@pytest.mark.parametrize("kind", ["logits", "classes", "several"])
def test_slices_join_to_the_whole(home, monkeypatch, kind):
    monkeypatch.setattr("gcnsys.train.predict._SLICE", 100)
    rows = torch.arange(NODES * 3).view(NODES, 3)
    rows = {"logits": rows.double(), "classes": rows[:, 0], "several": rows % 2 > 0}[kind]
    owner = torch.arange(NODES) * 7 % 3 % 2  # the last rank has none

    def body(comm):
        ids = torch.nonzero(owner == comm.rank).flatten().flip(0)
        write_rows(home / "rows.npy", ids, rows[ids], NODES, comm)

    run_ranks(3, body)
    assert torch.equal(torch.from_numpy(np.load("rows.npy")), rows)
