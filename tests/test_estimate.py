"""``gcnsys estimate``."""

import json

import numpy as np
import pytest
import torch

from gcnsys.cli.main import run
from gcnsys.cli.workload import read_blocks
from gcnsys.datasets import load
from gcnsys.polarize import disk


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def told(capsys, *words):
    assert run(["estimate", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_table_says_what_it_is_and_the_picture_is_drawn(tmp_path, capsys):
    assert run(["estimate", "counts:cora", "--plot", "bars.png"]) == 0
    out = capsys.readouterr().out
    assert "13,264 entries" in out
    assert "wrong by up to" in out
    assert all(name in out for name in ("hygcn", "awb-gcn", "i-gcn", "gcod", "gcnear", "cpu-e5-2680v3"))
    assert "gcnax" not in out  # of another size
    assert (tmp_path / "bars.png").stat().st_size > 10_000


def test_a_polarized_graph_says_where_its_blocks_are(tmp_path, capsys):
    few = ("--epochs", "3", "--pretrain", "3", "--rounds", "1", "--no-reference", "--out", "polarized")
    assert run(["polarize", "digits", *few]) == 0
    capsys.readouterr()
    found = told(capsys, "polarized", "--accelerator", "gcod")
    saved = disk.load(tmp_path / "polarized")
    adjacency, at = saved.graph.with_self_loops().adjacency, saved.division.subgraph_at
    off = int((at[adjacency.rows().long()] != at[adjacency.indices.long()]).sum())
    assert found["entries"] == adjacency.num_edges
    assert found["estimates"][0]["steps"][0]["sparse_branch_entries"] == off
    assert run(["estimate", "polarized", "--blocks", "blocks.npz"]) == 2
    assert "drop --blocks" in capsys.readouterr().err


def test_json_is_one_object_with_everything(capsys):
    found = told(capsys, "counts:reddit", "--accelerator", "gcod,i-gcn", "--baseline", "awb-gcn")
    assert [each["accelerator"] for each in found["estimates"]] == ["gcod", "i-gcn"]
    for each in found["estimates"]:
        assert each["speedup"] == pytest.approx(found["baseline"]["seconds"] / each["seconds"])
        assert each["seconds_low"] < each["seconds"] < each["seconds_high"]
        assert each["bound"] in ("compute", "memory")
        assert sum(each["traffic_bytes"].values()) == pytest.approx(each["off_chip_bytes"])
        assert len(each["steps"]) == 2


def test_a_dataset_islands_and_blocks_change_the_estimate(tmp_path, capsys):
    plain = told(capsys, "digits", "--accelerator", "i-gcn")
    found = told(capsys, "digits", "--accelerator", "i-gcn", "--islands", "find")
    assert run(["islandize", "digits", "--rule", "shared", "--out", "kept"]) == 0
    capsys.readouterr()
    kept = told(capsys, "digits", "--accelerator", "i-gcn", "--islands", "kept")
    seconds = [each["estimates"][0]["seconds"] for each in (plain, found, kept)]
    assert seconds[0] > seconds[1] > seconds[2]
    nodes = load("digits").graph.num_nodes
    np.savez(
        "blocks.npz", order=np.arange(nodes), group_ptr=np.array([0, nodes // 2, nodes]),
        class_of=np.array([0, 1]), group_of=np.array([0, 0]),
    )  # fmt: skip
    blocks = told(capsys, "digits", "--accelerator", "gcod", "--blocks", "blocks.npz")
    off = blocks["estimates"][0]["steps"][0]["sparse_branch_entries"]
    edges = load("digits").graph.edge_index().long()
    assert off == int(((edges[0] < nodes // 2) != (edges[1] < nodes // 2)).sum())


def test_a_run_is_measured(tmp_path, capsys):
    words = ["--epochs", "2", "--hidden", "24", "--out", "trained"]
    assert run(["train", "digits", *words]) == 0
    capsys.readouterr()
    found = told(capsys, "trained", "--accelerator", "awb-gcn")
    # Count again by hand: the first layer's rows, cut off at zero, times the second layer's weights.
    from gcnsys.kernels import LocalBlock
    from gcnsys.train.trained import TrainedRun

    dataset, model = load("digits"), TrainedRun.open(tmp_path / "trained").model()
    block = LocalBlock.from_graph(dataset.graph)
    with torch.no_grad():
        rows = model.convs[0](block, dataset.x).relu()
    looped = dataset.graph.num_edges + dataset.graph.num_nodes
    first = int(torch.count_nonzero(dataset.x)) * 24 + looped * 24
    second = int(torch.count_nonzero(rows)) * 10 + looped * 10
    assert found["macs"] == pytest.approx(first + second, rel=1e-4)


def test_what_if(tmp_path, capsys):
    words = [
        "counts:reddit",
        "--accelerator",
        "awb-gcn,gcod",
        "--sweep",
        "macs=1024..4096",
        "--plot",
        "sweep.png",
    ]
    assert run(["estimate", *words]) == 0
    assert "2048" in capsys.readouterr().out
    found = told(capsys, *words)
    assert found["values"] == [1024, 2048, 4096]
    assert len(found["estimates"]["gcod"]) == 3
    assert (tmp_path / "sweep.png").stat().st_size > 10_000


def test_training_is_more_than_inference(capsys):
    one = told(capsys, "counts:reddit", "--accelerator", "gcnear", "--model", "sage", "--hidden", "256")
    more = told(
        capsys, "counts:reddit", "--accelerator", "gcnear", "--model", "sage", "--hidden", "256", "--training"
    )
    assert more["estimates"][0]["seconds"] > 1.8 * one["estimates"][0]["seconds"]
    assert [step["name"] for step in more["estimates"][0]["steps"]][-1] == "update"


def test_weights_that_are_zero_are_not_read_but_multiplied(capsys):
    words = ("counts:reddit", "--accelerator", "gcod", "--hidden", "64")
    whole, half = (told(capsys, *words, "--kept", kept)["estimates"][0]["steps"][0] for kept in "42")
    assert half["traffic_bytes"]["weights"] == whole["traffic_bytes"]["weights"] / 2
    assert half["compute_cycles"] == whole["compute_cycles"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["counts:cora", "--kept", "5"], "--kept 5: of each 4 weights, 1 to 4 are kept"),
        (["counts:redit"], "did you mean 'reddit'"),
        (["counts:cora", "--accelerator", "hygnc"], "did you mean 'hygcn'"),
        (["counts:cora", "--accelerator", "none.toml"], "none.toml: cannot be read"),
        (["counts:cora", "--islands", "find"], "--islands needs the graph itself"),
        (["counts:cora", "--layers", "0"], "--layers must be at least 1"),
        (["counts:cora", "--density", "2"], "a share in [0, 1]"),
        (["counts:cora", "--sweep", "macs=1"], None),
        (["counts:cora", "--sweep", "mcas=1..2"], "did you mean 'chip.macs'"),
        (["digits", "--islands", "nowhere"], "nowhere: not a folder of islands"),
        (["digits", "--blocks", "bad.npz"], "bad.npz: has no array"),
        (["digits", "--blocks", "nowhere.npz"], "nowhere.npz: cannot be read as blocks"),
        (["digits", "--blocks", "few.npz"], "blocks of 3 nodes, the graph has 1797"),
        (["digits", "--blocks", "wrong.npz"], "class_of must have one entry for each of 1 blocks"),
        (["nowhere"], "nowhere"),
    ],
)
def test_what_makes_no_sense_is_refused(capsys, words, sentence):
    np.savez("bad.npz", order=np.arange(3))
    kept = {"order": np.arange(3), "group_ptr": np.array([0, 3]), "group_of": np.array([0])}
    np.savez("few.npz", class_of=np.array([0]), **kept)
    np.savez("wrong.npz", class_of=np.array([0, 1]), **kept)
    assert run(["estimate", *words]) == (0 if sentence is None else 2)
    if sentence is not None:
        assert sentence in capsys.readouterr().err


def test_a_run_that_cannot_be_estimated_says_why(capsys):
    assert (
        run(["train", "digits", "--model", "gat", "--hidden", "8", "--epochs", "1", "--out", "attends"]) == 0
    )
    capsys.readouterr()
    assert run(["estimate", "attends"]) == 2
    assert "a stack of gcn, sage, gin layers can be estimated, not gat" in capsys.readouterr().err
    assert run(["estimate", "attends", "--hidden", "4"]) == 2
    assert "says what attends says already" in capsys.readouterr().err


def test_blocks_are_what_the_file_holds(tmp_path):
    np.savez("b.npz", order=[2, 0, 1], group_ptr=[0, 1, 3], class_of=[1, 0], group_of=[0, 1])
    blocks = read_blocks(tmp_path / "b.npz", 3)
    assert blocks.layout.order.tolist() == [2, 0, 1]
    assert blocks.class_of.tolist() == [1, 0]
