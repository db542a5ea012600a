"""``gcnsys train --profile``: a trace in which every step has its name, and that changes nothing."""

import contextlib
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from small import assigned, small

from gcnsys.cli.main import run
from gcnsys.partition import Cutting, Partitioning, build, cut_dataset
from gcnsys.runtime import PartBlock, Placement
from gcnsys.runtime.labels import labelled
from gcnsys.testing.ranks import run_ranks
from gcnsys.train import RunConfig
from gcnsys.train.run import run_part

STEPS = ("exchange: send", "inner aggregation", "exchange: wait", "halo aggregation")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GCNSYS_PARTITIONS", raising=False)
    rng = np.random.default_rng(0)
    np.savez(
        "g.npz", edge_index=rng.integers(0, 60, (2, 300)), x=rng.standard_normal((60, 8)).astype(np.float32),
        y=rng.integers(0, 4, 60),
    )  # fmt: skip


def spans(path):
    """Complete events of a trace (Trace Event Format, type X): name -> intervals."""
    trace = json.loads(path.read_text())
    found = {}
    for event in trace["traceEvents"]:
        if event["ph"] == "X":
            assert {"name", "ts", "dur", "pid", "tid"} <= event.keys()
            if event.get("cat") == "user_annotation":
                found.setdefault(event["name"], []).append((event["ts"], event["ts"] + event["dur"]))
    return found


def within(inner, outer):
    return all(any(a <= start and end <= b for a, b in outer) for start, end in inner)


def trained(capsys, *arguments):
    assert run(["train", "npz:g.npz", "--first-hop", "off", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("method", [(), ("--schedule", "overlap")])
def test_every_step_of_every_layer_has_its_name_and_place(capsys, tmp_path, method):
    trained(capsys, "--epochs", "6", "--layers", "3", "--hidden", "4", "--profile", "--out", "run", *method)
    found = spans(tmp_path / "run/trace-0.json")
    epochs = sorted(found["epoch 1"] + found["epoch 2"] + found["epoch 3"])
    assert {name for name in found if name.startswith("epoch ")} == {"epoch 1", "epoch 2", "epoch 3"}
    for name in ("forward", "backward", "add gradients up", "optimizer"):
        assert len(found[name]) == 3
        assert within(found[name], epochs)
    assert len(found["evaluation"]) == 3
    assert not within(found["evaluation"], epochs)
    for layer in range(3):
        for step in STEPS[:3]:
            forward = found[f"{step}, layer {layer}"]
            assert len(forward) == 6  # evaluation as well
            assert within(forward, found["forward"] + found["evaluation"])
            assert within(found[f"{step}, layer {layer}, backward"], found["backward"])
            assert len(found[f"{step}, layer {layer}, backward"]) == 3
    assert not any("layer 3" in name for name in found)


def test_a_run_of_one_epoch_is_traced_and_a_new_run_leaves_no_old_trace(capsys, tmp_path):
    trained(capsys, "--epochs", "1", "--profile", "--out", "run")
    assert "epoch 0" in spans(tmp_path / "run/trace-0.json")
    trained(capsys, "--epochs", "1", "--out", "run", "--overwrite")
    assert list((tmp_path / "run").glob("*trace*")) == []


def test_a_run_may_be_shorter_than_a_trace_and_computes_the_same(capsys, tmp_path):
    plain = trained(capsys, "--epochs", "3", "--out", "plain")
    traced = trained(capsys, "--epochs", "3", "--profile", "--out", "run")
    assert traced["final_loss"] == plain["final_loss"]
    found = spans(tmp_path / "run/trace-0.json")
    assert {"epoch 1", "epoch 2"} <= found.keys()


def test_batches_have_names_too(capsys, tmp_path):
    assert (
        run(["train-minibatch", "npz:g.npz", "--epochs", "2", "--batch", "16", "--profile", "--out", "run"])
        == 0
    )
    found = spans(tmp_path / "run/trace-0.json")
    assert len(found["forward"]) == len(found["wait for a batch"]) == len(found["backward"]) > 1
    assert "evaluation" in found


def test_where_nobody_looks_a_label_is_nothing():
    assert labelled("anything", 3) is labelled("else", back=True)
    assert isinstance(labelled("anything"), contextlib.nullcontext)


def test_a_numbered_block_shares_its_memory_and_gives_the_same_rows():
    made = small("directed")
    shares = cut_dataset(made.dataset, assigned(made, "random", 2), 2)

    def body(comm):
        block = PartBlock(shares[comm.rank].whole, comm)
        other = block.numbered(4)
        x = torch.ones(block.graph.num_inner, 2)
        assert torch.equal(block.sum(x), other.sum(x))
        assert (block.layer, other.layer, other.exchange is block.exchange) == (None, 4, True)
        return other.inner is block.inner

    assert run_ranks(2, body) == [True, True]


@pytest.mark.parametrize(
    "settings", [{}, {"method": "bns", "codec": "int8"}, {"sampler": "neighbour", "batch": 16}]
)
def test_bytes_by_receiver_add_up_to_what_a_rank_sent(tmp_path, settings):
    made = small("undirected")
    build(made.dataset, Cutting(3), tmp_path / "cut")
    config = RunConfig(data="cut", hidden=4, epochs=2, first_hop="off", prune="off", **settings)
    placement = Placement(torch.device("cpu"), "gloo")
    cut = Partitioning.open(tmp_path / "cut")
    summary = run_ranks(3, lambda comm: run_part(cut, config, comm, placement))[0]
    sent = summary["halo_bytes_sent_to_per_epoch"]
    assert [len(row) for row in sent] == [3, 3, 3]
    assert [sum(row) for row in sent] == list(summary["halo_bytes_sent_per_epoch"])
    assert sum(map(sum, sent)) > 0
    if not settings:  # features of both layers forth, gradients of both back, 4 floats a row
        sends = [part.sends for part in cut.manifest.parts]
        assert sent == [[32 * (sends[s][r] + sends[r][s]) for r in range(3)] for s in range(3)]
    assert {kind: len(seconds) for kind, seconds in summary["seconds_by_rank"].items()} == {
        "compute": 3, "comm": 3, "reduce": 3
    }  # fmt: skip


@pytest.mark.processes
def test_every_process_leaves_a_trace_with_its_halo_and_reductions(tmp_path):
    command = [sys.executable, "-m", "gcnsys", "train", "npz:g.npz", "--parts", "2", "--epochs", "3",
               "--out", "run", "--first-hop", "off", "--hidden", "4", "--profile"]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for rank in range(2):
        found = spans(tmp_path / f"run/trace-{rank}.json")
        wanted = {
            f"{step}, layer {layer}{back}"
            for step in STEPS
            for layer in range(2)
            for back in ("", ", backward")
        }
        assert wanted <= found.keys()
        assert within(found["all-reduce: reduce"], found["add gradients up"])
