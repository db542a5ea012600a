"""Ranks in network namespaces: the result is the usual one, the links limit, and nothing stays behind."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # experiments/ is not installed

from experiments.network import SCRIPT, on_cluster
from gcnsys.cli.main import run
from gcnsys.errors import GcnsysError, InputError

TRAIN = ("-m", "gcnsys", "train")


@pytest.fixture
def two(tmp_path, monkeypatch):
    """A partitioning in two parts; skips where there can be no cluster; sees that none is left."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if not (shutil.which("ip") and shutil.which("tc")):
        pytest.skip("'ip' and 'tc' are missing; the package iproute2 has them")
    if subprocess.run(
        ["unshare", "--mount", "--pid", "--net", "--fork", "true"], capture_output=True
    ).returncode:
        pytest.skip("root may not make namespaces here")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez(
        "small.npz",
        edge_index=rng.integers(0, 40, (2, 160)),
        x=rng.standard_normal((40, 6)).astype(np.float32),
        y=rng.integers(0, 3, 40),
    )
    assert run(["partition", "build", "npz:small.npz", "--parts", "2", "--out", "two"]) == 0
    before = named_networks()
    yield str(tmp_path / "two")
    try:
        until(lambda: not processes(tmp_path), seconds=5)
    finally:
        for left in processes(tmp_path):
            os.kill(left, signal.SIGKILL)
    assert named_networks() == before


def named_networks():
    """What the machine itself knows of: mounts and names."""
    names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return names, Path("/proc/mounts").read_text()


