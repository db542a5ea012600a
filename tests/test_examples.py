"""The worked examples run, alone and over ranks, and both give the same."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
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


@pytest.mark.processes
def test_a_sampler_of_ones_own_works_by_name_in_a_fresh_environment(tmp_path):
    pytest.importorskip("setuptools", reason="builds the package")
    package, home = ROOT / "experiments/examples/sampler_plugin", tmp_path / "fresh"
    copied = shutil.copytree(package, tmp_path / "plugin", ignore=shutil.ignore_patterns("__pycache__"))
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    # What this environment holds stands for what pip would fetch.
    (site,) = home.glob("lib/python*/site-packages")
    found = [path for path in sys.path if path.endswith("site-packages")]
    lines = "".join(f"import site; site.addsitedir({path!r})\n" for path in found)
    (site / "what_is_here.pth").write_text(lines)
    installed = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", str(copied)]
    done = subprocess.run([python, *installed], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (site / "rare_first.py").exists()
    trained = ["train-minibatch", "digits", "--sampler", "rare-first", "--epochs", "20", "--json"]
    for parts in ("1", "2"):
        done = subprocess.run(
            [python, "-m", "gcnsys", *trained, "--parts", parts, "--out", f"run-{parts}"], cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout)
        assert summary["sampler"] == "rare-first"
        assert summary["test_acc"] > 0.9
    tests = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(copied / "tests")]
    done = subprocess.run(tests, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_examples_are_short():
    for path in (ROOT / "experiments/examples").glob("*.py"):
        lines = [line for line in path.read_text().split('"""', 2)[-1].splitlines() if line.strip()]
        assert len(lines) <= 42, path
