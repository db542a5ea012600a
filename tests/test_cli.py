"""The command line as a user meets it: results, help, and one sentence for every mistake."""

import json
import os
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from gcnsys.cli.main import COMMANDS, parser, run
from gcnsys.cli.output import Output
from gcnsys.cli.told import finished
from gcnsys.errors import InputError
from gcnsys.train import RunConfig

SUMMARY_KEYS = {
    "dataset", "model", "method", "parts", "epochs", "train_acc", "val_acc", "test_acc", "best_val_acc",
    "test_acc_at_best_val", "final_loss", "epoch_seconds_median", "compute_seconds_median",
    "comm_seconds_median", "reduce_seconds_median", "halo_bytes_sent_per_epoch",
    "reduce_bytes_sent_per_epoch", "bytes_sent_per_epoch", "exchange_buffer_bytes", "peak_rss_bytes",
    "seconds_total", "seed", "kernels", "versions",
}  # fmt: skip
PER_RANK = {key for key in SUMMARY_KEYS if key.endswith("_bytes") or key.endswith("sent_per_epoch")}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GCNSYS_PARTITIONS", raising=False)


def small_arrays(num_nodes=40, seed=0, **changes):
    rng = np.random.default_rng(seed)
    src, dst = rng.integers(0, num_nodes, (2, 4 * num_nodes))
    arrays = {
        "edge_index": np.stack([src, dst]),
        "x": rng.standard_normal((num_nodes, 6)).astype(np.float32),
        "y": rng.integers(0, 3, num_nodes),
    } | changes
    return {name: array for name, array in arrays.items() if array is not None}


def write_npz(path, **changes):
    np.savez(path, **small_arrays(**changes))
    return f"npz:{path}"


