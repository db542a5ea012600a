"""Runs that are stopped, killed and taken up again."""

import hashlib
import json
import logging
import os
import shutil
import signal
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from gcnsys.cli.main import run as command
from gcnsys.datasets import Dataset
from gcnsys.errors import DamagedFileError, GcnsysError, InputError
from gcnsys.manifest import NAME, SEAL
from gcnsys.nn import GNN
from gcnsys.partition import Cutting, Partitioning, build
from gcnsys.runtime import Placement
from gcnsys.testing.ranks import run_ranks
from gcnsys.train import RunConfig, keeper
from gcnsys.train.checkpoint import HOME, REMEDY, SHARED, Checkpoint, Checkpoints, named, rank_file
from gcnsys.train.folder import METRICS, SUMMARY, RunFolder
from gcnsys.train.journal import Journal
from gcnsys.train.resume import configured
from gcnsys.train.run import run_part
from gcnsys.train.stopping import Request, StoppedError, requests

CPU = Placement(torch.device("cpu"), "gloo")
EPOCHS = 8


def sample(seed=0):
    """Arrays of a small graph with a split."""
    rng = np.random.default_rng(seed)
    share = rng.permutation(60) % 3
    return {
        "edge_index": rng.integers(0, 60, (2, 300)), "y": rng.integers(0, 3, 60),
        "x": rng.standard_normal((60, 7)).astype(np.float32),
        **{name: share == k for k, name in enumerate(("train_mask", "val_mask", "test_mask"))},
    }  # fmt: skip


def dataset_of(arrays):
    return Dataset.from_arrays("sample", arrays).undirected()


@pytest.fixture(scope="module")
def cuts(tmp_path_factory):
    """One graph in one to four parts."""
    dataset, home = dataset_of(sample()), tmp_path_factory.mktemp("cuts")
    for parts in (1, 2, 3, 4):
        build(dataset, Cutting(parts, "random"), home / str(parts))
    return home


def setting(where, **settings):
    values = {"data": str(where), "epochs": EPOCHS, "hidden": 8, "dtype": "float64", "layers": 3}
    return RunConfig.checked({**values, **settings})


def run(folder, config, *, stop_after=None, resume=None, watch=None):
    """One run over thread ranks; rank 0 is asked to stop so that ``stop_after`` epochs are done."""
    partitioning = Partitioning.open(config.data)

    def body(comm):
        request = Request()
        if stop_after == 1 or (stop_after and resume is not None):
            request.note(signal.SIGTERM)

        def seen(record):
            if record["epoch"] + 2 == stop_after:  # the others hear of it at the end of the next
                request.note(signal.SIGTERM)
            if watch is not None:
                watch(record)

        made = RunFolder(folder, config, overwrite=resume is not None) if comm.rank == 0 else None
        try:
            return run_part(partitioning, config, comm, CPU, made, seen, request=request, resume=resume)
        except GcnsysError as error:  # so that all ranks' can be compared
            return error

    found = run_ranks(partitioning.num_parts, body)
    if isinstance(found[0], GcnsysError):
        told = [(str(error), error.exit_code) for error in found]
        assert told == told[:1] * len(told)
        raise found[0]
    return found[0]


def stopped(folder, config, after):
    """A run that was asked to stop, and has, after so many epochs."""
    with pytest.raises(StoppedError, match=f"stopped after epoch {after}, .*--resume") as caught:
        run(folder, config, stop_after=after)
    assert caught.value.exit_code == 128 + signal.SIGTERM
    return Checkpoints(folder)


def weights(folder):
    return {name: load_file(folder / f"{name}.safetensors") for name in ("final", "best")}


def same(one, other):
    return all(torch.equal(one[kind][name], other[kind][name]) for kind in one for name in one[kind])


def lines(folder):
    """What was logged, without what differs from run to run."""
    told = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    return [{key: value for key, value in line.items() if "seconds" not in key} for line in told]


