"""What a run may ask of the exchange: presets, combinations, refusals, plug-ins; bytes and buffers."""

import json
import subprocess
import sys
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracle import Recipe
from small import assigned, both_views, model_for, small

from gcnsys.datasets.dataset import Dataset
from gcnsys.errors import GcnsysError, InputError, PeerError
from gcnsys.kernels.backend import core
from gcnsys.nn import ModelSettings, build_model
from gcnsys.partition import cut_dataset
from gcnsys.runtime import PartBlock
from gcnsys.runtime import rows as boundary_rows
from gcnsys.runtime.choices import Choices
from gcnsys.runtime.exchange import Exchange
from gcnsys.runtime.rows import Draw, Uniform
from gcnsys.runtime.smoothing import Running
from gcnsys.testing.graphs import normal, seeds
from gcnsys.testing.ranks import run_ranks
from gcnsys.train import RunConfig, Task, Trainer
from gcnsys.train.method import METHODS

PRESETS = {
    "vanilla": ("all", "sync", "fp32", "off"),
    "bns": ("uniform", "sync", "fp32", "off"),
    "pipegcn": ("all", "pipeline", "fp32", "off"),
    "pipegcn-f": ("all", "pipeline", "fp32", "features"),
    "pipegcn-g": ("all", "pipeline", "fp32", "gradients"),
    "pipegcn-gf": ("all", "pipeline", "fp32", "both"),
    "custom": ("all", "sync", "fp32", "off"),
}


def parts(config: RunConfig) -> tuple[str, str, str, str]:
    return config.rows, config.schedule, config.codec, config.smoothing


@pytest.mark.parametrize("name", METHODS)
def test_a_preset_is_a_name_for_a_point_of_the_product(name):
    assert parts(RunConfig.checked({"data": "digits", "method": name})) == PRESETS[name]


def test_parts_that_a_method_leaves_open_combine_freely():
    free = {"schedule": "pipeline", "codec": "int8", "smoothing": "both", "rate": "0.2"}
    config = RunConfig.checked({"data": "digits", "method": "bns", **free})
    assert parts(config) == ("uniform", "pipeline", "int8", "both")
    assert config.choices() == Choices("uniform", 0.2, "epoch", "pipeline", codec="int8", smoothing="both")


@pytest.mark.parametrize("given", [
    {}, {"schedule": "overlap"}, {"codec": "bf16"}, {"rows": "importance", "rate": 0.3},
    {"method": "pipegcn-gf"},
    {"method": "bns", "schedule": "pipeline", "staleness": 2, "first_epoch": "zero"},
], ids=str)  # fmt: skip
def test_a_resolved_configuration_is_one_itself(tmp_path, given):
    config = RunConfig.checked({"data": "digits", **given})
    (tmp_path / "run.toml").write_text(config.toml())
    again = RunConfig.checked(RunConfig.read(tmp_path / "run.toml"))
    assert again == config
    assert config.method == given.get("method", "vanilla" if set(given) <= {"schedule"} else "custom")


