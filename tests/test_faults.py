"""Ranks that die, stop or are cut off: who says what, and when."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch._C._distributed_c10d import HashStore

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # experiments/ is not installed

from experiments.faults.launched import Launched, alive
from gcnsys.errors import GcnsysError, PeerError
from gcnsys.runtime.comm import Comm
from gcnsys.runtime.heartbeat import Heartbeat
from gcnsys.runtime.meeting import meet
from gcnsys.runtime.process import _abandon, _same_backend
from gcnsys.testing.ranks import run_ranks

QUICK = 0.2
"""Seconds between the marks of a test's ranks."""


class Group:
    """Heartbeats of some ranks in one store."""

    def __init__(self, size, store=None):
        self.store = store or HashStore()
        self.ranks = [Heartbeat(self.store, rank, size, every=QUICK) for rank in range(size)]

    def __enter__(self):
        time.sleep(3 * QUICK)
        return self.ranks

    def __exit__(self, *_):
        for rank in self.ranks:
            rank.close()


def test_a_rank_that_fell_silent_is_named_once():
    with Group(4) as ranks:
        ranks[2].doing = "epoch 7"
        time.sleep(2 * QUICK)
        ranks[2].close()
        said = [ranks[rank].culprit("Timed out", waited=30.0) for rank in (0, 1, 3)]
    assert said[1:] == [None, None]
    assert said[0].startswith("rank 2 on ")
    assert "silent for more than 30 s: it was stopped, or its machine or network is down" in said[0]
    assert said[0].endswith("last seen in epoch 7")


def test_a_broken_connection_means_that_a_process_ended():
    with Group(3) as ranks:
        ranks[0].close()
        said = ranks[1].culprit("Connection reset by peer", waited=None)
    assert said.startswith("rank 0 on ")
    assert "is gone: its process ended or was killed" in said


def test_a_rank_that_never_came_is_named():
    with Group(3) as ranks:
        ranks[0].size = 4
        assert "rank 3 has been silent for more than 5 s" in ranks[0].culprit("Timed out", waited=5.0)


def test_a_rank_that_keeps_the_others_waiting_is_named():
    with Group(3) as ranks:
        for rank in (0, 1):
            ranks[rank].waits = True
        ranks[2].doing = "epoch 3"
        time.sleep(3 * QUICK)
        said = ranks[0].culprit("Timed out", waited=9.0)
    assert "rank 2 on" in said
    assert "is alive, but has kept the others waiting for 9 s in epoch 3" in said


def test_a_rank_that_waits_for_its_own_thread_is_named_only_if_that_does_not_wait():
    with Group(3) as ranks:
        ranks[0].waits = True
        for rank in (1, 2):
            ranks[rank].leans = True
        ranks[1].waits_beside = True  # as the thread of rank 0 does
        ranks[2].doing = "epoch 3"
        time.sleep(3 * QUICK)
        said = ranks[0].culprit("Timed out", waited=9.0)
    assert said.startswith("rank 2 on ")


def test_when_all_are_there_only_the_cause_is_said():
    with Group(2) as ranks:
        assert (
            ranks[0]
            .culprit("Connection reset", waited=None)
            .endswith("all of which are alive (Connection reset)")
        )


class Unreachable:
    """A store behind a cable that was pulled out."""

    def set(self, *_):
        time.sleep(10 * QUICK)
        raise torch.distributed.DistNetworkError("no route to host")


def test_a_rank_that_is_cut_off_says_so_itself():
    with Group(1, Unreachable()) as ranks:
        began = time.monotonic()
        assert "rank 0 lost contact with the others and with the launcher's store" in ranks[0].culprit(
            "x", waited=1.0
        )
        assert time.monotonic() - began < 20 * QUICK


def test_what_a_rank_says_of_itself_is_not_said_again():
    with Group(2) as ranks:
        assert ranks[1].claim("ValueError: boom")
        assert ranks[0].culprit("Connection reset", waited=None) is None


def test_a_comm_that_waits_in_vain_gives_up_after_its_timeout():
    def body(comm: Comm):
        if comm.rank == 1:
            done.wait(60)
            return None
        comm.timeout = 0.5
        began = time.monotonic()
        try:
            with pytest.raises(GcnsysError, match="lost contact"):
                comm.add(torch.ones(1))
        finally:
            done.set()
        return time.monotonic() - began

    done = threading.Event()

    assert 0.4 < run_ranks(2, body)[0] < 15