CHOICES = {
    "vanilla": {},
    "batch norm, cosine": {"norm": "batch", "lr_schedule": "cosine", "warmup": 2, "dropout": 0.3},
    "overlap": {"schedule": "overlap", "model": "sage"},
    "bns": {"method": "bns", "rate": 0.4},
    "bns, a draw a layer": {"method": "bns", "rate": 0.4, "draws_per": "layer", "codec": "int8"},
    "importance": {"method": "custom", "rows": "importance", "rate": 0.4, "codec": "bf16"},
    "pipegcn": {"method": "pipegcn"},
    "pipegcn-gf": {"method": "pipegcn-gf"},
    "pipegcn-gf, zero start": {"method": "pipegcn-gf", "first_epoch": "zero", "smoothing_start": "zero"},
    "staleness 3": {"method": "pipegcn-gf", "staleness": 3},
    "recomputed": {"method": "pipegcn-gf", "recompute": True},
    "bns, pipeline, int8": {"method": "bns", "rate": 0.4, "schedule": "pipeline", "codec": "int8"},
    "bns, smoothed, bf16": {
        "method": "bns",
        "rate": 0.4,
        "schedule": "pipeline",
        "smoothing": "both",
        "codec": "bf16",
    },
}


PRODUCT = [(choice, parts) for choice in CHOICES for parts in (1, 2, 3)]


@pytest.mark.parametrize(
    ("choice", "parts"),
    [
        # Nothing crosses on one part: each choice on two or on three.
        pytest.param(
            choice, parts, marks=[] if parts == 2 + list(CHOICES).index(choice) % 2 else pytest.mark.full
        )
        for choice, parts in PRODUCT
    ],
)
def test_a_run_that_goes_on_ends_as_if_it_had_never_stopped(cuts, tmp_path, choice, parts):
    config = setting(cuts / str(parts), **CHOICES[choice])
    whole = run(tmp_path / "whole", config)
    after = 1 + (len(choice) + parts) % (EPOCHS - 2)  # any epoch but the last
    stopped(tmp_path / "cut", config, after)
    summary = run(tmp_path / "cut", config, resume=tmp_path / "cut")
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    assert lines(tmp_path / "whole") == lines(tmp_path / "cut")
    assert summary["resumed_after"] == after
    assert {**summary, "resumed_after": 0} | {"bytes_sent_total": 0} == {
        key: summary[key] if "seconds" in key or key in ("peak_rss_bytes",) else value
        for key, value in ({**whole, "bytes_sent_total": 0}).items()
    }


def test_a_run_may_stop_again_and_again(cuts, tmp_path):
    config = setting(cuts / "2", method="pipegcn-gf")
    run(tmp_path / "whole", config)
    stopped(tmp_path / "cut", config, 1)
    for after in range(2, EPOCHS):
        with pytest.raises(StoppedError):
            run(tmp_path / "cut", config, stop_after=after, resume=tmp_path / "cut")
    run(tmp_path / "cut", config, resume=tmp_path / "cut")
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_a_request_in_the_last_epoch_changes_nothing(cuts, tmp_path):
    assert run(tmp_path / "run", setting(cuts / "2"), stop_after=EPOCHS)["epochs"] == EPOCHS


def test_random_numbers_that_a_layer_draws_for_itself_go_on_as_well(cuts, tmp_path, monkeypatch):
    def noisy(self, blocks, x):
        return plain(self, blocks, x) + torch.randn(1, dtype=torch.float64)

    plain = GNN.forward
    monkeypatch.setattr(GNN, "forward", noisy)
    config, ends = setting(cuts / "1", dropout=0.0), []
    torch.manual_seed(3)
    run(tmp_path / "whole", config)
    torch.manual_seed(3)
    stopped(tmp_path / "cut", config, 3)
    torch.manual_seed(99)
    run(tmp_path / "cut", config, resume=tmp_path / "cut")
    ends = [weights(tmp_path / name) for name in ("whole", "cut")]
    assert same(*ends)


