"""A run from configuration to summary, over thread ranks."""

import functools
import json
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch import nn

from gcnsys.datasets import Dataset
from gcnsys.errors import GcnsysError, InputError
from gcnsys.graph import toy
from gcnsys.kernels import LocalBlock
from gcnsys.nn import ModelSettings, build_model
from gcnsys.partition import Cutting, Partitioning, build
from gcnsys.runtime import Placement
from gcnsys.testing.ranks import run_ranks
from gcnsys.train import RunConfig, Task
from gcnsys.train.best import Best
from gcnsys.train.folder import RunFolder
from gcnsys.train.optimizer import learning_rate_factor, make_optimizer
from gcnsys.train.run import run_part
from gcnsys.train.task import Score
from gcnsys.train.timings import Timings
from gcnsys.train.trainer import Epoch, Evaluation, Trainer
from gcnsys.train.view import precomputes
from gcnsys.train.votes import Votes

CPU = Placement(torch.device("cpu"), "gloo")


def sample(num_nodes=60, seed=0, *, multilabel=False, masks=True):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, (num_nodes, 4)) if multilabel else rng.integers(0, 3, num_nodes)
    arrays = {
        "edge_index": rng.integers(0, num_nodes, (2, 5 * num_nodes)),
        "x": rng.standard_normal((num_nodes, 7)).astype(np.float32),
        "y": y,
    }
    if masks:
        share = rng.permutation(num_nodes) % 3
        arrays |= {name: share == k for k, name in enumerate(("train_mask", "val_mask", "test_mask"))}
    return Dataset.from_arrays("sample", arrays).undirected()


def trained(tmp_path, dataset, parts=2, *, inductive=False, folder=None, watch=None, **settings):
    where = tmp_path / f"cut-{parts}-{inductive}"
    if not where.exists():
        build(dataset, Cutting(parts, inductive=inductive), where)
    values = {"data": str(where), "epochs": 6, "hidden": 8, "dtype": "float64", **settings}
    config = RunConfig.checked(values)

    def body(comm):
        made = RunFolder(folder, config) if folder is not None and comm.rank == 0 else None
        return run_part(Partitioning.open(where), config, comm, CPU, made, watch)

    summaries = run_ranks(parts, body)
    assert all(json.dumps(summary) == json.dumps(summaries[0]) for summary in summaries)
    return summaries[0]


@pytest.mark.parametrize("inductive", [False, True])
@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_any_number_of_parts_ends_the_same(tmp_path, inductive, norm):
    dataset = sample()
    losses = [
        trained(
            tmp_path, dataset, parts, inductive=inductive, norm=norm, model="sage", layers=3, residual=True
        )["final_loss"]
        for parts in (1, 2, 3)
    ]
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-10)


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
@pytest.mark.parametrize("model", ["gcn", "sage"])
def test_layers_that_are_computed_again_train_alike(tmp_path, model, norm):
    plain, again = (
        trained(
            tmp_path, sample(), 2, model=model, norm=norm, layers=4, residual=True, linear_layers=1,
            exchange_side="input", recompute=recompute,
        )
        for recompute in (False, True)
    )  # fmt: skip
    assert again["final_loss"] == plain["final_loss"]
    assert again["test_acc"] == plain["test_acc"]
    sent = [sum(summary["halo_bytes_sent_per_epoch"]) for summary in (plain, again)]
    assert sent[1] > sent[0]


def _kept(saved, tensor):
    saved.append(tensor)
    return tensor


def test_layers_that_are_computed_again_keep_less():
    kept = {}
    block = LocalBlock.from_graph(toy.grid(8, 8))
    for recompute in (False, True):
        settings = ModelSettings("sage", 6, 32, recompute=recompute)
        model = build_model(settings, 32, 4, seed=0)
        saved = []
        keep = functools.partial(_kept, saved)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            model((block,) * 6, torch.randn(64, 32))
        kept[recompute] = sum({t.data_ptr(): t.nbytes for t in saved}.values())
    assert kept[True] < kept[False] / 2


