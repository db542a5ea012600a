"""The worked examples run, alone and over ranks, and both give the same."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from layers import needed

ROOT = Path(__file__).parents[1]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def said(folder, example, launcher=()):
    command = [sys.executable, *launcher, "-m", f"experiments.examples.{example}", "digits"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def losses(text):
    return [float(number) for number in re.findall(r"loss ([0-9.]+)", text)]


@pytest.mark.processes
@pytest.mark.parametrize("example", ["own_model", "pyg_layers"])
def test_an_example_learns_whatever_the_number_of_ranks(tmp_path, example):
    if example == "pyg_layers":
        needed("torch_geometric.nn")
    alone, two = said(tmp_path, example), said(tmp_path, example, TORCHRUN)
    assert float(re.search(r"test accuracy ([0-9.]+) on 1 parts", alone)[1]) > 0.97
    assert float(re.search(r"test accuracy ([0-9.]+) on 2 parts", two)[1]) > 0.97
    # Its own model is trained with stale rows, that of PyG's layers exactly.
    bound = 0.01 if example == "own_model" else 2e-4
    assert losses(two) == pytest.approx(losses(alone), abs=bound)


def test_examples_are_short():
    for path in (ROOT / "experiments/examples").glob("*.py"):
        lines = [line for line in path.read_text().split('"""', 2)[-1].splitlines() if line.strip()]
        assert len(lines) <= 42, path