def test_more_epochs_go_on_from_the_end(cuts, tmp_path):
    run(tmp_path / "long", setting(cuts / "2", method="pipegcn"))
    run(tmp_path / "short", setting(cuts / "2", method="pipegcn", epochs=5))
    with pytest.raises(InputError, match="5 epochs are done already; give more with --epochs"):
        configured(tmp_path / "short", {})
    config = configured(tmp_path / "short", {"epochs": EPOCHS})
    run(tmp_path / "short", config, resume=tmp_path / "short")
    assert same(weights(tmp_path / "long"), weights(tmp_path / "short"))


@pytest.mark.parametrize("there", [1, 2, 3])
def test_other_parts_of_the_graph_go_on_with_the_curve(cuts, tmp_path, there):
    whole = setting(cuts / "4", epochs=26)
    run(tmp_path / "whole", whole)
    stopped(tmp_path / "cut", whole, 6)
    config = configured(tmp_path / "cut", {"data": str(cuts / str(there))})
    run(tmp_path / "cut", config, resume=tmp_path / "cut")
    curves = [torch.tensor([line["loss"] for line in lines(tmp_path / name)]) for name in ("whole", "cut")]
    assert float((curves[0] - curves[1]).abs().max() / curves[0].abs().max()) < 1e-10
    assert len(curves[0]) == 26


def test_other_data_or_another_number_of_parts_is_taken_from_what_is_given(cuts, tmp_path):
    config = setting(cuts / "1").model_copy(update={"parts": 1})
    stopped(tmp_path / "run", config, 3)
    spec = Partitioning.open(cuts / "1").manifest.spec
    seen = [configured(tmp_path / "run", given) for given in ({}, {"parts": 2}, {"data": str(cuts / "3")})]
    assert [(each.data, each.parts) for each in seen] == [
        (str(cuts / "1"), 1), (spec, 2), (str(cuts / "3"), None),
    ]  # fmt: skip


def test_what_stale_methods_lose_on_other_parts_is_said(cuts, tmp_path, caplog):
    stopped(tmp_path / "cut", setting(cuts / "3", method="pipegcn-gf"), 4)
    config = configured(tmp_path / "cut", {"data": str(cuts / "2")})
    with caplog.at_level(logging.INFO, "gcnsys"):
        assert run(tmp_path / "cut", config, resume=tmp_path / "cut")["epochs"] == EPOCHS
    assert (
        "rows that were under way, and their averages, belong to other parts and are dropped" in caplog.text
    )


def test_a_checkpoint_by_name_is_gone_on_from_and_later_ones_go(cuts, tmp_path):
    config = setting(cuts / "2", checkpoint_every=2, keep_checkpoints=9)
    kept = stopped(tmp_path / "run", config, 7)
    # One that falls due while a slow disk still writes another comes later: only the ends are certain.
    assert (kept.epochs()[0], kept.epochs()[-1]) == (2, 7)
    run(tmp_path / "whole", config)
    run(tmp_path / "run", config, resume=kept.path(2))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "run"))
    assert [line["epoch"] for line in lines(tmp_path / "run")] == list(range(EPOCHS))


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_last_checkpoints_stay(cuts, tmp_path, monkeypatch, keep):
    begun = keeper.Writing

    def written(*given):  # at once, however busy the machine: else one that falls due meanwhile is left out
        writing = begun(*given)
        writing.wait()
        return writing

    monkeypatch.setattr(keeper, "Writing", written)
    config = setting(cuts / "2", checkpoint_every=1, keep_checkpoints=keep)
    epochs = stopped(tmp_path / "run", config, 7).epochs()
    assert len(epochs) == keep
    assert epochs[-1] == 7
    run(tmp_path / "run", config, resume=tmp_path / "run")
    assert Checkpoints(tmp_path / "run").epochs() == [EPOCHS], "a run that is over needs its end alone"