def test_multilabel_scores_are_micro_f1(tmp_path):
    dataset = sample(multilabel=True)
    summary = trained(tmp_path, dataset, 2, epochs=12)
    assert summary["multilabel"] is True
    assert 0 < summary["test_acc"] < 1
    logits, target = torch.randn(50, 4), torch.rand(50, 4) > 0.6
    task = Task(multilabel=True)
    halves = task.counts(logits[:20], target[:20]) + task.counts(logits[20:], target[20:])
    expected = f1_score(target.numpy(), (logits > 0).numpy(), average="micro")
    assert task.score(halves).accuracy == pytest.approx(expected)


def test_a_score_without_nodes_is_not_a_number():
    score = Task(multilabel=False).score(torch.zeros(5, dtype=torch.float64))
    assert math.isnan(score.accuracy)
    nothing = torch.tensor([0.0, 0, 0, 3, 1], dtype=torch.float64)
    assert Task(multilabel=True).score(nothing).accuracy == 0


def test_training_stops_early_without_a_better_validation(tmp_path):
    summary = trained(tmp_path, sample(), 2, epochs=200, lr=1e-9, patience=3)
    assert summary["epochs"] <= summary["best_epoch"] + 4 < 200


def test_evaluation_is_as_rare_as_asked_and_always_last(tmp_path):
    records = []
    trained(tmp_path, sample(), 1, epochs=7, eval_every=3, watch=records.append)
    assert [r["epoch"] for r in records if "val_acc" in r] == [2, 5, 6]


def test_the_split_of_time_adds_up(tmp_path):
    records = []
    trained(tmp_path, sample(), 2, watch=records.append)
    for record in records:
        parts = record["compute_seconds"] + record["comm_seconds"] + record["reduce_seconds"]
        assert parts == pytest.approx(record["seconds"])
        assert min(record["compute_seconds"], record["comm_seconds"], record["reduce_seconds"]) > 0


