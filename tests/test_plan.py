"""Plans beside what training really sends, holds and takes."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import small

from gcnsys.cli.main import run
from gcnsys.datasets import load
from gcnsys.errors import InputError
from gcnsys.partition import build
from gcnsys.partition.costs import Hop, Load, Widths, lanes
from gcnsys.plan import (
    Counts,
    Cut,
    Job,
    Method,
    Network,
    Pace,
    Prediction,
    methods,
    miniature,
    predict,
    recommend,
    units,
)
from gcnsys.plan.live import Live
from gcnsys.plan.miniature import held
from gcnsys.runtime.process import Placement
from gcnsys.runtime.receptive_field import receptive_field, receptive_fields
from gcnsys.testing.ranks import run_ranks
from gcnsys.train import RunConfig
from gcnsys.train.making import make_trainer

SLOW = Network(1e6, 1e-3)
PACE = Pace(1e-3, 1e-6, 1e-8, 1e-9, {"int8": 2e-9, "bf16": 1e-9}, 2e-4, 1e-7, source="made up")
CUTS = {
    "digits": ("digits", {}),
    "inductive": ("digits", {"inductive": True}),
    "few trained": ("digits", {"split": (0.02, 0.1, 0.88)}),
    "sparse": ("small", {}),
    "directed": ("synthetic:directed,nodes=300,degree=6,features=9,classes=3", {"directed": True}),
}
MODELS = {
    "gcn": {"model": "gcn", "hidden": 16},
    "sage": {"model": "sage", "hidden": 8, "layers": 3, "first_hop": "off"},
    "batch norm": {"model": "gin", "hidden": 8, "norm": "batch"},
    "linear": {"model": "gcn", "hidden": 8, "layers": 3, "linear_layers": 1, "norm": "layer"},
    "gat": {"model": "gat", "hidden": 8, "heads": 2},
    "resgcn": {"model": "resgcn", "hidden": 8, "layers": 3},
    "appnp": {"model": "appnp", "hidden": 8, "hops": 3},
    "sgc": {"model": "sgc", "hops": 2, "first_hop": "off"},
}


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """A partitioning by name and number of parts, cut once."""
    made = {}

    def of(name, parts):
        if (name, parts) not in made:
            made[name, parts] = _built(name, parts, tmp_path_factory.mktemp("cut") / "parts")
        return made[name, parts]

    return of


def _built(name, parts, folder):
    spec, given = CUTS[name]
    config = RunConfig.checked({"data": spec, "parts": parts, **given})
    if name == "sparse":
        data = small("undirected", sparse=True).dataset
    else:
        data = load(spec, split=config.data_split(), undirected=not config.directed, normalization="none")
    return build(data, config.cutting(), folder, spec=spec)


def sent(partitioning, config):
    """What each rank sends in its third epoch: rows, reductions."""

    def body(comm):
        trainer = make_trainer(partitioning, config, comm, Placement(torch.device("cpu"), "gloo"))
        epoch = list(trainer.epochs(3))[-1]
        return epoch.halo_bytes, epoch.reduce_bytes, epoch.buffer_bytes

    return [list(column) for column in zip(*run_ranks(partitioning.num_parts, body), strict=True)]


def planned(partitioning, config, method):
    job = Job.on(partitioning.manifest, config, 0.1)
    return predict(Cut.of(partitioning, job), job, method, PACE, SLOW, base=0)


def agrees(partitioning, settings, method):
    values = {"data": str(partitioning.folder), "device": "cpu", **settings}
    found = planned(partitioning, RunConfig.checked(values), method)
    rows, reductions, _ = sent(partitioning, RunConfig.checked(values | method.settings))
    assert list(found.halo_bytes) == rows
    assert list(found.reduce_bytes) == reductions
    return rows


@pytest.mark.parametrize("method", methods((0.3,)), ids=lambda method: method.name)
def test_bytes_of_every_method_are_exact(cut, method):
    assert min(agrees(cut("digits", 3), MODELS["sage"], method)) > 0


@pytest.mark.parametrize("name", MODELS)
def test_bytes_of_every_model_are_exact(cut, name):
    agrees(cut("digits", 2), MODELS[name], Method("", {"method": "custom", "codec": "int8"}, 0, ""))


@pytest.mark.parametrize("name", CUTS)
@pytest.mark.parametrize("parts", [1, 2, 3])
def test_bytes_on_every_cut_are_exact_pruned_or_not(cut, name, parts):
    rows = agrees(cut(name, parts), MODELS["gcn"], Method("", {"method": "bns", "rate": 0.4}, 0, ""))
    assert (sum(rows) > 0) == (parts > 1)


def test_buffers_of_exchanges_hold_what_leaves_and_what_arrives(cut):
    partitioning = cut("digits", 3)
    config = RunConfig.checked({"data": str(partitioning.folder), "device": "cpu", **MODELS["sage"]})
    job = Job.on(partitioning.manifest, config)
    for method in methods((0.3,)):
        if method.choices.codec == "fp32" and method.choices.smoothing == "off":
            running = RunConfig.checked(
                config.model_dump(include={*MODELS["sage"], "data"}) | method.settings
            )
            buffers = sent(partitioning, running)[2]
            each = Cut.of(partitioning, job).loads
            assert buffers == [sum(map(sum, lanes(load, job.widths, method.wire))) for load in each]


def test_pruned_layers_send_and_compute_less(cut):
    partitioning = cut("few trained", 2)
    settings = {"data": "digits", **MODELS["gcn"]}
    exact = methods()[0]
    pruned = planned(partitioning, RunConfig.checked(settings), exact)
    whole = planned(partitioning, RunConfig.checked(settings | {"prune": "off"}), exact)
    assert sum(pruned.halo_bytes) < sum(whole.halo_bytes)
    assert pruned.compute < whole.compute
    assert pruned.peak < whole.peak


def test_a_draft_of_a_cut_has_files_of_the_size_of_a_real_one(cut):
    partitioning = cut("digits", 3)
    manifest = partitioning.manifest
    counts = Counts("digits", manifest.num_nodes, manifest.num_edges, 4 * manifest.num_features + 11)
    real = Cut.of(partitioning, Job.on(manifest, RunConfig(data="digits")))
    draft = counts.cut(3, manifest.volume / manifest.num_nodes)
    total, drafted = (sum(load.files for load in each.loads) for each in (real, draft))
    assert drafted == pytest.approx(total, rel=0.1)  # every file has a head of some hundred bytes
    halos = [sum(load.halo for load in each.loads) for each in (real, draft)]
    assert halos[1] == pytest.approx(halos[0], rel=0.01)


def test_the_draft_of_a_halo_is_a_share_of_a_random_cut():
    # Every node has four neighbours, far apart: counted over many random assignments.
    nodes, parts, generator = 400, 5, torch.Generator().manual_seed(0)
    steps = torch.tensor([-57, -23, 23, 57])
    neighbours = (torch.arange(nodes)[:, None] + steps) % nodes
    copies = 0
    for _ in range(200):
        part = torch.randint(parts, (nodes,), generator=generator)
        for node in range(nodes):
            copies += len(set(part[neighbours[node]].tolist()) - {int(part[node])})
    counts = Counts("ring", nodes, 4 * nodes, 0)
    assert counts.halo_ratio(parts) == pytest.approx(0.3 * copies / (200 * nodes), rel=0.02)
    assert counts.halo_ratio(1) == 0


@given(
    st.integers(2, 5), st.lists(st.integers(0, 50), min_size=2, max_size=2), st.integers(1, 9),
    st.sampled_from(methods((0.3,))),
)  # fmt: skip
def test_lanes_are_counted_row_by_row(layers, pairs, width, method):
    hop = Hop(10, 20, 5, (0, *pairs), (0, *reversed(pairs)))
    load = Load(10, sum(pairs), sum(pairs), 20, 5, 100, (hop,))
    widths = Widths((width,) * layers, (0,) + (width,) * (layers - 1))
    found = lanes(load, widths, method.wire)
    rows = 0
    for pair in pairs:
        rows += -(-3 * pair // 10) if method.choices.rows == "uniform" else pair
    a_row = {"fp32": 4 * width, "bf16": 2 * width, "int8": width + 4}[method.choices.codec]
    assert sum(leaving for leaving, _ in found) == (2 * layers - 1) * rows * a_row
    assert len(found) == (2 * layers - 1 if rows else 0)


LOAD = Load(600, 90, 80, 3000, 300, 10_000, (Hop(600, 3000, 300, (0, 50, 30), (0, 40, 50)),))

NARROW = replace(LOAD, halo=0, boundary=0, halo_edges=0, hops=(Hop(600, 3000, 0, (0,), (0,)),))


def test_what_is_alive_is_what_layers_and_their_gradients_take():
    # Two layers, 32 to 64 to 8, of features that are summed beforehand: the peak is in backward.
    job = Job(RunConfig(data="x", hidden=64, layers=2, first_hop="on"), 32, 8)
    found = held(job, NARROW, methods()[0].choices)
    # Sums of features; the hidden row, and its gradient before and after ReLU: four bytes a number.
    a_row, least = found.grown / NARROW.inner, 4 * (32 + 3 * 64)
    assert least <= a_row <= least + 4 * 3 * 8 + 150  # logits; numbers of nodes, scales
    assert found.fixed >= 4 * 4 * (32 * 64 + 64 + 64 * 8 + 8)  # weights, gradients, two moments
    deeper = held(replace(job, config=RunConfig(data="x", hidden=64, layers=4)), NARROW, methods()[0].choices)
    more = (deeper.grown - found.grown) / NARROW.inner
    assert 4 * 2 * 64 <= more <= 4 * 2 * 3 * 64  # of each layer more, its rows, and perhaps what it summed


def test_what_is_alive_grows_with_what_each_choice_keeps():
    job = Job(RunConfig(data="x", hidden=64, layers=3), 32, 8)
    found = {method.name: held(job, LOAD, method.choices).on(LOAD) for method in methods((0.3,))}
    assert found["vanilla"] < found["pipegcn"] < found["pipegcn-f"] < found["pipegcn-gf"]
    assert found["pipegcn"] < found["pipegcn-g"]
    assert found["bns 0.3"] == pytest.approx(found["vanilla"], rel=0.05)  # evaluation sends all rows
    under_way = 4 * (3 * 64 + 64) * (LOAD.halo + LOAD.boundary)  # of two exchanges, both ways, and what left
    assert found["pipegcn"] - found["vanilla"] < 2 * under_way


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("how", ["digits", "few trained", "sparse"])
def test_a_miniature_tells_what_is_alive_on_the_whole_part(cut, name, how, monkeypatch):
    partitioning = cut(how, 2)
    config = RunConfig.checked({"data": str(partitioning.folder), "device": "cpu", **MODELS[name]})
    job = Job.on(partitioning.manifest, config, 0.1)
    load = larger(max(Cut.of(partitioning, job).loads, key=lambda each: each.inner + each.halo), 3)
    choices = methods()[0].choices
    monkeypatch.setattr(miniature, "ROWS", load.inner / 3)
    told = held(job, load, choices).on(load)
    monkeypatch.setattr(miniature, "ROWS", load.inner)
    assert told == pytest.approx(held(job, load, choices).on(load), rel=0.1)


def larger(load, times):
    """A part so many times as large."""
    hops = tuple(
        Hop(
            times * hop.rows, times * hop.inner_edges, times * hop.halo_edges,
            tuple(times * n for n in hop.sends), tuple(times * n for n in hop.receives), times * hop.sources,
        )
        for hop in load.hops
    )  # fmt: skip
    names = ("inner", "halo", "boundary", "inner_edges", "halo_edges", "flipped")
    return replace(load, hops=hops, **{name: times * getattr(load, name) for name in names})


def test_live_counts_storages_once_and_until_nobody_holds_them():
    before = torch.zeros(1000)
    with Live({500}, 10) as live:
        one = torch.ones(250)
        view = one[:10]
        before.add_(1)
        del one
        assert live.restarted() == (1000, 0)
        del view
        two = torch.ones(2, 500) * 2
        assert live.restarted() == (0, 2 * 10 * 4000)  # the ones, and twice them
        array = np.zeros(500)
        del two
        live.restarted()
        fixed, grown = live.restarted()
    assert grown == 10 * array.nbytes
    assert fixed < 1000


def test_schedules_hide_what_they_can():
    counts = Counts("some", 10_000, 100_000, 100)
    job = Job(RunConfig(data="x", hidden=8), 32, 4)
    found = {m.name: predict(counts.cut(4), job, m, PACE, SLOW, base=7) for m in methods((0.1,))}
    vanilla, overlap, late = found["vanilla"], found["overlap"], found["pipegcn"]
    assert vanilla.comm == vanilla.transfer > overlap.comm > late.comm
    assert late.comm == pytest.approx(max(0.0, late.transfer - late.compute - late.reduce))
    assert found["bns 0.1"].transfer < 0.2 * vanilla.transfer
    free = replace(PACE, draw=0.0, candidate=0.0)
    drawn = next(each for each in methods((0.1,)) if each.name == "bns 0.1")
    assert predict(counts.cut(4), job, drawn, free, SLOW, base=7).compute < vanilla.compute
    assert found["int8"].transfer < 0.6 * vanilla.transfer
    assert late.peak > vanilla.peak
    assert found["pipegcn-gf"].peak > late.peak


def made_up(name, risk, parts, seconds, memory):
    method = Method(name, {}, risk, "for a reason")
    return Prediction(method, parts, (memory,), (0,), (0,), seconds, 0.0, 0.0, 0.0, True)


def test_an_epoch_has_its_draws(cut):
    partitioning = cut("digits", 3)
    job = Job.on(partitioning.manifest, RunConfig(data=str(partitioning.folder), **MODELS["gcn"]))
    free = replace(PACE, draw=0.0, candidate=0.0)
    for method, drawn in (("bns 0.1", True), ("vanilla", False)):
        chosen = next(each for each in methods() if each.name == method)
        with_draws, without = (
            predict(Cut.of(partitioning, job), job, chosen, pace, SLOW, base=0) for pace in (PACE, free)
        )
        parts = partitioning.manifest.parts
        rows = [
            sum(part.sends) + sum(other.sends[rank] for other in parts) for rank, part in enumerate(parts)
        ]
        expected = max(2 * PACE.draw + PACE.candidate * each for each in rows) if drawn else 0.0
        assert with_draws.compute - without.compute == pytest.approx(expected, rel=0.05)


def test_ranks_that_meet_wait_for_the_last():
    uneven = replace(PACE, unevenness=0.05)
    numbers = (
        np.random.default_rng(0).normal(1.0, 0.05 * np.sqrt(6), (20_000, 6, 4)) / 6
    )  # six times to the next meeting
    for ranks in (2, 3, 4):
        waited = numbers[:, :, :ranks].max(2).sum(1).mean() - 1.0
        assert uneven.waiting(1.0, ranks, 6) == pytest.approx(waited, rel=0.08)
    assert uneven.waiting(1.0, 1, 6) == PACE.waiting(1.0, 4, 6) == 0.0
    counts, job = Counts("some", 10_000, 100_000, 100), Job(RunConfig(data="x", hidden=8), 32, 4)
    for method in methods((0.1,)):
        even, other = (predict(counts.cut(4), job, method, pace, SLOW, base=7) for pace in (PACE, uneven))
        assert other.seconds > even.seconds
        assert (other.reduce > even.reduce) == (method.schedule == "pipeline")
        assert (other.comm > even.comm) == (method.schedule != "pipeline")


def test_the_least_risk_among_the_nearly_fastest_that_fit_is_taken():
    exact, late, drawn = made_up("a", 0, 2, 1.05, 10), made_up("b", 1, 2, 1.0, 20), made_up("c", 2, 2, 0.5, 5)
    assert recommend([exact, late, drawn]).taken is exact
    assert "within 10%" in recommend([exact, late, drawn]).because
    slow = replace(exact, compute=1.2)
    assert recommend([slow, late, drawn]).taken is late
    assert recommend([slow, late, drawn], memory=15).taken is slow
    assert recommend([slow, late, drawn], memory=7).taken is drawn  # nothing of less risk fits
    assert recommend([exact, replace(exact, parts=1)]).taken.parts == 1
    with pytest.raises(InputError, match="too little for any method: the least is 5 B a rank, c on 2 parts"):
        recommend([exact, late, drawn], memory=4)


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (units.memory, "11GiB", 11 * 2**30), (units.memory, "1.5 MB", 1.5e6),
        (units.bandwidth, "10Gbit", 1.25e9), (units.bandwidth, "1GB/s", 1e9), (units.seconds, "50us", 5e-5),
        (units.seconds, "0", 0), (units.flops, "2TFLOPS", 2e12),
    ],
)  # fmt: skip
def test_amounts_are_read(read, text, value):
    assert read(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "11", "GiB", "-1GiB", "0GiB", "11Gib", "1e3GiB", "11 GiB/s", "nanB"])
def test_other_amounts_are_refused(text):
    with pytest.raises(InputError, match="write it as 11GiB"):
        units.memory(text)


def told(capsys, *arguments):
    assert run(["plan", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_command_plans_for_a_cut(cut, capsys):
    folder = str(cut("digits", 2).folder)
    slow = ("--bandwidth", "1Mbit", "--memory", "100GiB")
    found = told(capsys, folder, "--hidden", "16", *slow, "--threads", "1", "--ranks-a-machine", "2")
    assert "2 ranks at once" in found["compute"]
    assert {each["parts"] for each in found["predictions"]} == {2}
    assert all(each["fits"] and each["bytes_exact"] for each in found["predictions"])
    assert all(each["epoch_seconds"] > 0 for each in found["predictions"])
    assert found["recommended"]["risk"] == "low"  # the network is slow: an exact exchange is not near
    assert run(["plan", folder, "--bandwidth", "1000Gbit", "--latency", "0"]) == 0
    said = capsys.readouterr().out
    assert "bns 0.1 pipeline int8" in said
    assert "\ntake " in said


def test_the_command_plans_from_counts(capsys):
    found = told(capsys, "counts:papers100m", "--parts", "8,192", "--compute", "1TFLOPS", "--hidden", "48")
    peaks = {each["parts"]: max(each["memory_bytes"]) for each in found["predictions"]}
    assert peaks[8] > 5 * peaks[192] > 0
    assert not any(each["bytes_exact"] for each in found["predictions"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["digits", "--parts", "2", "--memory", "11"], "--memory 11: cannot be read"),
        (["digits", "--parts", "2", "--bandwidth", "fast"], "--bandwidth fast: cannot be read"),
        (["digits", "--parts", "2", "--latency", "5"], "--latency 5: cannot be read"),
        (["digits", "--parts", "2", "--compute", "much"], "--compute much: cannot be read"),
        (["digits", "--parts", "2", "--memory", "1MB"], "is too little for any method"),
        (["digits", "--parts", "2", "--rates", "2"], "--rates 2: a share of boundary rows"),
        (["digits", "--parts", "2", "--halo-ratio", "-1"], "--halo-ratio must be at least 0"),
        (["digits"], "--parts is missing"),
        (["digits", "--parts", "99999"], "ask for 1 to so many"),
        (["counts:redit", "--parts", "2"], "did you mean 'reddit'"),
        (["digits", "--parts", "0"], "must be at least 1"),
        (["digits", "--parts", "two"], "needs numbers such as 2,4,8"),
        (["digits", "--parts", "2", "--ranks-a-machine", "0"], "needs a number of at least 1"),
    ],
)
def test_bad_input_of_a_plan_is_one_sentence(arguments, sentence, capsys):
    try:
        code = run(["plan", *arguments])
    except SystemExit as left:
        code = left.code
    said = capsys.readouterr()
    assert code == 2
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert not said.out


def test_training_takes_what_is_recommended(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GCNSYS_PARTITIONS", str(tmp_path / "cuts"))
    out = tmp_path / "run"
    arguments = ["train", "digits", "--hidden", "8", "--epochs", "2", "--out", str(out), "--auto", "--json"]
    assert run(arguments) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["method"] == "vanilla"  # on one part, nothing crosses
    assert "taking vanilla" in said.err


@pytest.mark.processes
def test_two_ranks_take_what_is_recommended(tmp_path):
    words = ["train", "digits", "--parts", "2", "--hidden", "8", "--epochs", "2", "--out", "run", "--auto"]
    command = [sys.executable, "-m", "gcnsys", *words, "--bandwidth", "1Mbit", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["parts"], summary["epochs"]) == (2, 2)
    assert f"taking {summary['method']}" in done.stderr
    assert summary["method"] != "vanilla"  # over such a link, all rows take longest


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--method", "bns"], "but method = bns was asked for: drop one of the two"),
        (["--recompute"], "recompute = True was asked for"),
        (["--memory", "1kB"], "is too little for any method"),
        (["--memory", "much"], "--memory much: cannot be read"),
    ],
)
def test_auto_refuses_what_it_cannot_choose(arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GCNSYS_PARTITIONS", str(tmp_path / "cuts"))
    assert run(["train", "digits", "--auto", "--out", str(tmp_path / "run"), *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_receptive_fields_found_in_one_process_are_those_that_ranks_find(cut):
    partitioning = cut("few trained", 3)
    parts = [partitioning.part(rank) for rank in range(3)]
    wholes, wanted = [part.whole for part in parts], [part.nodes.train_mask for part in parts]
    here = receptive_fields(wholes, wanted, 2)
    there = run_ranks(3, lambda comm: receptive_field(wholes[comm.rank], wanted[comm.rank], 2, comm))
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one.order, other.order)
        assert (one.computed, one.total) == (other.computed, other.total)
        assert all(a.equals(b) for a, b in zip(one.needs, other.needs, strict=True))
    assert here[0].saved > 0.1


@pytest.mark.processes
def test_processes_beside_a_measurement_compute_with_several_threads_too():
    script = """