@pytest.mark.parametrize("kind", ["swap", "share", "greatest"])
def test_every_collective_keeps_the_timeout(kind):
    def body(comm: Comm):
        if comm.rank == 0:
            done.wait(60)
            return None
        comm.timeout = 0.5
        call, began = getattr(comm, kind, None), time.monotonic()
        try:
            with pytest.raises(GcnsysError, match="lost contact"):
                comm.swap(torch.ones(2, 3), (1, 1), (1, 1)).land() if kind == "swap" else call(torch.ones(1))
        finally:
            done.set()
        return time.monotonic() - began

    done = threading.Event()
    assert run_ranks(2, body)[1] < 15  # the group's own timeout is longer


def greeted(ranks, store, tokens, patience=20.0):
    """Ranks that meet, each on a thread."""

    def run(rank):
        try:
            tokens[rank] = meet(store, rank, ranks, patience)
        except PeerError as error:
            tokens[rank] = str(error)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    return threads


def test_ranks_that_are_started_together_share_a_token_and_no_other_attempt_has_it():
    store, seen = HashStore(), set()
    for _ in range(3):  # the store is the same for all attempts
        tokens = {}
        for thread in greeted(3, store, tokens):
            thread.join()
        assert len(set(tokens.values())) == 1
        seen |= set(tokens.values())
    assert len(seen) == 3


def test_what_ranks_of_an_attempt_that_failed_left_is_not_taken_for_this_one():
    store, tokens = HashStore(), {}
    store.set("hello/1", "a rank that is gone")
    store.set("welcome/a rank that is gone", "an attempt that is over")
    store.set("hello/2", "another")
    for thread in greeted(3, store, tokens):
        thread.join()
    assert len(set(tokens.values())) == 1
    assert "an attempt that is over" not in tokens.values()


def test_a_rank_that_never_comes_is_waited_for_no_longer_than_asked():
    store = HashStore()
    began = time.monotonic()
    with pytest.raises(PeerError, match="rank 1 did not come to start"):
        meet(store, 0, 2, 0.3)
    with pytest.raises(PeerError, match="rank 0, or one that it waits for, did not come"):
        meet(store, 1, 2, 0.3)
    assert time.monotonic() - began < 5


def test_ranks_that_talk_otherwise_refuse_each_other_at_once():
    store = HashStore()
    _same_backend(store, 0, "nccl")
    _same_backend(store, 1, "nccl")
    with pytest.raises(PeerError, match=r"^rank 2 on .* talks by gloo, rank 0 on .* by nccl; start as many"):
        _same_backend(store, 2, "gloo")


def launched(folder, *options, parts=2, epochs=100_000):
    """``gcnsys train digits`` on real ranks."""
    settings = ["--hidden", 16, "--epochs", epochs, "--eval-every", 50, "--checkpoint-every", 50]
    return Launched(
        ["-m", "gcnsys", "train", "digits", "--out", "run", "--parts", parts, *settings, *options], folder
    )


@pytest.mark.processes
def test_a_killed_rank_starts_again_and_ends_as_if_nothing_had_happened(tmp_path):
    homes = [tmp_path / "whole", tmp_path / "killed"]
    for home in homes:
        home.mkdir()
        with launched(home, "--method", "pipegcn-gf", "--max-restarts", 1, epochs=400) as run:
            if home.name == "killed":
                os.kill(run.reaches(120).ranks()[1], signal.SIGKILL)
            assert run.ends(120) == (0, [])
    whole, killed = (load_file(home / "run" / "final.safetensors") for home in homes)
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    told = [
        json.loads(line)["epoch"] for line in (homes[1] / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert told == list(range(400))
    assert json.loads((homes[1] / "run" / "summary.json").read_text())["resumed_after"] >= 50


@pytest.mark.processes
def test_a_stopped_rank_is_named_in_one_sentence_within_the_timeout(tmp_path):
    with launched(tmp_path, "--timeout", 3, parts=3).reaches(60) as run:
        ranks = run.ranks()
        os.kill(ranks[1], signal.SIGSTOP)
        began = time.monotonic()
        while any(alive(ranks[rank]) for rank in (0, 2)):
            assert time.monotonic() - began < 3 + 5 + 5, "the survivors hang"
            time.sleep(0.05)
        os.kill(ranks[1], signal.SIGCONT)
        code, said = run.ends()
    assert (code, len(said)) == (1, 1)
    assert "rank 1 on" in said[0]
    assert "has been silent for more than 3 s" in said[0]


@pytest.mark.processes
@pytest.mark.full
def test_a_killed_rank_is_named_in_one_sentence(tmp_path):
    with launched(tmp_path).reaches(20) as run:
        os.kill(run.ranks()[1], signal.SIGKILL)
        assert run.ends() == (1, ["gcnsys: rank 1 was killed by SIGKILL; the others were stopped"])


RARELY = [pytest.param(number, marks=pytest.mark.full) for number in (signal.SIGTERM, signal.SIGINT)]


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGUSR1, *RARELY])
def test_a_run_that_is_asked_to_stop_keeps_a_checkpoint(tmp_path, number):
    with launched(tmp_path).reaches(20) as run:
        run.process.send_signal(number)
        code, said = run.ends()
    assert (code, len(said)) == (128 + number, 1)
    assert "go on with: gcnsys train --resume" in said[0]
    logged = len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    assert (tmp_path / "run" / "checkpoints" / f"epoch-{logged:08d}").is_dir()
    again = [
        sys.executable,
        "-m",
        "gcnsys",
        "train",
        "--resume",
        "run",
        "--epochs",
        str(logged + 10),
        "--json",
    ]
    done = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["epochs"] == logged + 10