def test_the_learning_rate_warms_up_and_falls():
    config = RunConfig(data="digits", epochs=100, warmup=10, lr_schedule="cosine")
    factors = [learning_rate_factor(config, epoch) for epoch in range(100)]
    assert factors[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert factors[10] == pytest.approx(1)
    assert factors[55] == pytest.approx(0.5)
    assert all(np.diff(factors[10:]) < 0)
    assert learning_rate_factor(config.model_copy(update={"lr_schedule": "constant"}), 80) == 1


def test_weight_decay_reaches_the_layers_it_should(tmp_path):
    losses = {}
    for name, decay, where in (("none", 0.0, "all"), ("first", 0.5, "first"), ("all", 0.5, "all")):
        losses[name] = trained(tmp_path, sample(), 1, weight_decay=decay, decay_on=where)["final_loss"]
    assert len(set(losses.values())) == 3


@pytest.mark.parametrize("where", ["all", "first"])
def test_weight_decay_is_of_the_weights_it_should_be_of(where):
    config = RunConfig(data="digits", hidden=4, layers=3, weight_decay=0.5, decay_on=where)
    model = build_model(config.model_settings(1), 5, 3, seed=0)
    groups = make_optimizer(model, config).param_groups
    decayed = {id(weight) for group in groups if group["weight_decay"] for weight in group["params"]}
    wanted = model if where == "all" else model.first
    assert decayed == {id(weight) for weight in wanted.parameters()}
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_the_best_epoch_is_chosen_on_validation_alone():
    model, best = torch.nn.Linear(1, 1), Best()

    def evaluation(val, loss, test):
        scores = {"val": Score(val, loss), "test": Score(test, 0.0), "train": Score(1.0, 0.0)}
        return Evaluation(scores, 0.0)

    assert best.offer(0, evaluation(0.5, 1.0, 0.9), model)
    assert not best.offer(1, evaluation(0.4, 0.1, 1.0), model)
    assert not best.offer(2, evaluation(0.5, 1.0, 1.0), model)
    assert best.offer(3, evaluation(0.5, 0.9, 0.1), model)
    assert best.epoch == 3


def test_without_validation_nodes_the_last_epoch_counts(tmp_path):
    rng = np.random.default_rng(0)
    share = rng.permutation(60) % 2
    masks = {"train_mask": share == 0, "val_mask": np.zeros(60, bool), "test_mask": share == 1}
    arrays = sample(masks=False).to_arrays() | masks
    summary = trained(tmp_path, Dataset.from_arrays("sample", arrays), 2)
    assert summary["best_epoch"] == summary["epochs"] - 1
    assert math.isnan(summary["val_acc"])
    assert json.loads(json.dumps(summary["test_acc"])) > 0


def test_saved_weights_are_those_of_the_best_and_the_last_epoch(tmp_path):
    from safetensors.torch import load_file

    trained(tmp_path, sample(), 2, folder=tmp_path / "run", epochs=30, lr=0.1)
    best, final = (load_file(tmp_path / "run" / f"{name}.safetensors") for name in ("best", "final"))
    assert best.keys() == final.keys()
    assert any(not torch.equal(best[name], final[name]) for name in best)


def test_ranks_with_different_configurations_are_refused(tmp_path):
    dataset = sample()
    build(dataset, Cutting(2), tmp_path / "two")

    def body(comm):
        config = RunConfig(data=str(tmp_path / "two"), epochs=1, lr=0.1 * (1 + comm.rank))
        return run_part(Partitioning.open(tmp_path / "two"), config, comm, CPU)

    with pytest.raises(RuntimeError, match="rank 1 was started with another configuration") as caught:
        run_ranks(2, body)
    assert isinstance(caught.value.__cause__, InputError)


def test_a_damaged_part_stops_every_rank_with_its_sentence(tmp_path):
    build(sample(), Cutting(3), tmp_path / "three")
    path = tmp_path / "three/part-00001/graph.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    told = []

    def body(comm):
        config = RunConfig(data=str(tmp_path / "three"), epochs=1)
        try:
            run_part(Partitioning.open(tmp_path / "three"), config, comm, CPU)
        except GcnsysError as error:
            told.append((comm.rank, str(error), error.exit_code, error.everywhere))

    run_ranks(3, body)
    assert len(told) == 3
    assert len({entry[1:] for entry in told}) == 1
    assert "part-00001/graph.safetensors" in told[0][1]
    assert told[0][2:] == (2, True)


def test_precompute_is_automatic_for_dense_features_and_refused_for_sparse():
    assert precomputes("auto", sparse=False, sums=True)
    assert not precomputes("auto", sparse=True, sums=True)
    assert not precomputes("auto", sparse=False, sums=False)
    assert not precomputes("off", sparse=False, sums=True)
    with pytest.raises(InputError, match="would make sparse features dense"):
        precomputes("on", sparse=True, sums=True)
    with pytest.raises(InputError, match="needs a first layer that sums"):
        precomputes("on", sparse=False, sums=False)


def test_a_configuration_survives_its_file():
    import tomllib

    config = RunConfig(data="digits", parts=3, split=(0.5, 0.25, 0.25), norm="batch", dropout=0.1)
    assert RunConfig.checked(tomllib.loads(config.toml())) == config


def test_every_setting_has_a_description():
    for name, field in RunConfig.model_fields.items():
        assert field.description, name


def test_a_weight_that_one_rank_alone_reaches_is_learnt_by_all():
    class Lopsided(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(1, 1)
            self.beside = nn.Parameter(torch.ones(1))
            self.unused = nn.Parameter(torch.ones(1))

    def body(comm):
        trainer = Trainer.__new__(Trainer)
        trainer.model, trainer.comm, trainer.ballot = Lopsided(), comm, Votes
        found = []
        for reached in (False, True):  # by one rank, and not before the second step
            trainer.model.zero_grad()
            loss = trainer.model.linear(torch.ones(1, 1)).sum()
            (loss + trainer.model.beside.sum() if reached and comm.rank == 1 else loss).backward()
            trainer._reduce(loss.detach(), 0)
            found.append([None if w.grad is None else w.grad.item() for w in trainer.model.parameters()])
        return found

    assert run_ranks(2, body) == [[[None, None, 2.0, 2.0], [1.0, None, 2.0, 2.0]]] * 2


def test_seconds_of_all_epochs_take_little_and_the_first_counts_only_alone():
    timings = Timings()
    for number, seconds in enumerate((9.0, 1.0, 2.0, 6.0)):
        timings.add(Epoch(number, 0.5, 0.1, seconds, seconds / 2, 0.0, 0.0, 1, 1, 1))
        assert timings.median("seconds") == (9.0, 1.0, 1.5, 2.0)[number]
    assert (timings.first.number, timings.last.number) == (0, 3)
    assert timings.median("compute_seconds") == 1.0