def processes(mentioned):
    """Those whose command line names a folder, with their environment."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(mentioned) in (process / "cmdline").read_text():
                found[int(process.name)] = (process / "environ").read_text().split("\0")
        except OSError:  # it has just ended
            continue
    return found


def until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not (met := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return met


def has_netem():
    add = ["unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]
    return subprocess.run(add, capture_output=True).returncode == 0


_BECOME = "os.execvp(sys.argv[1], sys.argv[1:])"


def started(*arguments):
    """The script under way, with this Python's gcnsys."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    # A shell cannot catch what was ignored when it started, as SIGINT is in whatever runs in the background.
    heard = f"import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); {_BECOME}"
    return subprocess.Popen(
        [sys.executable, "-c", heard, "bash", str(SCRIPT), *arguments], env=os.environ | {"PATH": path},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def documented(partitioning):
    """The arguments that the page about launching shows, with this partitioning."""
    page = (SCRIPT.parent / "README.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith("sudo bash launch/emulated_cluster.sh")]
    return [partitioning if word == "DIR" else word for word in line.split()[3:]]


@pytest.mark.full
@pytest.mark.processes
def test_two_emulated_machines_train_as_one_does_and_send_what_they_say(two):
    options = ["--hidden", "3000", "--epochs", "20", "--eval-every", "20", "--dtype", "float64", "--json"]
    summary, counters = on_cluster(2, "200mbit", [*TRAIN, two, *options], timeout=120)
    assert run(["train", "npz:small.npz", *options[:-1], "--out", "alone"]) == 0
    alone = json.loads(Path("alone/summary.json").read_text())
    assert summary["parts"] == 2
    assert summary["final_loss"] == pytest.approx(alone["final_loss"], rel=1e-10)
    for said, sent, got in zip(
        summary["bytes_sent_per_epoch"], counters.transmitted, reversed(counters.received), strict=True
    ):
        payload = said * summary["epochs"]
        assert payload < sent < 1.08 * payload + 1e6  # headers, then weights, evaluation and torchrun's words
        assert got == pytest.approx(sent, rel=0.01)
    assert counters.seconds > max(counters.transmitted) * 8 / 200e6


@pytest.mark.full
@pytest.mark.processes
@pytest.mark.parametrize("options", [
    ["--method", "bns", "--rate", "0.5"], ["--method", "pipegcn-gf"],
    ["--codec", "int8", "--schedule", "overlap"],
    ["--method", "bns", "--rate", "0.5", "--schedule", "pipeline", "--codec", "int8"],
], ids=" ".join)  # fmt: skip
def test_an_emulated_network_counts_what_a_method_says_it_sent(two, options):
    more = ["--hidden", "3000", "--epochs", "20", "--eval-every", "20", "--json"]
    summary, counters = on_cluster(2, "200mbit", [*TRAIN, two, *options, *more], timeout=120)
    allowed = 2e6 * counters.seconds / 60
    for total, epoch, sent in zip(
        summary["bytes_sent_total"], summary["bytes_sent_per_epoch"], counters.transmitted, strict=True
    ):
        assert total < sent < 1.08 * total + allowed
        # Besides its epochs a run sends initial weights, rehearses two epochs' rows, and evaluates once.
        assert 20 * epoch < total < 23 * epoch + 3e5


@pytest.mark.full
@pytest.mark.processes
def test_a_link_carries_its_rate_and_a_packet_takes_its_time(two, tmp_path):
    measure = tmp_path / "measure.py"
    measure.write_text("""
import json, os, pathlib, socket, time
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
rank, rows = dist.get_rank(), torch.ones(1_500_000)
dist.barrier()
began = time.perf_counter()
dist.recv(rows, 1) if rank == 0 else dist.send(rows, 0)
seconds = time.perf_counter() - began
trip = torch.zeros(1)
if rank == 1:
    began = time.perf_counter()
    socket.create_connection((os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))).close()
    trip += time.perf_counter() - began
dist.all_reduce(trip)
devices = pathlib.Path("/sys/class/net")
if rank == 0:
    print(json.dumps({
        "mbit": 6 * 8 / seconds, "trip": trip.item(), "devices": sorted(os.listdir(devices)),
        "loopback": int((devices / "lo/statistics/tx_bytes").read_text()),
    }))
dist.destroy_process_group()
""")
    latency = "20ms" if has_netem() else "0"
    measured, _ = on_cluster(2, "50mbit", [str(measure)], latency=latency, timeout=120)
    assert 40 < measured["mbit"] < 50
    assert measured["trip"] < 0.04 + 0.04 * has_netem()
    assert measured["trip"] >= 0.04 * has_netem()
    assert measured["devices"] == ["eth0", "lo"]
    assert measured["loopback"] < 1e5


def test_a_latency_that_the_kernel_cannot_add_is_refused(two):
    if has_netem():
        pytest.skip("this kernel has netem")
    with pytest.raises(InputError, match="no netem, which a LATENCY of 1ms needs"):
        on_cluster(2, "1gbit", [*TRAIN, two], latency="1ms")


@pytest.mark.full
@pytest.mark.processes
def test_a_killed_rank_ends_the_others_and_the_script(two, tmp_path):
    script = started(*documented(two), "--epochs", "1000000", "--out", str(tmp_path / "run"))
    until(lambda: script.poll() is not None or (tmp_path / "run/metrics.jsonl").exists())
    (rank,) = [pid for pid, environment in processes(tmp_path).items() if "RANK=1" in environment]
    network = Path("/proc/self/ns/net").readlink()
    assert Path(f"/proc/{rank}/ns/net").readlink() != network
    os.kill(rank, signal.SIGKILL)
    _, said = script.communicate(timeout=60)
    assert script.returncode == 1, said
    assert "emulated_cluster: rank 1 failed with code 1" in said
    assert re.search(r"gcnsys: rank 1 on \S+ is gone: its process ended or was killed", said), said
    assert not processes(tmp_path)


@pytest.mark.full
@pytest.mark.processes
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_script_that_is_stopped_leaves_nothing(two, tmp_path, name):
    script = started("2", "100mbit", "0", "--", "--no-python", "sh", "-c", f"sleep 1000; echo {tmp_path}")
    until(lambda: sum("RANK" in "".join(environment) for environment in processes(tmp_path).values()) >= 2)
    number = getattr(signal, name)
    script.send_signal(number)
    script.communicate(timeout=10)
    assert script.returncode == (-number if name == "SIGKILL" else 128 + number)
    until(lambda: not processes(tmp_path), seconds=5)


@pytest.mark.full
@pytest.mark.processes
def test_a_command_that_fails_fails_the_experiment(two):
    with pytest.raises(GcnsysError, match="two has 2 parts but 1 ranks were started"):
        on_cluster(1, "100mbit", [*TRAIN, two], timeout=120)


MISTAKES = {
    "no arguments": ((), "usage: "),
    "no command": (("2", "1gbit", "0", "--"), "usage: "),
    "no dashes": (("2", "1gbit", "0", "-m", "gcnsys"), "usage: "),
    "no ranks": (("0", "1gbit", "0", "--", "x"), "P must be a whole number"),
    "half a rank": (("1.5", "1gbit", "0", "--", "x"), "P must be a whole number"),
    "no unit": (("2", "1000", "0", "--", "x"), "RATE must be like 200mbit or 1gbit, got '1000'"),
    "no rate": (("2", "0gbit", "0", "--", "x"), "RATE must be like"),
    "no unit of time": (("2", "1gbit", "5", "--", "x"), "LATENCY must be 0 or like 500us or 1ms, got '5'"),
}


def refused(*arguments, **environment):
    done = subprocess.run(
        ["bash", str(SCRIPT), *arguments], env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


@pytest.mark.parametrize(("arguments", "told"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_gets_one_sentence(arguments, told):
    assert told in refused(*arguments)


def test_what_is_missing_is_named(tmp_path):
    command = ("2", "1gbit", "0", "--", "x")
    assert "there is no such folder" in refused(*command, COUNTERS=str(tmp_path / "absent/counters.json"))
    for tool in ("bash", "dirname", "id"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    assert "install the package iproute2" in refused(*command, PATH=str(tmp_path))
    for tool in ("ip", "tc"):
        (tmp_path / tool).symlink_to("/bin/true")
    (tmp_path / "id").unlink()
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    assert "network namespaces need root" in refused(*command, PATH=str(tmp_path))


def test_help_shows_an_example():
    done = subprocess.run(["bash", str(SCRIPT), "--help"], capture_output=True, text=True, check=True)
    assert "-- -m gcnsys train" in done.stdout