def test_by_the_clock_a_checkpoint_is_made_when_it_is_time(cuts, tmp_path):
    config = setting(cuts / "2", checkpoint_minutes=1e-9, keep_checkpoints=99)
    assert len(stopped(tmp_path / "run", config, 7).epochs()) > 1
    stopped(tmp_path / "rare", setting(cuts / "2"), 7)
    assert Checkpoints(tmp_path / "rare").epochs() == [7]


def test_without_checkpoints_a_run_still_stops(cuts, tmp_path):
    config = setting(cuts / "2", checkpoint_minutes=0)
    with pytest.raises(StoppedError, match="nothing is kept"):
        run(tmp_path / "run", config, stop_after=3)
    assert not (tmp_path / "run" / HOME).exists()


def test_what_a_killed_run_left_unfinished_is_removed(cuts, tmp_path):
    config = setting(cuts / "2")
    kept = stopped(tmp_path / "run", config, 3)
    for name in (".epoch-00000005.tmp", ".epoch-00000001.old"):
        (kept.folder / name).mkdir()
        (kept.folder / name / SHARED).write_bytes(b"half")
    mine = kept.folder / "notes"
    mine.mkdir()
    with (tmp_path / "run" / METRICS).open("a") as file:
        file.write('{"epoch": 3, "loss"')
    run(tmp_path / "run", config, resume=tmp_path / "run")
    assert sorted(path.name for path in kept.folder.iterdir()) == ["epoch-00000008", "notes"]
    assert [line["epoch"] for line in lines(tmp_path / "run")] == list(range(EPOCHS))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_cannot_write_ends_the_run_with_its_sentence(cuts, tmp_path, monkeypatch, rank):
    def full(path, state):
        if path.name == rank_file(rank) and Checkpoints(tmp_path / "run").epochs():
            path.write_bytes(b"half of it")
            raise OSError(28, "No space left on device", str(path))
        return write(path, state)

    write = keeper.write_state
    monkeypatch.setattr(keeper, "write_state", full)
    config = setting(cuts / "2", checkpoint_every=2, epochs=500)
    with pytest.raises(InputError, match=rf"rank {rank} cannot write to .*No space left.*--resume"):
        run(tmp_path / "run", config)
    assert len(Checkpoints(tmp_path / "run").epochs()) == 1
    monkeypatch.undo()
    short = configured(tmp_path / "run", {"epochs": EPOCHS})
    run(tmp_path / "run", short, resume=tmp_path / "run")
    assert Checkpoints(tmp_path / "run").clean() == []


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("last", [False, True], ids=["on the way", "the last"])
def test_a_disk_that_fails_now_and_then_costs_no_more_than_a_checkpoint(
    cuts, tmp_path, monkeypatch, caplog, rank, last
):
    def failing(path, state):
        first = f"epoch-{12 if last else 2:08d}"
        if path.name == rank_file(rank) and first in path.parent.name and len(failures) < 2 - (not last):
            failures.append(path)
            raise OSError(5, "Input/output error", str(path))
        return write(path, state)

    failures, write = [], keeper.write_state
    monkeypatch.setattr(keeper, "write_state", failing)
    config = setting(cuts / "2", checkpoint_every=2, keep_checkpoints=99, epochs=2000)
    with caplog.at_level(logging.WARNING, "gcnsys"):
        made = stopped(tmp_path / "run", config, 12)
    assert len(failures) == (2 if last else 1)
    assert f"rank {rank} could not write its share" in caplog.text
    assert made.epochs()[-1] == 12
    assert last or 2 not in made.epochs()
    assert made.clean() == []
    run(tmp_path / "straight", setting(cuts / "2", epochs=16))
    run(tmp_path / "run", configured(tmp_path / "run", {"epochs": 16}), resume=tmp_path / "run")
    assert same(weights(tmp_path / "straight"), weights(tmp_path / "run"))