@pytest.mark.processes
def test_one_line_starts_a_run_goes_on_with_it_and_leaves_a_finished_one_alone(tmp_path):
    with launched(tmp_path, "--auto-resume", epochs=400).reaches(20) as run:
        run.process.send_signal(signal.SIGUSR1)
        assert run.ends()[0] == 128 + signal.SIGUSR1
    for _ in range(2):
        with launched(tmp_path, "--auto-resume", epochs=400) as run:
            assert run.ends(120) == (0, [])
        told = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in told] == list(range(400))
        assert json.loads((tmp_path / "run" / "summary.json").read_text())["resumed_after"] >= 20


@pytest.mark.processes
@pytest.mark.full
def test_a_run_that_goes_on_after_a_stop_survives_a_killed_rank(tmp_path):
    with launched(tmp_path).reaches(20) as run:
        run.process.send_signal(signal.SIGTERM)
        assert run.ends()[0] == 143
    done = len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    words = ["-m", "gcnsys", "train", "--resume", "run", "--epochs", done + 300, "--max-restarts", 1]
    with Launched(words, tmp_path).reaches(done + 10) as run:
        os.kill(run.ranks()[0], signal.SIGKILL)
        assert run.ends(120) == (0, [])
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["epochs"] == done + 300


@pytest.mark.processes
@pytest.mark.full
def test_a_stop_stays_a_stop_where_the_launcher_would_start_again(tmp_path):
    with launched(tmp_path, "--max-restarts", 2).reaches(20) as run:
        os.kill(run.ranks()[1], signal.SIGTERM)  # the rank alone is asked, and all of them stop
        code, said = run.ends()
    assert code == 143
    assert "go on with: gcnsys train --resume" in said[0]
    assert set(said[1:]) == {"gcnsys: the run was asked to stop, and stays so"}


@pytest.mark.processes
@pytest.mark.full
def test_two_launchers_start_their_ranks_again_together(tmp_path):
    """Each counts restarts for itself; only one of them has lost a rank."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    build = [sys.executable, "-m", "gcnsys", "partition", "build", "digits", "--parts", "4", "--out", "four"]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)
    torchrun = ["-m", "torch.distributed.run", "--nnodes", 2, "--nproc-per-node", 2, "--max-restarts", 2]
    torchrun += [
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
        f"127.0.0.1:{port}",
        "--local-addr",
        "127.0.0.1",
    ]
    train = ["-m", "gcnsys", "train", "four", "--out", "run", "--epochs", 400, "--checkpoint-every", 20]
    with Launched([*torchrun, *train], tmp_path) as one, Launched([*torchrun, *train], tmp_path) as other:
        one.reaches(100)
        os.kill((one.ranks() | other.ranks())[3], signal.SIGKILL)
        assert [run.ends(120)[0] for run in (one, other)] == [0, 0]
    told = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in told] == list(range(400))
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["resumed_after"] >= 60


def test_a_goodbye_that_never_ends_is_waited_for_no_longer_than_asked(monkeypatch):
    stuck = threading.Event()
    monkeypatch.setattr("gcnsys.runtime.process._abort_process_group", stuck.wait)
    began = time.monotonic()
    _abandon(patience=0.2)
    assert 0.2 <= time.monotonic() - began < 5
    stuck.set()


def test_two_threads_of_a_rank_that_lose_contact_are_told_the_same():
    with Group(3) as ranks:
        ranks[2].close()
        with ThreadPoolExecutor(2) as threads:
            said = list(threads.map(lambda _: ranks[0].culprit("reset", waited=None), range(2)))
    assert said[0].startswith("rank 2")
    assert said[0] == said[1]