REFUSED = {
    "exact with fewer bits": ({"method": "vanilla", "codec": "int8"}, "method = vanilla means codec = fp32"),
    "a pipeline at once": ({"method": "pipegcn", "schedule": "sync"}, "means schedule = pipeline, not sync"),
    "two smoothings": ({"method": "pipegcn-f", "smoothing": "both"}, "means smoothing = features"),
    "smoothing of nothing stale": ({"smoothing": "both"}, "smoothing = both averages stale rows"),
    "smoothing of an overlap": (
        {"smoothing": "features", "schedule": "overlap"}, "schedule = overlap has none"),
    "no rows in a pipeline": ({"rows": "none", "schedule": "pipeline"}, "rows = none sends nothing"),
    "no rows overlapped": ({"rows": "none", "schedule": "overlap"}, "rows = none sends nothing"),
    "no rows in few bits": ({"rows": "none", "codec": "int8"}, "codec = int8 has nothing to work on"),
    "a rate of all rows": ({"rate": 0.1}, "rate = 0.1 has no meaning without rows that are drawn"),
    "a rate of no rows": ({"rows": "none", "rate": 0.1}, "rate = 0.1 has no meaning"),
    "a rate above 1": ({"method": "bns", "rate": 1.1}, "rate = 1.1: the share of boundary rows"),
    "a negative rate": ({"method": "bns", "rate": -0.1}, "must lie in [0, 1]"),
    "a rate that is no number": ({"method": "bns", "rate": "nan"}, "should be a finite number"),
    "gamma of 1": ({"method": "pipegcn-gf", "gamma": 1}, "gamma = 1: the weight of the past"),
    "a negative gamma": ({"method": "pipegcn-gf", "gamma": -0.5}, "must lie in [0, 1)"),
    "gamma without smoothing": ({"method": "pipegcn", "gamma": 0.5}, "gamma = 0.5 has no meaning without"),
    "staleness of 0": ({"method": "pipegcn", "staleness": 0}, "at least one epoch old"),
    "staleness at once": ({"staleness": 2}, "staleness = 2 has no meaning without schedule = pipeline"),
    "a first epoch of none": ({"first_epoch": "zero"}, "has no meaning without schedule = pipeline"),
    "a start of no average": ({"smoothing_start": "zero"}, "has no meaning without smoothing"),
    "draws of all rows": ({"draws_per": "layer"}, "draws_per = layer has no meaning"),
    "unknown rows": ({"rows": "unifrom"}, "did you mean 'uniform'"),
    "an unknown codec": ({"codec": "int4"}, "did you mean 'int8'"),
    "an unknown method": ({"method": "pipgcn"}, "did you mean 'pipegcn'"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "told"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused_with_a_sentence(given, told):
    with pytest.raises(InputError) as caught:
        RunConfig.checked({"data": "digits", **given})
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def set_up(choices: Choices, num_parts: int = 3):
    """Views of a small graph on every rank; errors come out as the ranks told them."""
    made, recipe = small("directed"), Recipe("sage", 2, first_hop=False)
    shares = cut_dataset(made.dataset, assigned(made, "random", num_parts), num_parts)

    def body(comm):
        try:
            both_views(shares[comm.rank], model_for(recipe, hidden=6), comm, first_hop="off", choices=choices)
        except GcnsysError as error:
            return str(error)
        return ""

    return run_ranks(num_parts, body, timeout=20)


class Misdrawn:
    """Draws as it is told to."""

    def __init__(self, change, rate):
        self.change, self.uniform = change, Uniform(rate)

    def draw(self, boundary, occasion):
        draw = self.uniform.draw(boundary, occasion)
        return self.change(draw, boundary, occasion) if boundary.num_rows > 2 else draw


def with_scale(draw, scale):
    return Draw(draw.positions, draw.scale * 0 + scale)


MISDRAWN = {
    "an absent row": (lambda d, b, _: Draw(d.positions + b.num_rows, d.scale), "draws row"),
    "a row twice": (lambda d, *_: Draw(d.positions[[0, 0]], d.scale[[0, 0]]), "do not ascend"),
    "a scale below 1": (lambda d, *_: with_scale(d, 0.5), "gives a scale that is not"),
    "a scale that is no number": (lambda d, *_: with_scale(d, float("nan")), "gives a scale that is not"),
    "scales that are missing": (lambda d, *_: Draw(d.positions, d.scale[:1]), "must give positions"),
    "no integers": (lambda d, *_: Draw(d.positions.int(), d.scale), "must give positions"),
    "an error of its own": (lambda *_: 1 / 0, "ZeroDivisionError"),
}


@pytest.mark.parametrize(("change", "told"), MISDRAWN.values(), ids=MISDRAWN)
def test_a_sampler_that_draws_what_cannot_cross_is_named_on_every_rank(monkeypatch, change, told):
    monkeypatch.setitem(boundary_rows.SAMPLERS._builtin, "odd", lambda rate: Misdrawn(change, rate))
    said = set_up(Choices(rows="odd", rate=0.5))
    assert all(told in sentence and "\n" not in sentence for sentence in said), said
    assert all("boundary sampler 'odd'" in sentence for sentence in said)


def test_a_sampler_that_draws_apart_on_the_two_ends_is_named_on_every_rank(monkeypatch):
    class Apart:
        """Forgets that both ends have to agree."""

        def __init__(self, rate):
            self.generator, self.uniform = torch.Generator(), Uniform(rate)
            self.generator.seed()

        def draw(self, boundary, occasion):
            positions = torch.randperm(boundary.num_rows, generator=self.generator)
            positions = positions[: (boundary.num_rows + 1) // 2].sort().values
            return Draw(positions, torch.full(positions.shape, 2.0, dtype=torch.float64))

    monkeypatch.setitem(boundary_rows.SAMPLERS._builtin, "apart", Apart)
    said = set_up(Choices(rows="apart", rate=0.5))
    assert len(set(said)) == 1
    assert "draws other rows on rank" in said[0]


def epochs_of(choices: Choices, *, hidden: int = 16, epochs: int = 3, num_parts: int = 2):
    """Each rank's last epoch on a random graph whose boundaries have more than 100 rows."""
    draw = torch.Generator().manual_seed(0)
    nodes = 1200
    arrays = {
        "edge_index": torch.randint(nodes, (2, 20 * nodes), generator=draw).numpy(),
        "x": torch.randn(nodes, 8, generator=draw).numpy(),
        "y": torch.randint(4, (nodes,), generator=draw).numpy(),
    }
    dataset = Dataset.from_arrays("random", arrays).undirected()
    shares = cut_dataset(dataset, torch.arange(nodes) % num_parts, num_parts)

    def body(comm):
        model = build_model(ModelSettings("sage", 3, hidden), 8, 4, seed=0)
        training, evaluation = both_views(
            shares[comm.rank], model, comm, prune=False, dtype=torch.float32, choices=choices
        )
        optimizer = torch.optim.Adam(model.parameters())
        trainer = Trainer(model, training, evaluation, Task(False), optimizer, comm)
        found = list(trainer.epochs(epochs))
        return found[-1], found[0], len(shares[comm.rank].whole.plan.send_rows)

    return run_ranks(num_parts, body)


def test_sampled_rows_send_and_hold_little_more_than_their_share():
    whole, tenth = epochs_of(Choices()), epochs_of(Choices(rows="uniform", rate=0.1))
    for (all_rows, _, boundary), (drawn, _, _) in zip(whole, tenth, strict=True):
        assert boundary >= 100
        assert drawn.halo_bytes <= 0.11 * all_rows.halo_bytes
        assert drawn.buffer_bytes <= 0.12 * all_rows.buffer_bytes
        assert drawn.reduce_bytes == all_rows.reduce_bytes


@pytest.mark.parametrize(("codec", "most"), [("int8", lambda f: (f + 8) / (4 * f)), ("bf16", lambda f: 0.5)])
def test_codecs_send_what_they_claim(codec, most):
    exact, coded = epochs_of(Choices(), hidden=64), epochs_of(Choices(codec=codec), hidden=64)
    for (fp32, _, _), (few, _, _) in zip(exact, coded, strict=True):
        # Hidden layers send 64 numbers a row, the last one 4.
        assert few.halo_bytes <= fp32.halo_bytes * (64 * most(64) + 4 * most(4)) / 68 + 1


@pytest.mark.parametrize(
    "choices", [Choices(rows="none"), Choices(rows="uniform", rate=0.0)], ids=["none", "0"]
)
def test_no_rows_are_no_traffic(choices):
    for last, _, _ in epochs_of(choices):
        assert (last.halo_bytes, last.buffer_bytes) == (0, 0)


def test_a_pipeline_sends_as_much_as_an_exact_run_in_every_epoch():
    exact, late = epochs_of(Choices()), epochs_of(Choices(schedule="pipeline"))
    for (last, first, _), (exact_last, _, _) in zip(late, exact, strict=True):
        assert last.halo_bytes == first.halo_bytes == exact_last.halo_bytes


@pytest.mark.parametrize(
    "choices", [Choices(schedule="pipeline"), Choices(rows="uniform", rate=0.5)], ids=str
)
def test_a_rank_that_fails_between_epochs_stops_the_others(choices):
    made, recipe = small("directed"), Recipe("sage", 2, first_hop=False)
    shares = cut_dataset(made.dataset, assigned(made, "random", 3), 3)
    told, left = {}, threading.Semaphore(0)

    def body(comm):
        model = model_for(recipe, hidden=6).double()
        views = both_views(shares[comm.rank], model, comm, first_hop="off", choices=choices)
        trainer = Trainer(model, *views, Task(False), torch.optim.Adam(model.parameters()), comm)
        try:
            for epoch in trainer.epochs(1000):
                if comm.rank == 1 and epoch.number == 3:
                    raise ValueError("no power")
        except PeerError as error:
            told[comm.rank] = str(error)
            left.release()
            raise

    with pytest.raises(RuntimeError, match="rank 1 of 3 failed: no power"):
        run_ranks(3, body, timeout=3)
    assert all(left.acquire(timeout=30) for _ in range(2)), "a rank still hangs"
    assert all("lost contact with another rank" in sentence for sentence in told.values())
    assert set(told) == {0, 2}


@given(st.integers(1, 6), st.integers(1, 8), st.floats(0, 0.99), st.booleans(), seeds())
def test_an_average_is_the_published_one_over_each_rows_own_arrivals(rows, epochs, gamma, corrected, seed):
    draw = torch.Generator().manual_seed(seed % 2**31)
    running = Running(rows, gamma, corrected=corrected)
    history: list[list[torch.Tensor]] = [[] for _ in range(rows)]
    for epoch in range(epochs):
        arrived = torch.nonzero(torch.rand(rows, generator=draw) < 0.6).flatten()
        x = normal(seed + epoch, arrived.numel(), 3)
        for row, value in zip(arrived.tolist(), x, strict=True):
            history[row].append(value)
        everything = arrived.numel() == rows
        found, correction = running.update(x.clone(), None if everything else arrived)
        if correction is not None:
            found = found * correction[arrived, None]
        for row, value in zip(arrived.tolist(), found, strict=True):
            weights = [(1 - gamma) * gamma ** (len(history[row]) - 1 - k) for k in range(len(history[row]))]
            wanted = sum(w * old for w, old in zip(weights, history[row], strict=True))
            wanted = wanted / sum(weights) if corrected else wanted
            torch.testing.assert_close(value, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("arguments", [
    pytest.param(("--method", "bns"), marks=pytest.mark.full),
    pytest.param(("--method", "pipegcn-gf"), marks=pytest.mark.full),
    pytest.param(("--schedule", "overlap"), marks=pytest.mark.full),
    ("--method", "bns", "--schedule", "pipeline", "--codec", "int8", "--smoothing", "both"),
], ids=" ".join)  # fmt: skip
def test_two_processes_train_by_any_method_and_say_what_crossed(tmp_path, arguments):
    command = [sys.executable, "-m", "gcnsys", "train", "digits", "--parts", "2", "--epochs", "30", "--json"]
    done = subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["test_acc"] > 0.9
    assert (core() is None) == (summary["kernels"] == "torch")
    assert {"rows", "schedule", "codec", "smoothing", "transfer_seconds"} <= summary.keys()
    assert summary["hidden_comm_seconds_median"] >= 0
    assert all(
        total >= 30 * each
        for total, each in zip(summary["bytes_sent_total"], summary["bytes_sent_per_epoch"], strict=True)
    )


def test_rows_that_never_arrived_are_zeros_beside_averages_too():
    """Not 0 times the inverse of nothing."""
    made = small("directed")
    shares = cut_dataset(made.dataset, assigned(made, "random", 2), 2)
    choices = Choices(rows="uniform", rate=0.3, schedule="pipeline", smoothing="both")

    def body(comm):
        graph = shares[comm.rank].whole
        exchange = Exchange(graph, comm, choices)
        block = PartBlock(graph, comm).through(exchange)
        x = torch.ones(graph.num_inner, 2, requires_grad=True)
        for epoch in range(3):
            exchange.begin(epoch)
            rows = block.gather(x)
            rows.sum().backward()
        exchange.settle()
        return rows.detach()[graph.num_inner :], x.grad

    for halo, grad in run_ranks(2, body):
        assert 0 < int((halo == 0).sum()) < halo.numel()
        assert torch.allclose(halo[halo != 0], torch.ones(()))
        assert bool(grad.isfinite().all())