def test_a_disk_that_goes_on_failing_ends_the_run(cuts, tmp_path, monkeypatch):
    def failing(path, state):
        if path.name == rank_file(1):
            failures.append(path.parent.name)
            raise OSError(116, "Stale file handle", str(path))
        return write(path, state)

    failures, write = [], keeper.write_state
    monkeypatch.setattr(keeper, "write_state", failing)
    with pytest.raises(InputError, match=r"rank 1 cannot write to .*Stale file handle.*--resume"):
        run(tmp_path / "run", setting(cuts / "2", checkpoint_every=2, epochs=2000))
    assert len(set(failures)) == keeper.LOSSES


def test_what_a_run_says_of_epochs_lies_on_the_disk_before_a_checkpoint_of_them(cuts, tmp_path, monkeypatch):
    def completed(self, epoch, manifest):
        there = [json.loads(line)["epoch"] for line in (tmp_path / "run" / METRICS).read_text().splitlines()]
        assert there[:epoch] == list(range(epoch))
        complete(self, epoch, manifest)

    complete = Checkpoints.complete
    monkeypatch.setattr(Checkpoints, "complete", completed)
    run(tmp_path / "run", setting(cuts / "2", checkpoint_every=2))


def test_the_same_line_starts_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = ["train", "digits", "--hidden", "8", "--out", "run", "--auto-resume", "--json", "--epochs"]

    def told(epochs):
        assert command([*line, str(epochs)]) == 0
        return json.loads(capsys.readouterr().out)

    first = told(4)
    assert (first["epochs"], first["resumed_after"]) == (4, 0)
    assert told(4)["seconds_total"] == first["seconds_total"]  # told again, not done again
    (tmp_path / "run" / SUMMARY).unlink()  # killed before it was over
    assert (told(6)["epochs"], told(6)["resumed_after"]) == (6, 4)
    (tmp_path / "run" / SUMMARY).unlink()
    shutil.rmtree(tmp_path / "run" / HOME)  # killed before there was a checkpoint
    assert told(6)["resumed_after"] == 0
    for wrong in (["--resume", "run"], ["--overwrite"]):
        assert command([*line, "6", *wrong]) == 2
    assert command(["train", "digits", "--auto-resume"]) == 2
    assert "--auto-resume looks for a run in --out DIR" in capsys.readouterr().err


def test_a_terminal_that_is_gone_ends_no_run(cuts, tmp_path):
    def gone(record):
        shown.append(record["epoch"])
        raise BrokenPipeError(32, "Broken pipe")

    shown = []
    run(tmp_path / "run", setting(cuts / "2"), watch=gone)
    assert shown == [0]
    assert [line["epoch"] for line in lines(tmp_path / "run")] == list(range(EPOCHS))


def test_a_journal_says_at_the_next_line_what_it_could_not_write(tmp_path):
    (tmp_path / "full").symlink_to("/dev/full")
    journal = Journal(tmp_path / "full")
    journal.add("one")
    with pytest.raises(OSError, match="No space left"):
        journal.settle()
    with pytest.raises(OSError, match="No space left"):
        journal.add("two")
    journal.close()


def test_a_journal_holds_every_line_once(tmp_path):
    (tmp_path / "lines").write_text("0\n")
    journal = Journal(tmp_path / "lines")
    for number in range(1, 500):
        journal.add(str(number))
        if number % 100 == 0:
            journal.settle()
            assert len((tmp_path / "lines").read_text().splitlines()) == number + 1
    journal.close()
    assert (tmp_path / "lines").read_text() == "".join(f"{number}\n" for number in range(500))


def test_a_checkpoint_whose_manifest_does_not_fit_ends_the_run_with_the_same_sentence(
    cuts, tmp_path, monkeypatch
):
    def full(self, epoch, manifest):
        if self.epochs():
            raise OSError(28, "No space left on device")
        complete(self, epoch, manifest)

    complete = Checkpoints.complete
    monkeypatch.setattr(Checkpoints, "complete", full)
    config = setting(cuts / "2", checkpoint_every=2, epochs=500)
    with pytest.raises(InputError, match=r"rank 0 cannot write to .*No space left.*--resume"):
        run(tmp_path / "run", config)
    assert len(Checkpoints(tmp_path / "run").epochs()) == 1