import time, torch
from gcnsys.plan.pace import _others

torch.set_num_threads(2)
steps, x = torch.zeros(1).share_memory_(), torch.randn(1_000_000)

def step():
    x.relu().sum()  # by both threads
    steps.add_(1)

step()
with _others(1, step):
    until = time.monotonic() + 60
    while steps.item() < 3 and time.monotonic() < until:
        time.sleep(0.01)
assert steps.item() >= 3
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_amount_is_rounded_before_its_prefix_is_chosen():
    told = [units.amount(value, "B") for value in (999.6e6, 999.4e6, 0.9996, 1e3, 0.0)]
    assert told == ["1 GB", "999 MB", "1 B", "1 kB", "0 B"]


def test_many_peers_are_joined_to_a_few_in_a_miniature(monkeypatch):
    sides = tuple(0 if rank == 7 else 900 + rank for rank in range(40))
    load = replace(
        LOAD, halo=sum(sides), boundary=sum(sides), hops=(replace(LOAD.hops[0], sends=sides, receives=sides),)
    )
    job = Job(RunConfig(data="x", hidden=32, layers=2), 24, 4)
    for method in (methods((0.3,))[0], methods((0.3,))[2], methods((0.3,))[3]):
        few = held(job, load, method.choices).on(load)
        with monkeypatch.context() as all_of_them:
            all_of_them.setattr(miniature, "PEERS", 40)
            assert held(job, load, method.choices).on(load) == pytest.approx(few, rel=0.05)