def outcome(capsys, *arguments):
    """Exit code, standard output, standard error."""
    try:
        code = run([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr()
    return code, said.out, said.err


def refused(capsys, *arguments):
    """The one sentence a refused command says."""
    code, out, err = outcome(capsys, *arguments)
    assert code == 2
    assert out == ""
    last = [line for line in err.splitlines() if line.startswith("gcnsys")]
    assert len(last) == 1, err
    assert "Traceback" not in err
    return last[0]


def test_training_prints_one_object_with_every_key(capsys, tmp_path):
    spec = write_npz(tmp_path / "small.npz")
    code, out, _ = outcome(capsys, "train", spec, "--epochs", 3, "--json", "--out", "run")
    assert code == 0
    summary = json.loads(out)
    assert set(summary) >= SUMMARY_KEYS
    assert summary["dataset"] == "small"
    for key in PER_RANK:
        assert len(summary[key]) == 1
    assert json.loads((tmp_path / "run/summary.json").read_text()) == {
        key: value for key, value in summary.items() if key != "folder"
    }


def test_a_run_folder_holds_configuration_metrics_and_weights(capsys, tmp_path):
    spec = write_npz(tmp_path / "small.npz")
    outcome(capsys, "train", spec, "--epochs", 4, "--hidden", 5, "--eval-every", 2, "--out", "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "config.toml",
        "metrics.jsonl",
        "summary.json",
        "checkpoints",
        "best.safetensors",
        "final.safetensors",
    }
    config = RunConfig.checked(tomllib.loads((tmp_path / "run/config.toml").read_text()))
    assert (config.hidden, config.epochs) == (5, 4)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2, 3]
    assert ["val_acc" in line for line in lines] == [False, True, False, True]


def test_a_run_file_and_its_changes_are_taken(capsys, tmp_path):
    spec = write_npz(tmp_path / "small.npz")
    (tmp_path / "run.toml").write_text(f'data = "{spec}"\nepochs = 9\nhidden = 7\n')
    arguments = ("run.toml", "--set", "epochs=2", "--set", "model=sage", "--json", "--seed", 5)
    _, out, _ = outcome(capsys, "train", *arguments)
    summary = json.loads(out)
    assert (summary["epochs"], summary["model"], summary["seed"]) == (2, "sage", 5)


def test_the_same_dataset_is_cut_once(capsys, tmp_path):
    spec = write_npz(tmp_path / "small.npz")
    outcome(capsys, "train", spec, "--epochs", 1)
    _, _, err = outcome(capsys, "train", spec, "--epochs", 1)
    assert "using the partitioning in" in err
    write_npz(tmp_path / "small.npz", seed=1)
    _, _, err = outcome(capsys, "train", spec, "--epochs", 1)
    assert "using the partitioning in" not in err


def test_the_same_seed_gives_the_same_run(capsys, tmp_path):
    spec = write_npz(tmp_path / "small.npz")
    results = []
    for name in ("a", "b"):
        outcome(capsys, "train", spec, "--epochs", 5, "--out", name)
        results.append((tmp_path / name / "final.safetensors").read_bytes())
    assert results[0] == results[1]


@pytest.mark.processes
def test_two_local_ranks_compute_what_one_does(capfd, tmp_path):
    (tmp_path / "temporary").mkdir()
    spec = write_npz(tmp_path / "small.npz")
    command = [sys.executable, "-m", "gcnsys", "train", spec, "--epochs", "5", "--json", "--dtype", "float64"]
    summaries = []
    for parts in (1, 2):
        done = subprocess.run(
            [*command, "--parts", str(parts)], capture_output=True, text=True, timeout=120,
            env=os.environ | {"TMPDIR": str(tmp_path / "temporary")},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        summaries.append(json.loads(done.stdout))
    one, two = summaries
    assert two["parts"] == 2
    assert two["final_loss"] == pytest.approx(one["final_loss"], rel=1e-10)
    assert two["test_acc"] == one["test_acc"]
    assert min(two["halo_bytes_sent_per_epoch"]) > 0
    assert one["halo_bytes_sent_per_epoch"] == [0]
    left = [path.name for path in (tmp_path / "temporary").iterdir()]
    assert [name for name in left if not name.startswith("torchinductor")] == []  # torch's own cache


@pytest.mark.processes
def test_torchrun_with_the_wrong_number_of_ranks_is_refused_once(capsys, tmp_path):
    outcome(capsys, "partition", "build", write_npz(tmp_path / "small.npz"), "--parts", 3, "--out", "three")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "gcnsys", "train", "three"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if line.startswith("gcnsys:")]
    assert said == ["gcnsys: three has 3 parts but 2 ranks were started; start one rank a part"]


@pytest.mark.processes
def test_ranks_that_fail_together_say_one_sentence(tmp_path):
    spec = write_npz(tmp_path / "small.npz")
    command = [sys.executable, "-m", "gcnsys", "train", spec, "--parts", "2", "--lr", "1e30", "--epochs", "9"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("gcnsys:")]
    assert len(said) == 1
    assert "lower the learning rate" in said[0]
    assert "Traceback" not in done.stderr


def test_building_showing_and_verifying_a_partitioning(capsys, tmp_path):
    spec = write_npz(tmp_path / "small.npz")
    code, out, _ = outcome(capsys, "partition", "build", spec, "--parts", 3, "--out", "three", "--json")
    assert code == 0
    built = json.loads(out)
    assert built["num_parts"] == 3
    assert sum(part["inner"] for part in built["parts"]) == 40
    code, out, _ = outcome(capsys, "partition", "show", "three", "--model", "sage")
    assert code == 0
    assert "communication volume" in out
    assert outcome(capsys, "partition", "verify", "three")[0] == 0


def test_an_order_of_nodes_is_shown_and_one_that_is_unknown_refused(capsys, tmp_path):
    spec = write_npz(tmp_path / "small.npz")
    build = ("partition", "build", spec, "--parts", 2, "--out", "two", "--overwrite")
    _, out, _ = outcome(capsys, *build, "--order", "rcm", "--json")
    assert json.loads(out)["order"] == "rcm"
    assert "in 2 parts by metis, rcm order, in two" in outcome(capsys, "partition", "show", "two")[1]
    assert "order = 'rmc'" in refused(capsys, *build, "--order", "rmc")
    for order in ("natural", "cluster"):
        assert outcome(capsys, "train", spec, "--parts", 1, "--order", order, "--epochs", 2)[0] == 0
    assert len(list((tmp_path / "partitions").iterdir())) == 2


def test_expected_traffic_is_what_a_run_sends(capsys, tmp_path):
    spec = write_npz(tmp_path / "small.npz")
    for extra in ((), ("--inductive",)):
        outcome(capsys, "partition", "build", spec, "--parts", 2, "--out", "two", "--overwrite", *extra)
        for options in (("--hidden", 9), ("--hidden", 4, "--layers", 3), ("--first-hop", "off")):
            _, out, _ = outcome(capsys, "partition", "show", "two", "--json", *options)
            expected = [rank["halo_bytes_sent_per_epoch"] for rank in json.loads(out)["expected"]]
            assert expected == sent_bytes("two", (*options, "--prune", "off")), options
            pruned = sent_bytes("two", (*options, "--prune", "on"))
            assert all(less <= most for less, most in zip(pruned, expected, strict=True)), options
            assert "--inductive" in extra or sum(pruned) < sum(expected), options


def sent_bytes(folder, options):
    import torch

    from gcnsys.cli.train import configured
    from gcnsys.partition import Partitioning
    from gcnsys.runtime import Placement
    from gcnsys.testing.ranks import run_ranks
    from gcnsys.train.run import run_part

    asked = parser().parse_args(["train", folder, "--epochs", "1", *map(str, options)])
    config = configured(asked)
    placement = Placement(torch.device("cpu"), "gloo")
    summaries = run_ranks(2, lambda comm: run_part(Partitioning.open(folder), config, comm, placement))
    return summaries[0]["halo_bytes_sent_per_epoch"]


def test_a_run_says_which_rows_were_left_out(capsys, tmp_path):
    masks = {f"{name}_mask": np.arange(40) % 40 == node for node, name in enumerate(("train", "val", "test"))}
    chain = np.stack([np.arange(39), np.arange(1, 40)])
    spec = write_npz(tmp_path / "chain.npz", edge_index=chain, **masks)
    _, said, _ = outcome(capsys, "train", spec, "--epochs", 1)
    assert "training computes 2, 1 of 40 rows, layer by layer" in said
    assert "evaluation computes 4, 3 of 40 rows, layer by layer" in said
    _, said, _ = outcome(capsys, "train", spec, "--epochs", 1, "--prune", "off")
    assert "rows, layer by layer" not in said
    assert "batch norm does not" in refused(capsys, "train", spec, "--norm", "batch", "--prune", "on")


def test_pictures_are_drawn(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    spec = write_npz(tmp_path / "small.npz")
    outcome(capsys, "train", spec, "--epochs", 3, "--out", "run")
    assert outcome(capsys, "report", "run", "--out", "pictures")[0] == 0
    outcome(capsys, "partition", "build", spec, "--parts", 2, "--out", "two")
    assert outcome(capsys, "partition", "show", "two", "--plot", "parts.png")[0] == 0
    for path in (tmp_path / "pictures/loss-by-epoch.png", tmp_path / "parts.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_datasets_are_listed_shown_and_converted(capsys, tmp_path):
    assert "digits" in outcome(capsys, "data", "list")[1]
    spec = write_npz(tmp_path / "small.npz")
    for out in ("copy.npz", "copy"):
        assert outcome(capsys, "data", "convert", spec, out)[0] == 0
        _, shown, _ = outcome(capsys, "data", "show", out, "--json")
        assert json.loads(shown)["nodes"] == 40
    assert "exists" in refused(capsys, "data", "convert", spec, "copy")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(capsys, command):
    code, out, _ = outcome(capsys, command, "--help")
    assert code == 0
    assert len(out.splitlines()) > 5


def test_names_that_are_nearly_right_are_suggested(capsys):
    assert "did you mean 'train'" in refused(capsys, "trian", "digits")
    assert "did you mean 'digits'" in refused(capsys, "train", "digit")
    assert "did you mean 'sage'" in refused(capsys, "train", "digits", "--model", "saeg")
    assert "did you mean 'metis'" in refused(capsys, "train", "digits", "--partition-method", "mettis")
    assert "did you mean 'epochs'" in refused(capsys, "train", "digits", "--set", "epoch=3")
    assert "did you mean 'vanilla'" in refused(capsys, "train", "digits", "--method", "vanila")


MISTAKES = {
    "more parts than nodes": (("train", "digits", "--parts", "5000"), "more than the graph's 1797 nodes"),
    "no parts": (("train", "digits", "--parts", "0"), "parts = '0'"),
    "a seed of too many bits": (("train", "digits", "--seed", str(2**64)), "seed = '18446744073709551616'"),
    "dropout of one": (("train", "digits", "--dropout", "1"), "dropout = '1'"),
    "a word for a number": (("train", "digits", "--epochs", "many"), "epochs = 'many'"),
    "a split that is too large": (("train", "digits", "--split", "0.9,0.9,0.1"), "at most 1"),
    "an option nobody knows": (("train", "digits", "--hiden", "4"), "unrecognized arguments"),
    "nothing to train on": (("train",), "DATA is missing"),
    "a run file that is not there": (("train", "absent.toml"), "absent.toml"),
    "a file that is not there": (("train", "npz:absent.npz"), "no such file"),
    "linear layers only": (("train", "digits", "--linear-layers", "2"), "linear_layers must be in 0..1"),
    "a set without a value": (("train", "digits", "--set", "epochs"), "KEY=VALUE"),
    "no partitioning": (("partition", "show", "absent"), "not a partitioning"),
    "no run": (("report", "absent", "--out", "x"), "not a run's folder"),
    "zero parts to build": (("partition", "build", "digits", "--parts", "0"), "at least 1"),
    "cuda without a GPU for two": (("train", "digits", "--parts", "2", "--device", "cuda"), "no CUDA device"),
    "cuda without a GPU": (("train", "digits", "--device", "cuda"), "no CUDA device"),
}


@pytest.mark.parametrize(("arguments", "told"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_gets_one_sentence(capsys, arguments, told):
    if "cuda" in arguments:
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a GPU here")
    assert told in refused(capsys, *arguments)


@pytest.mark.parametrize(
    "command", [("islandize", "digits"), ("polarize", "digits", "--out", "made"), ("estimate", "digits")]
)
def test_a_picture_that_cannot_be_drawn_is_refused_before_the_work(capsys, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "needs the package 'matplotlib'" in refused(capsys, *command, "--plot", "picture.png")
    assert list(tmp_path.iterdir()) == []


def test_islands_are_not_looked_for_where_they_cannot_be_kept(capsys, tmp_path):
    assert "exists; choose another --out" in refused(capsys, "islandize", "digits", "--out", tmp_path)


MASKS = ("train_mask", "val_mask", "test_mask")
BROKEN = {
    "no nodes": (
        {"y": np.zeros(0, int), "x": np.zeros((0, 6)), "edge_index": np.zeros((2, 0), int)}, "no nodes"),
    "NaN features": ({"x": np.full((40, 6), np.nan)}, "x[0, 0] is nan"),
    "infinite features": ({"x": np.full((40, 6), np.inf)}, "x[0, 0] is inf"),
    "features of the wrong shape": ({"x": np.zeros((39, 6))}, "x must have shape [40, F]"),
    "edges of the wrong shape": ({"edge_index": np.zeros((3, 9), int)}, "edge_index must have shape [2, E]"),
    "a node that is not there": ({"edge_index": np.array([[0], [40]])}, "names node 40, outside 0..39"),
    "a label below -1": ({"y": np.full(40, -2)}, "label -2 at node 0"),
    "labels out of range": ({"y": np.arange(40) * 100}, "out of range"),
    "no labels": ({"y": np.full(40, -1)}, "no node has a label"),
    "text for features": ({"x": np.full((40, 6), "a")}, "must hold numbers"),
    "objects": ({"x": np.full((40, 6), None)}, "pickled"),
    "features missing": ({"x": None}, "array 'x' is missing"),
    "too few weights": ({"edge_weight": np.ones(3)}, "edge_weight must have one entry"),
    "NaN weights": ({"edge_weight": np.full(160, np.nan)}, "edge_weight holds"),
    "overlapping masks": (
        {name: np.ones(40, bool) for name in MASKS}, "must not overlap"),
    "an empty training mask": (
        {name: np.zeros(40, bool) for name in MASKS}, "selects no labelled"),
    "one mask of three": ({"train_mask": np.ones(40, bool)}, "give all or none"),
    "a false claim of symmetry": (
        {"is_symmetric": np.array(True), "edge_index": np.array([[0], [1]])}, "no counterpart"),
}  # fmt: skip


@pytest.mark.parametrize("command", ["train", "build", "show"])
@pytest.mark.parametrize(("changes", "told"), BROKEN.values(), ids=BROKEN)
def test_a_broken_dataset_gets_one_sentence_and_leaves_nothing(capsys, tmp_path, command, changes, told):
    spec = write_npz(tmp_path / "broken.npz", **changes)
    arguments = {
        "train": ("train", spec), "show": ("data", "show", spec),
        "build": ("partition", "build", spec, "--parts", "2"),
    }[command]  # fmt: skip
    sentence = refused(capsys, *arguments)
    assert told in sentence
    assert {path.name for path in tmp_path.iterdir()} == {"broken.npz"}


@pytest.mark.parametrize("keep", [0, 10, 500, -1])
def test_a_truncated_archive_gets_one_sentence(capsys, tmp_path, keep):
    spec = write_npz(tmp_path / "small.npz")
    content = (tmp_path / "small.npz").read_bytes()
    (tmp_path / "small.npz").write_bytes(content[:keep])
    assert "small.npz" in refused(capsys, "train", spec)


def test_isolated_nodes_self_loops_and_duplicates_train(capsys, tmp_path):
    edges = np.array([[0, 0, 0, 1, 2, 2], [1, 1, 1, 1, 3, 2]])
    spec = write_npz(tmp_path / "odd.npz", edge_index=edges)
    for model in ("gcn", "sage", "gin", "gat", "gatv2"):
        assert outcome(capsys, "train", spec, "--epochs", 2, "--model", model)[0] == 0


def test_attention_has_its_own_settings(capsys, tmp_path):
    spec = write_npz(tmp_path / "small.npz")
    gat = ("train", spec, "--model", "gat", "--epochs", 3)
    assert (
        outcome(
            capsys, *gat, "--heads", 4, "--hidden", 8, "--attention-dropout", 0.2, "--activation", "relu"
        )[0]
        == 0
    )
    assert "64 features cannot be divided among 7 heads" in refused(capsys, *gat, "--heads", 7)
    assert "first_hop = on needs a first layer that sums" in refused(capsys, *gat, "--first-hop", "on")
    outcome(capsys, "partition", "build", spec, "--parts", 2, "--out", "two")
    shown = json.loads(outcome(capsys, "partition", "show", "two", "--model", "gat", "--json")[1])
    expected = [rank["halo_bytes_sent_per_epoch"] for rank in shown["expected"]]
    assert expected == sent_bytes("two", ("--model", "gat", "--prune", "off"))


def test_negative_degrees_are_refused_on_every_rank(capsys, tmp_path):
    edges = np.array([[0, 1, 2, 3], [1, 2, 3, 0]])
    spec = write_npz(tmp_path / "negative.npz", edge_index=edges, edge_weight=np.array([-3.0, 1, 1, 1]))
    assert "positive weighted degrees" in refused(capsys, "train", spec, "--first-hop", "on")
    assert "positive weighted degrees" in refused(capsys, "train", spec, "--first-hop", "off")
    assert not (tmp_path / "runs").exists()


def test_a_run_is_never_overwritten_unasked(capsys, tmp_path):
    spec = write_npz(tmp_path / "small.npz")
    outcome(capsys, "train", spec, "--epochs", 1, "--out", "run")
    before = (tmp_path / "run/summary.json").read_text()
    assert "holds a run already" in refused(capsys, "train", spec, "--epochs", 1, "--out", "run")
    assert (tmp_path / "run/summary.json").read_text() == before
    assert outcome(capsys, "train", spec, "--epochs", 1, "--out", "run", "--overwrite")[0] == 0


def test_asking_for_other_parts_than_a_partitioning_has_is_refused(capsys, tmp_path):
    outcome(capsys, "partition", "build", write_npz(tmp_path / "small.npz"), "--parts", 2, "--out", "two")
    assert "has 2 parts" in refused(capsys, "train", "two", "--parts", 3)
    assert "cut for transductive" in refused(capsys, "train", "two", "--inductive")


def test_a_missing_optional_package_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_geometric", None)
    monkeypatch.setitem(sys.modules, "torch_geometric.datasets", None)
    assert "pip install 'gcnsys[pyg]'" in refused(capsys, "train", "pyg:Planetoid/Cora")


def test_the_version_names_the_kernels(capsys):
    code, out, _ = outcome(capsys, "--version")
    assert code == 0
    assert "kernels: " in out


def test_a_rank_takes_its_device_and_patience_from_the_run_file(capsys, tmp_path, monkeypatch):
    asked = []

    def spy(device, *, timeout):
        asked.append((device, timeout))
        raise InputError("stop here")

    monkeypatch.setattr("gcnsys.cli.train.joined", spy)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    (tmp_path / "run.toml").write_text('data = "digits"\ndevice = "cpu"\nstartup_timeout = 7\n')
    assert "stop here" in refused(capsys, "train", "run.toml")
    assert asked == [("cpu", 7.0)]


def test_every_setting_is_an_option_of_train():
    from gcnsys.cli.train import GROUPS
    from gcnsys.cli.train_minibatch import SAMPLING
    from gcnsys.train import RunConfig

    listed = [*SAMPLING, *(name for names in GROUPS.values() for name in names)]
    assert sorted(listed) == sorted(set(RunConfig.model_fields) - {"data"})


def test_batches_are_drawn_trained_on_and_told_of(capsys, tmp_path):
    spec = write_npz(tmp_path / "small.npz")
    arguments = ["train-minibatch", spec, "--fanouts", "3,2", "--batch", "8", "--epochs", "3", "--out", "run"]
    code, out, err = outcome(capsys, *arguments)
    assert code == 0, err
    assert "an epoch drew 3 batches" in out
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert all(line["batches"] == 3 and line["rows"] > 0 for line in lines)
    code, out, _ = outcome(capsys, "sample", spec, "--sampler", "labor,cluster", "--fanouts", "3,2", "--json")
    found = {each["sampler"]: each for each in json.loads(out)["samplers"]}
    assert set(found) == {"labor", "cluster"}
    assert all(each["rows"] >= each["seeds"] > 0 and each["seconds"] > 0 for each in found.values())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--fanouts", "0,2"], "a fan-out must be at least 1, or -1 for all neighbours, got 0"),
        (["--fanouts", "3"], "2 layers need as many fan-outs, got 1: 3"),
        (["--fanouts", "3,x"], "needs numbers such as 15,10,5, got '3,x'"),
        (["--sampler", "neighbor"], "unknown sampler 'neighbor'; did you mean 'neighbour'?"),
        (["--budget", "0"], "budget = '0'"),
        (["--restart", "1"], "restart = '1'"),
    ],
)
def test_samplers_that_cannot_be_are_refused(capsys, tmp_path, arguments, sentence):
    spec = write_npz(tmp_path / "small.npz")
    assert sentence in refused(capsys, "train-minibatch", spec, *arguments)
    if "--sampler" not in arguments:
        assert sentence in refused(capsys, "sample", spec, "--layers", "2", *arguments)


def test_sample_wants_at_least_one_batch(capsys, tmp_path):
    spec = write_npz(tmp_path / "small.npz")
    assert "--batches must be at least 1, got 0" in refused(capsys, "sample", spec, "--batches", "0")


def test_options_are_written_out(capsys):
    assert "unrecognized arguments: --js" in refused(capsys, "data", "show", "digits", "--js")


def test_what_cannot_be_written_to_a_run_file_is_refused(capsys):
    assert "finite" in refused(capsys, "train", "digits", "--checkpoint-minutes", "inf")
    assert "is not UTF-8" in refused(capsys, "train", "npz:a\udcff.npz")


def test_a_run_file_keeps_any_name(tmp_path):
    config = RunConfig.checked({"data": "npz:\U0001f4c8/ü\x7f.npz"})
    (tmp_path / "run.toml").write_text(config.toml())
    assert RunConfig.checked(RunConfig.read(tmp_path / "run.toml")) == config


@pytest.mark.parametrize("content", ["empty", "truncated", "one array", "text"])
def test_files_that_hold_no_blocks_are_refused(capsys, tmp_path, content):
    np.savez(tmp_path / "blocks.npz", order=np.arange(4))
    whole = (tmp_path / "blocks.npz").read_bytes()
    if content == "one array":
        np.save(tmp_path / "one.npy", np.arange(3))
        whole = (tmp_path / "one.npy").read_bytes()
    cut = {"empty": b"", "truncated": whole[:-40], "one array": whole, "text": b"order"}[content]
    (tmp_path / "blocks.npz").write_bytes(cut)
    said = refused(capsys, "estimate", "digits", "--blocks", "blocks.npz")
    assert "blocks.npz: cannot be read as blocks" in said


def test_the_advice_fits_what_the_system_says(capsys, monkeypatch):
    spec = write_npz("g.npz")

    def fails(*_, error, **__):
        raise error

    for error, advice in (
        (PermissionError(13, "Permission denied", "a"), "a: Permission denied; change its permissions"),
        (OSError(28, "No space left on device"), "out: No space left on device; free space"),
        (OSError("10 requested and 4 written"), "out: 10 requested and 4 written; free space"),
    ):
        monkeypatch.setattr("gcnsys.datasets.npz.np.save", partial(fails, error=error))
        assert advice in refused(capsys, "data", "convert", spec, "out")
        assert not list(Path().glob("*out*"))


def test_a_folder_of_a_datasets_name_does_not_hide_it(capsys, tmp_path):
    (tmp_path / "digits").mkdir()
    code, out, _ = outcome(capsys, "train", "digits", "--epochs", "1", "--json")
    assert code == 0
    assert json.loads(out)["dataset"] == "digits"


def test_scores_that_there_are_none_of_are_told_again(capsys, tmp_path):
    spec = write_npz("g.npz", train_mask=np.arange(40) < 30, val_mask=np.zeros(40, bool),
                     test_mask=np.arange(40) >= 30)  # fmt: skip
    code, out, _ = outcome(capsys, "train", spec, "--epochs", "2", "--out", "run", "--json")
    assert code == 0
    assert json.loads(out)["best_val_acc"] is None
    finished(json.loads((tmp_path / "run/summary.json").read_text()), tmp_path / "run", Output(json=False))
    assert "at the best validation accuracy - (epoch" in capsys.readouterr().out


def test_a_halo_ratio_is_a_number(capsys):
    assert "--halo-ratio must be at least 0, and finite" in refused(
        capsys, "plan", "digits", "--parts", "2", "--halo-ratio", "inf"
    )


def test_directed_graphs_are_converted_alike_to_a_file_and_to_a_folder(capsys):
    spec = "synthetic:directed,nodes=50,degree=3,features=2"
    for out in ("g.npz", "folder"):
        assert outcome(capsys, "data", "convert", spec, out)[0] == 0
    one, other = (
        json.loads(outcome(capsys, "data", "show", spec, "--json")[1]) for spec in ("g.npz", "folder")
    )
    assert {**one, "name": ""} == {**other, "name": ""}
    assert one["symmetric"]


@pytest.mark.parametrize("words", [["--directed"], ["--partition-seed", "3"], ["--split", "0.5,0.2,0.3"]])
def test_what_belongs_to_the_cut_is_refused_beside_one(capsys, words):
    assert outcome(capsys, "partition", "build", "digits", "--parts", "2", "--out", "cut")[0] == 0
    said = refused(capsys, "train", "cut", *words)
    assert f"{words[0]} belongs to the cut, and cut is cut already" in said