def test_a_log_that_cannot_be_written_ends_the_run_on_all_ranks(cuts, tmp_path, monkeypatch):
    def full(self, record):
        if record["epoch"] == 3:
            raise OSError(28, "No space left on device", str(self.path / METRICS))

    monkeypatch.setattr(RunFolder, "log", full)
    with pytest.raises(InputError, match=r"rank 0 cannot write to .*No space left"):
        run(tmp_path / "run", setting(cuts / "3"))


REFUSED = {
    "a learning rate": ({"lr": 0.5}, "lr = 0.5, but .* was made with 0.01, which cannot change"),
    "a method": ({"method": "bns", "rows": "uniform"}, "was made with vanilla"),
    "a seed": ({"seed": 3}, "seed = 3"),
    "a word": ({"learning_rate": 3}, "unknown setting"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_decides_a_run_cannot_change_on_the_way(cuts, tmp_path, case):
    stopped(tmp_path / "run", setting(cuts / "2"), 3)
    given, sentence = REFUSED[case]
    with pytest.raises(InputError, match=sentence):
        configured(tmp_path / "run", given)


def test_a_run_goes_on_with_its_own_graph_only(cuts, tmp_path):
    other = dataset_of(sample(5))
    build(other, Cutting(2, "random"), tmp_path / "other")
    build(other, Cutting(2, "random", inductive=True), tmp_path / "induced")
    stopped(tmp_path / "run", setting(tmp_path / "other"), 3)
    with pytest.raises(InputError, match="is of another graph"):
        run(tmp_path / "run", setting(cuts / "2"), resume=tmp_path / "run")
    with pytest.raises(InputError, match="has inductive = True"):
        run(tmp_path / "run", setting(tmp_path / "induced"), resume=tmp_path / "run")


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder; name a run's folder"):
        named(tmp_path / "nothing")
    with pytest.raises(InputError, match="holds no checkpoint"):
        named(tmp_path)
    (tmp_path / "epoch-00000003").mkdir()
    with pytest.raises(DamagedFileError, match=r"not a checkpoint .*manifest.json cannot be read"):
        named(tmp_path / "epoch-00000003")


def altered(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


DAMAGE = {
    "altered": altered,
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "emptied": lambda path: path.write_bytes(b""),
    "removed": lambda path: path.unlink(),
}


@pytest.mark.parametrize("name", [SHARED, rank_file(0), rank_file(1), NAME, SEAL])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_to_a_checkpoint_is_noticed_on_all_ranks(cuts, tmp_path, damage, name):
    config = setting(cuts / "2")
    path = stopped(tmp_path / "run", config, 3).path(3)
    DAMAGE[damage](path / name)
    with pytest.raises(InputError, match=path.name):
        run(tmp_path / "run", config, resume=tmp_path / "run")
    assert not (tmp_path / "run" / SUMMARY).exists()


def test_files_that_were_exchanged_are_noticed(cuts, tmp_path):
    config = setting(cuts / "2", method="pipegcn", checkpoint_every=2, keep_checkpoints=9)
    kept = stopped(tmp_path / "run", config, 7)
    (kept.path(7) / rank_file(0)).rename(tmp_path / "zero")
    (kept.path(7) / rank_file(1)).rename(kept.path(7) / rank_file(0))
    (tmp_path / "zero").rename(kept.path(7) / rank_file(1))
    with pytest.raises(InputError, match=REMEDY):
        run(tmp_path / "run", config, resume=tmp_path / "run")
    shutil.rmtree(kept.path(7))
    last = kept.epochs()[-1]
    kept.path(last).rename(kept.path(7))
    with pytest.raises(DamagedFileError, match=f"holds the state after epoch {last}"):
        named(tmp_path / "run")


@pytest.mark.parametrize("case", ["a path outside", "another version", "no model", "too deep"])
def test_a_manifest_that_is_sealed_and_wrong_is_refused(cuts, tmp_path, case):
    import hashlib

    path = stopped(tmp_path / "run", setting(cuts / "2"), 3).path(3)
    about = json.loads((path / NAME).read_text())
    if case == "a path outside":
        about["files"]["../../../../etc/passwd"] = about["files"].pop(rank_file(1))
    if case == "another version":
        about["version"] = 99
    if case == "no model":
        del about["files"][SHARED]
    text = json.dumps(about) if case != "too deep" else "[" * 100_000
    (path / NAME).write_text(text)
    (path / SEAL).write_text(hashlib.sha256(text.encode()).hexdigest() + "\n")
    with pytest.raises(DamagedFileError, match="older checkpoint"):
        Checkpoint.open(path)


def test_state_that_does_not_fit_is_refused(cuts, tmp_path):
    config = setting(cuts / "2")
    path = stopped(tmp_path / "run", config, 3).path(3)
    arrays = load_file(path / SHARED)
    arrays[next(name for name in arrays if name.startswith("weights/"))] = torch.zeros(
        3, 3, dtype=torch.float64
    )
    save_file(arrays, path / SHARED)
    manifest = Checkpoint.open(path).manifest
    from gcnsys.files import save_arrays
    from gcnsys.manifest import FileEntry, seal

    entry = save_arrays(path / SHARED, arrays)
    seal(path, manifest.model_copy(update={"files": {**manifest.files, SHARED: FileEntry.of(entry)}}))
    with pytest.raises(InputError, match="a checkpoint of another model"):
        run(tmp_path / "run", config, resume=tmp_path / "run")


@pytest.fixture
def interruptible():
    """Ctrl-C is heard, whoever started the tests: shells have what they start in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_signals_are_noted_and_handlers_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with requests() as request:
        assert request.signal == 0
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.signal == signal.SIGUSR1, "the first one counts"
    with requests():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before
    told = []
    thread = threading.Thread(target=lambda: told.append(requests().__enter__().signal))
    thread.start()
    thread.join()
    assert told == [0]


def test_another_folder_holds_the_run_that_goes_on_alone(cuts, tmp_path):
    other = setting(cuts / "2", seed=5, checkpoint_every=1, keep_checkpoints=9)
    stopped(tmp_path / "other", other, 3)
    stopped(tmp_path / "run", setting(cuts / "2"), 5)
    run(tmp_path / "other", setting(cuts / "2"), resume=tmp_path / "run")
    assert [line["epoch"] for line in lines(tmp_path / "other")] == [5, 6, 7]
    assert Checkpoints(tmp_path / "other").epochs() == [EPOCHS]
    run(tmp_path / "whole", setting(cuts / "2"))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "other"))


@pytest.mark.parametrize("after", [2, 5, 9])
def test_a_run_that_ends_early_does_so_wherever_it_was_stopped(cuts, tmp_path, after):
    config = setting(cuts / "2", epochs=60, eval_every=3, patience=4, lr=0.3)
    whole = run(tmp_path / "whole", config)
    assert after < whole["epochs"] < 60
    assert whole["epochs"] % 3 == 0, "it ends where it looked"
    # Also between the epoch at which patience ran out and the next one at which it is looked.
    stopped(tmp_path / "cut", config, whole["epochs"] - 1 if after == 9 else after)
    summary = run(tmp_path / "cut", config, resume=tmp_path / "cut")
    told = ("epochs", "best_epoch", "val_acc", "test_acc", "best_val_acc")
    assert [summary[name] for name in told] == [whole[name] for name in told]
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    with pytest.raises(
        InputError, match="validation had not improved for 4 epochs; give a longer --patience"
    ):
        run(tmp_path / "cut", config, resume=tmp_path / "cut")


def test_a_schedule_over_epochs_cannot_be_stretched(cuts, tmp_path):
    stopped(tmp_path / "run", setting(cuts / "2", lr_schedule="cosine"), 3)
    assert configured(tmp_path / "run", {}).epochs == EPOCHS
    with pytest.raises(InputError, match="follows a schedule over 8, which cannot change"):
        configured(tmp_path / "run", {"epochs": 12})


@pytest.mark.parametrize("what", ["y", "x", "train_mask"])
def test_other_labels_features_or_masks_are_other_data(cuts, tmp_path, what):
    arrays = sample()
    stopped(tmp_path / "run", setting(cuts / "2"), 3)
    if what == "train_mask":
        arrays |= {"train_mask": arrays["val_mask"], "val_mask": arrays["train_mask"]}
    else:
        arrays[what] = arrays[what][::-1].copy()
    build(dataset_of(arrays), Cutting(2, "random"), tmp_path / "other")
    with pytest.raises(InputError, match="has nodes = "):
        run(tmp_path / "run", setting(tmp_path / "other"), resume=tmp_path / "run")


def test_a_folder_is_filled_by_one_process_at_a_time(cuts, tmp_path):
    config = setting(cuts / "2")
    first, second = (RunFolder(tmp_path / "run", config, overwrite=True) for _ in range(2))
    first.begin(0, own=False)
    with pytest.raises(InputError, match="another process is training in this folder"):
        second.begin(0, own=False)
    first.close()
    second.begin(0, own=False)
    second.close()


def test_a_checkpoint_that_falls_due_while_another_is_written_follows_it(cuts, tmp_path, monkeypatch):
    def slowly(path, state):
        threading.Event().wait(0.05)
        return write(path, state)

    write = keeper.write_state
    monkeypatch.setattr(keeper, "write_state", slowly)
    config = setting(cuts / "2", checkpoint_every=40, keep_checkpoints=99, epochs=100_000)
    made = stopped(tmp_path / "run", config, 170).epochs()
    assert len(made) >= 3
    assert made[-1] == 170


def test_a_rank_whose_disk_is_another_one_is_told(cuts, tmp_path, caplog, monkeypatch):
    def elsewhere(self):
        path = mark(self)
        path.unlink()  # the others do not see it
        return path

    mark = RunFolder.mark
    monkeypatch.setattr(RunFolder, "mark", elsewhere)
    with caplog.at_level(logging.WARNING, "gcnsys"):
        run(tmp_path / "run", setting(cuts / "2"))
    assert "no checkpoints are kept: rank 0 does not see" in caplog.text
    assert not (tmp_path / "run" / HOME).exists()


def test_a_checkpoint_of_which_a_file_is_missing_is_never_completed(cuts, tmp_path, monkeypatch):
    def lost(path, state):
        entry = write(path, state)
        if path.name == rank_file(1):
            path.unlink()  # written to a disk that rank 0 does not see
        return entry

    write = keeper.write_state
    monkeypatch.setattr(keeper, "write_state", lost)
    with pytest.raises(InputError, match="must be on a disk that all machines share"):
        run(tmp_path / "run", setting(cuts / "2"), stop_after=3)
    assert Checkpoints(tmp_path / "run").epochs() == []


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with requests() as request:
            os.kill(os.getpid(), signal.SIGHUP)
            assert request.signal == 0
            os.kill(os.getpid(), signal.SIGUSR1)
            assert request.signal == signal.SIGUSR1
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_setting_that_was_unknown_then_was_as_it_is_by_default(cuts, tmp_path):
    folder = tmp_path / "run"
    stopped(folder, setting(cuts / "1"), 3)
    checkpoint = named(folder)
    manifest = json.loads((checkpoint.folder / NAME).read_text())
    for name in ("negative_pool", "prefetch"):
        del manifest["settings"][name]
    (checkpoint.folder / NAME).write_text(json.dumps(manifest))
    content = (checkpoint.folder / NAME).read_bytes()
    (checkpoint.folder / SEAL).write_text(hashlib.sha256(content).hexdigest() + "\n")
    assert configured(folder, {"profile": True}).profile
    with pytest.raises(InputError, match=r"negative_pool = 7, but .* was made with 1024"):
        configured(folder, {"negative_pool": 7})
