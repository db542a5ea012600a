"""Every run file trains on a stand-in as it says; scores on record, if any are, beside the published ones."""

import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import torch

from experiments import runfile
from experiments.bench import Bench
from experiments.figures import Figure, at_least, at_most, same
from experiments.published.run import PUBLISHED, RUNS, command, stand_in
from gcnsys.cli.main import run
from gcnsys.datasets import load
from gcnsys.partition import build
from gcnsys.runtime import Comm, Placement
from gcnsys.testing.ranks import run_ranks
from gcnsys.train.run import run_part

EPOCHS = 6


def check(at: Bench) -> Iterator[Figure]:
    torch.set_num_threads(1)
    yield from at.parts(commands, parts, scores)


def commands(at: Bench) -> Iterator[Figure]:
    """The command on one part; the loss falls."""
    for name, path in RUNS.items():
        folder, said = at.work / name, StringIO()
        further = ["--set", f"epochs={EPOCHS}", "--parts", "1", "--threads", "1"]
        with redirect_stdout(said):
            code = run(command(name, stand_in(name, at.work), folder, further))
        yield same(f"{name} on a stand-in: exit code", code, 0)
        summary, asked = json.loads(said.getvalue()), runfile.read(path, at.work)
        yield same(f"{name}: method", summary["method"], asked.method)
        losses = [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        yield at_most(f"{name}: loss after {EPOCHS} epochs", losses[-1], losses[0], why="after one")


def parts(at: Bench) -> Iterator[Figure]:
    """Two ranks of this process: rows cross as the method says."""
    for name, path in RUNS.items():
        config = runfile.read(
            path, at.work, data=stand_in(name, at.work), epochs=EPOCHS, parts=2, device="cpu"
        )
        dataset = load(config.data, split=config.data_split(), normalization=config.normalize)
        partitioning = build(dataset, config.cutting(), at.work / f"{name}-2")

        def body(comm: Comm, partitioning=partitioning, config=config) -> dict[str, Any]:  # type: ignore[no-untyped-def]
            torch.set_num_threads(1)
            return run_part(partitioning, config, comm, Placement.choose("cpu", 0, 1))

        summary = run_ranks(2, body, timeout=60)[0]
        yield same(f"{name}, 2 parts: method", summary["method"], config.method)
        sent = sum(summary["halo_bytes_sent_per_epoch"])
        yield at_least(f"{name}, 2 parts: halo bytes of an epoch", sent, 1)


def scores(at: Bench) -> Iterator[Figure]:
    """Test scores on record."""
    for name, record in at.records("results/*.json"):
        if name in PUBLISHED:
            bound = PUBLISHED[name][0] - at.within("score")
            found = record["summary"]["test_acc_at_best_val"]
            yield at_least(f"{name}: test score on record", found, bound, why="published less a tolerance,")
