"""Numbers instead of classes: squared errors and R² over all ranks, as scikit-learn has them."""

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_squared_error, r2_score

from gcnsys.cli.main import run
from gcnsys.datasets.dataset import Dataset
from gcnsys.datasets.npz import save
from gcnsys.datasets.spec import load
from gcnsys.errors import InputError
from gcnsys.partition import Cutting, Partitioning, build
from gcnsys.runtime import Placement
from gcnsys.testing.ranks import run_ranks
from gcnsys.train import RunConfig
from gcnsys.train.making import make_trainer
from gcnsys.train.task import Regression

NODES = 90
CPU = Placement(torch.device("cpu"), "gloo")


def arrays(width=2):
    """What is to be told is the mean of the neighbours' features and a little more."""
    rng = np.random.default_rng(5)
    pairs = rng.integers(0, NODES, (2, 500))
    x = rng.standard_normal((NODES, 6)).astype(np.float32)
    mean = np.zeros((NODES, 6))
    np.add.at(mean, pairs[1], x[pairs[0]])
    target = (mean @ rng.standard_normal((6, width)) + 3).astype(np.float32)
    target[:10] = np.nan
    return {"edge_index": pairs, "x": x, "target": target if width > 1 else target[:, 0]}


@pytest.mark.parametrize("width", [1, 3])
def test_scores_are_those_of_scikit_learn_whoever_counts(width):
    generator = torch.Generator().manual_seed(0)
    target = 2 + torch.randn(40, width, generator=generator)
    said = target + 0.5 * torch.randn(40, width, generator=generator)
    task = Regression()
    counts = task.counts(said[:15], target[:15]) + task.counts(said[15:], target[15:])
    score = task.score(counts)
    expected = r2_score(target.numpy(), said.numpy(), multioutput="variance_weighted")
    assert score.accuracy == pytest.approx(expected, rel=1e-5)
    assert score.loss == pytest.approx(mean_squared_error(target.numpy(), said.numpy()), rel=1e-5)


def test_scores_of_nothing_and_of_equal_targets():
    task, none = Regression(), torch.zeros(0, 2)
    assert np.isnan(task.score(task.counts(none, none)).accuracy)
    ones = torch.ones(4, 1)
    assert task.score(task.counts(ones, ones)).accuracy == 1
    assert task.score(task.counts(ones + 1, ones)).accuracy == 0


@pytest.mark.parametrize("width", [1, 2])
def test_it_is_learnt_the_same_on_any_number_of_parts(tmp_path, width):
    dataset, curves = Dataset.from_arrays("numbers", arrays(width)), []
    assert dataset.is_regression
    assert dataset.num_classes == width
    assert not bool((dataset.train_mask | dataset.val_mask | dataset.test_mask)[:10].any())
    config = RunConfig(data="-", model="sage", hidden=32, epochs=150, dropout=0.0, dtype="float64", lr=0.02)
    for parts in (1, 3):
        build(dataset, Cutting(parts, "random"), tmp_path / str(parts))

        def body(comm, parts=parts):
            trainer = make_trainer(Partitioning.open(tmp_path / str(parts)), config, comm, CPU)
            losses = [epoch.loss for epoch in trainer.epochs(config.epochs)]
            return losses, trainer.evaluate().scores["train"].accuracy

        losses, explained = run_ranks(parts, body)[0]
        assert explained > 0.8
        curves.append(torch.tensor(losses))
    assert float((curves[0] - curves[1]).abs().max() / curves[0].max()) < 1e-9


def test_the_command_line_says_r2_and_predicts_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("numbers.npz", **arrays())
    assert run(["train", "npz:numbers.npz", "--directed", "--epochs", "20", "--out", "run"]) == 0
    assert "test R² " in capsys.readouterr().out
    assert run(["predict", "run", "npz:numbers.npz", "--out", "said.npy"]) == 0
    assert np.load("said.npy").shape == (NODES, 2)
    assert run(["predict", "run", "npz:numbers.npz", "--kind", "classes", "--out", "none.npy"]) == 2
    assert "which have no classes; use logits" in capsys.readouterr().err


def test_a_graph_file_keeps_targets(tmp_path):
    dataset = Dataset.from_arrays("numbers", arrays())
    save(dataset, tmp_path / "kept.npz")
    again = load(f"npz:{tmp_path / 'kept.npz'}", undirected=False)
    assert torch.equal(again.y.nan_to_num(9.0), dataset.y.nan_to_num(9.0))


REFUSED = {
    "both": ({"y": np.zeros(NODES, np.int64)}, r"there are both y \(classes\) and target \(numbers\)"),
    "infinite": ({"target": np.full(NODES, np.inf)}, "target of node 0 is infinite"),
    "none": ({"target": np.full(NODES, np.nan)}, "no node has a target"),
    "a cube": ({"target": np.zeros((NODES, 2, 2))}, r"target must have shape \[N\] or \[N, T\]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_targets_that_cannot_be_are_refused(case):
    changed, sentence = REFUSED[case]
    with pytest.raises(InputError, match=sentence):
        Dataset.from_arrays("numbers", {**arrays(), **changed})
