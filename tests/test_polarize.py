"""``gcnsys polarize``, folders of polarized graphs, and ranks."""

import json
import threading

import numpy as np
import pytest
import torch

from gcnsys.cli.main import run
from gcnsys.datasets import load
from gcnsys.errors import DamagedFileError, InputError
from gcnsys.partition import Partitioning
from gcnsys.polarize import disk, shared
from gcnsys.polarize.figures import figures
from gcnsys.testing.ranks import run_ranks
from gcnsys.train import RunConfig

FEW = ["--epochs", "15", "--pretrain", "10", "--hidden", "8", "--threads", "1"]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("style", [[], ["--as-published"], ["--plain-layout", "--bits", "8"]])
def test_the_command_says_what_came_of_it_and_keeps_it(tmp_path, capsys, style):
    words = ["polarize", "digits", *FEW, *style, "--out", "found", "--plot", "steps.png", "--json"]
    assert run(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["accuracy_after"]["test"] > 0.5
    assert told["accuracy_before"]["test"] > 0.5
    assert (tmp_path / "steps.png").stat().st_size > 20_000
    saved = disk.load(tmp_path / "found")
    assert saved.manifest.dataset == "digits"
    before = load("digits").graph
    assert torch.equal(saved.division.layout.applied(before).edge_index(), saved.original.edge_index())
    step = told["steps"]["thin blocks dropped"]
    kept = saved.masks[saved.manifest.masks[-1]]
    assert figures(saved.original, saved.division, kept).edges == step["edges"] == saved.graph.num_edges
    assert step["kept"] <= told["steps"]["tuned"]["kept"] == pytest.approx(0.9, abs=0.001)
    assert (saved.factors is not None) == (style == ["--as-published"])
    dataset = load("npz:found/graph.npz")
    assert torch.equal(dataset.graph.edge_index(), saved.graph.edge_index())
    assert torch.equal(dataset.y, load("digits").y[saved.division.layout.order])
    assert Partitioning.open(tmp_path / "found" / "parts").manifest.num_edges == step["edges"]
    assert json.loads((tmp_path / "found" / "report.json").read_text())["steps"] == told["steps"]
    classes = saved.division.class_of.unique().numel()
    assert len(told["work"]["edges_by_class"]) == classes
    assert told["work"]["balance"] <= 1.1


@pytest.mark.parametrize("model", ["sage", "gin", "gat", "resgcn"])
def test_every_model_has_its_edges_tuned(capsys, model):
    layers = ["--layers", "3"] if model == "resgcn" else []
    words = [
        "polarize",
        "digits",
        *FEW,
        *layers,
        "--epochs",
        "4",
        "--pretrain",
        "4",
        "--model",
        model,
        "--json",
    ]
    assert run(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"] == model
    assert told["steps"]["tuned"]["kept"] == pytest.approx(0.9, abs=0.001)
    assert told["mask_distances"][-1] < 0.2


def test_without_json_it_says_so_in_sentences(capsys):
    assert run(["polarize", "digits", *FEW, "--no-reference", "--eta", "0", "--distill", "1"]) == 0
    said = capsys.readouterr()
    assert "test accuracy" in said.out
    assert "off the diagonal" in said.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--ratio", "1"], "share of edges to prune"), (["--subgraphs", "5"], "use a multiple"),
        (["--eta", "-1"], "eta = -1"), (["--thresholds", "5,3"], "must ascend"),
        (["--bits", "1"], "2 to 16 bits"), (["--protect", "0.5"], "give --bits"),
        (["--out", "mine"], "mine exists"), (["--pretrain", "0"], "at least one epoch"),
        (["--polarization", "-2"], "must be at least 0"), (["--distill", "-1"], "at least 0"),
        (["--polarization", "nan"], "and finite"), (["--polarization", "inf"], "and finite"),
        (["--thresholds", "nan"], "must ascend"), (["--distill", "inf"], "and finite"),
        (["--out", "mine", "--overwrite"], "holds something else"), (["--most", "0.05"], "ratio = 0.1"),
        (["--out", "mine/letter", "--overwrite"], "is not a folder"), (["--most", "nan"], "most = nan"),
        (["--subgraphs", "20000"], "8,192 at most"), (["--bits", "8", "--first-hop", "on"], "are rounded"),
        (["--plain-layout", "--subgraphs", "5000"], "5000 subgraphs of 1797 nodes"),
        (["--model", "rgcn"], "cannot be tuned by it"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(tmp_path, capsys, words, sentence):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear me")
    assert run(["polarize", "digits", *FEW, *words]) == 2
    assert sentence in capsys.readouterr().err
    assert (tmp_path / "mine" / "letter").exists()


@pytest.mark.parametrize(
    "words", [["--thresholds", "many"], ["--bits", "8,4"], ["--as-released", "--as-published"]]
)
def test_words_that_are_no_values_end_with_code_2(words):
    with pytest.raises(SystemExit) as left:
        run(["polarize", "digits", *words])
    assert left.value.code == 2


def test_a_run_that_cannot_be_kept_is_refused_before_any_training(tmp_path, monkeypatch, capsys):
    def trained(*arguments, **options):
        raise AssertionError("it trained")

    monkeypatch.setattr("gcnsys.polarize.pipeline.learn", trained)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear me")
    for words in (["--out", "mine", "--overwrite"], ["--model", "rgcn"]):
        assert run(["polarize", "digits", *FEW, *words]) == 2
        capsys.readouterr()


@pytest.mark.parametrize("number", ["1", "5"])
def test_a_plain_layout_has_as_many_subgraphs_as_asked_for(capsys, number):
    words = ["polarize", "digits", *FEW, "--plain-layout", "--no-reference", "--json"]
    assert run([*words, "--epochs", "4", "--pretrain", "2", "--subgraphs", number]) == 0
    assert len(json.loads(capsys.readouterr().out)["subgraphs"]) == int(number)


def test_thin_blocks_have_room_beside_any_ratio(capsys):
    words = ["polarize", "digits", *FEW, "--no-reference", "--ratio", "0.2", "--eta", "40", "--json"]
    assert run(words) == 0
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert 0.78 <= steps["thin blocks dropped"]["kept"] < steps["tuned"]["kept"]


def test_without_test_nodes_nothing_is_said_of_them(tmp_path, capsys):
    words = ["polarize", "digits", *FEW, "--no-reference", "--split", "0.6,0.4,0", "--out", "found", "--json"]
    assert run(words) == 0
    told = json.loads(capsys.readouterr().out)["accuracy_after"]
    kept = json.loads((tmp_path / "found" / "report.json").read_text(), parse_constant=pytest.fail)
    assert told["test"] is told["test_chosen_on_test"] is None
    assert kept["accuracy_after"] == told


def test_a_graph_without_edges_and_one_of_hubs_can_be_polarized(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name, pairs in {
        "none": np.zeros((2, 0), np.int64),
        "star": np.stack([np.zeros(39, np.int64), np.arange(1, 40)]),
    }.items():
        np.savez(
            tmp_path / f"{name}.npz", edge_index=pairs, x=rng.standard_normal((40, 4)).astype(np.float32),
            y=rng.integers(0, 2, 40),
        )  # fmt: skip
        assert run(["polarize", f"npz:{name}.npz", *FEW, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["edges"] == 2 * pairs.shape[1]
        work = told["work"]
        loads = [*work["edges_by_class"], work["edges_off_diagonal"]]
        assert [load > 0 for load in loads] == [share > 0 for share in work["elements"]]


def test_a_folder_that_was_altered_is_refused(tmp_path):
    assert run(["polarize", "digits", *FEW, "--no-reference", "--out", "found"]) == 0
    file = tmp_path / "found" / disk.FILE
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DamagedFileError, match="altered since it was written"):
        disk.load(tmp_path / "found")
    with pytest.raises(DamagedFileError, match="gcnsys polarize DATA --out makes one"):
        disk.load(tmp_path)


@pytest.mark.processes
def test_two_ranks_keep_the_edges_that_one_keeps(tmp_path, capfd):
    words = ["polarize", "digits", *FEW, "--dtype", "float64", "--no-reference", "--distill", "1", "--json"]
    assert run([*words, "--out", "one"]) == 0
    one = json.loads(capfd.readouterr().out)
    assert run([*words, "--parts", "2", "--out", "two"]) == 0
    two = json.loads(capfd.readouterr().out)
    first, second = (disk.load(tmp_path / name) for name in ("one", "two"))
    assert torch.equal(first.masks["tuned"], second.masks["tuned"])
    assert one["accuracy_after"] == pytest.approx(two["accuracy_after"])
    assert Partitioning.open(tmp_path / "two" / "parts").num_parts == 2
    assert not list(tmp_path.glob(".gcnsys-*"))


def test_ranks_of_several_machines_need_a_folder_that_all_see(monkeypatch, tmp_path):
    monkeypatch.setattr("gcnsys.polarize.share.platform.node", lambda: threading.current_thread().name)
    dataset = load("digits")

    def body(comm):
        config = RunConfig.checked({"data": "digits"})
        with (
            pytest.raises(InputError, match="2 machines: give --out"), shared(config, comm, None) as share
        ):  # fmt: skip
            share(dataset)
        with shared(config, comm, tmp_path) as share:
            return share(dataset if comm.rank == 0 else None).whole.num_inner

    assert sum(run_ranks(2, body)) == dataset.graph.num_nodes


def test_edges_of_several_kinds_between_two_nodes_are_refused(tmp_path, capsys):
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 40, (2, 120))
    np.savez("kinds.npz", edge_index=np.concatenate([pairs, pairs], 1), y=rng.integers(0, 3, 40),
             edge_type=np.repeat([0, 1], 120), x=rng.random((40, 5)).astype(np.float32))  # fmt: skip
    capsys.readouterr()
    assert run(["polarize", "npz:kinds.npz", "--out", "out"]) == 2
    assert "some nodes are joined by edges of several kinds" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
