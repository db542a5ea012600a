"""Training on batches: where a batch holds everything it is full-graph training, on any number of parts."""

import json
import threading

import pytest
import torch
from covering import covering, name_of
from small import assigned, perturbed, small, trained_model
from test_resume import cuts as cuts
from test_resume import run, sample, setting, stopped

from gcnsys.datasets import Dataset
from gcnsys.errors import GcnsysError, InputError
from gcnsys.nn import ModelSettings
from gcnsys.partition import Cutting, build, cut_dataset
from gcnsys.runtime import Placement
from gcnsys.sampling import NeighbourSampler, samplers
from gcnsys.testing.ranks import run_ranks
from gcnsys.train import RunConfig, Task
from gcnsys.train.folder import METRICS
from gcnsys.train.making import minibatch_trainer

CPU = Placement(torch.device("cpu"), "gloo")
EVERYTHING = 10**6


def settings_of(model="sage", *, layers=3, norm="none", dropout=0.0):
    return ModelSettings(model, layers, 8, norm=norm, dropout=dropout, heads=2, out_heads=3, hops=2)


def config_of(**changes):
    values = {"data": "", "sampler": "neighbour", "batch": EVERYTHING, "epochs": 6, "dtype": "float64"}
    return RunConfig.checked({**values, **changes})


def losses_of(
    made, config, settings, num_parts, *, assignment="random", inductive=False, also=lambda it: None
):
    """The loss curve on batches, the same on all ranks."""
    parts = cut_dataset(
        made.dataset, assigned(made, assignment, num_parts), num_parts, inductive=inductive, order="natural"
    )

    def body(comm):
        model, task = perturbed(settings).double(), Task(made.dataset.is_multilabel)
        trainer = minibatch_trainer(parts[comm.rank], model, task, config, comm, CPU)
        losses = [epoch.loss for epoch in trainer.epochs(config.epochs)]
        trainer.evaluate()  # the copies of the model are still identical
        also(trainer)
        return torch.tensor(losses, dtype=torch.float64)

    first, *others = run_ranks(num_parts, body)
    assert all(torch.equal(first, other) for other in others)
    return first


def full_graph(made, settings, *, inductive=False):
    found = trained_model(
        lambda: perturbed(settings), made, assigned(made, "random", 1), 1, inductive=inductive, epochs=6,
        prune=False,
    )  # fmt: skip
    return found.losses


CASES = covering({
    "model": ["gcn", "sage", "gin", "gat", "gatv2", "resgcn", "gcnii", "appnp", "sgc"],
    "norm": ["none", "layer"], "kind": ["undirected", "directed", "weighted-undirected"],
    "sparse": [False, True], "inductive": [False, True], "parts": [1, 2, 3], "prefetch": [0, 2],
    "assignment": ["random", "corners", "empty-rank"], "multilabel": [False, True],
})  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_batch_of_everything_is_the_whole_graph(case):
    made = small(case["kind"], sparse=case["sparse"], multilabel=case["multilabel"])
    settings = settings_of(case["model"], norm=case["norm"])
    layers = perturbed(settings).num_blocks
    config = config_of(fanouts=(-1,) * layers, prefetch=case["prefetch"], precision="full", first_hop="off")
    found = losses_of(
        made, config, settings, case["parts"], assignment=case["assignment"], inductive=case["inductive"]
    )
    exact = full_graph(made, settings, inductive=case["inductive"])
    assert float((found - exact).abs().max() / exact.abs().max()) < 1e-10


@pytest.mark.parametrize("model", ["sage", "gcn"])
def test_sources_that_draw_for_all_do_so_alike_on_any_number_of_parts(model):
    made, settings = small("directed"), settings_of(model)
    config = config_of(sampler="labor", fanouts=(2, 1, 2))
    alone = losses_of(made, config, settings, 1)
    assert not torch.allclose(alone, full_graph(made, settings), rtol=1e-3)
    for parts, assignment in ((2, "metis"), (3, "corners")):
        found = losses_of(made, config, settings, parts, assignment=assignment)
        assert torch.allclose(found, alone, rtol=1e-10, atol=0)


@pytest.mark.parametrize("sampler", ["neighbour", "ladies", "shadow", "pinsage", "cluster"])
@pytest.mark.parametrize("parts", [1, 3])
def test_batches_drawn_ahead_are_the_same(sampler, parts):
    made, settings = small("undirected"), settings_of(layers=2, dropout=0.4)
    found = [
        losses_of(
            made,
            config_of(
                sampler=sampler, batch=12, fanouts=(3, 2), budget=9, clusters=5, prefetch=ahead, epochs=3,
            ),
            settings, parts,
        )
        for ahead in (0, 3)
    ]  # fmt: skip
    assert torch.equal(*found)


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("kind", ["undirected", "directed"])
def test_a_subgraph_of_everything_is_the_whole_graph(kind, parts):
    made, settings = small(kind), settings_of("gin")
    found = losses_of(made, config_of(sampler="saint-node", budget=10**5), settings, parts)
    assert torch.allclose(found, full_graph(made, settings), rtol=1e-6)


def test_one_cluster_is_the_whole_graph():
    made, settings = small("undirected"), settings_of("gin")
    found = losses_of(made, config_of(sampler="cluster", clusters=1), settings, 1)
    assert torch.allclose(found, full_graph(made, settings), rtol=1e-6)


@pytest.mark.parametrize("sampler", ["saint-node", "saint-edge", "saint-walk", "fastgcn"])
def test_samplers_that_draw_among_all_nodes_train_over_ranks(sampler):
    made, settings = small("directed"), settings_of(layers=2)
    config = config_of(sampler=sampler, budget=60, batch=16, epochs=24, lr=0.02)
    for parts, assignment in ((1, "random"), (3, "empty-rank")):
        found = losses_of(made, config, settings, parts, assignment=assignment)
        assert float(found[-8:].mean()) < 0.9 * float(found[:3].mean())


def test_every_rank_takes_as_many_batches_and_every_seed_comes_once():
    made, seen, lock = small("directed"), [], threading.Lock()

    def look(trainer):
        with lock:
            batches = list(trainer.batches.epoch(9))
            ids = torch.cat([trainer.batches.store.nodes.y[:0]] + [batch.rows for batch in batches])
            seen.append((len(batches), ids.numel(), sum(batch.size for batch in batches)))

    losses_of(made, config_of(batch=5, epochs=1, prefetch=0), settings_of(), 1, also=look)
    alone = seen.pop()
    assert alone[1] == int(made.dataset.train_mask.sum()) == alone[2]

    def count(trainer):
        batches = list(trainer.batches.epoch(9))
        with lock:
            seen.append((len(batches), sum(batch.rows.numel() for batch in batches), batches[0].size))

    losses_of(made, config_of(batch=5, epochs=1), settings_of(), 3, assignment="corners", also=count)
    assert len({number for number, _, _ in seen}) == 1
    assert sum(seeds for _, seeds, _ in seen) == alone[1]
    assert len({size for _, _, size in seen}) == 1


def test_sums_over_ranks_enter_batch_norm():
    made, settings = small("undirected"), settings_of(norm="batch")
    config = config_of(batch=8)

    def statistics(trainer):
        assert trainer.model.norms[0].running_mean.abs().max() > 0

    losses_of(made, config, settings, 2, also=statistics)


@pytest.mark.parametrize("sampler", ["neighbour", "ladies", "cluster"])
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(tmp_path, cuts, sampler):
    config = setting(cuts / "2", sampler=sampler, batch=7, dropout=0.3, budget=20)
    whole = run(tmp_path / "whole", config)
    stopped(tmp_path / "run", config, 4)
    cut = run(tmp_path / "run", config, resume=tmp_path / "run")
    assert cut["final_loss"] == whole["final_loss"]
    files = [(tmp_path / name / "final.safetensors").read_bytes() for name in ("whole", "run")]
    assert files[0] == files[1]


def test_what_is_sent_is_counted_once_however_far_ahead_batches_are_drawn(tmp_path, cuts):
    found = []
    for ahead in (0, 2):
        config = setting(cuts / "2", sampler="labor", batch=7, prefetch=ahead)
        summary = run(tmp_path / str(ahead), config)
        found.append(summary["halo_bytes_sent_per_epoch"])
        lines = [json.loads(line) for line in (tmp_path / str(ahead) / METRICS).read_text().splitlines()]
        assert all(0 <= line["compute_seconds"] <= line["seconds"] for line in lines)
    assert found[0] == found[1]


def test_a_summary_counts_what_was_drawn(tmp_path, cuts):
    summary = run(tmp_path / "run", setting(cuts / "2", sampler="labor", batch=7))
    drawn = summary["sampled_per_epoch"]
    assert summary["sampler"] == "labor"
    assert drawn["batches"][0] == drawn["batches"][1] > 1
    assert min(drawn["rows"]) > 0
    assert min(summary["halo_bytes_sent_per_epoch"]) > 0
    assert "training" not in summary["rows_computed_per_layer"]


class Failing(NeighbourSampler):
    """Fails on a batch of the second epoch."""

    def sample(self, seeds, moment):
        if moment.step >> 32 == 1 and moment.step % 2**32 == 1:
            raise InputError("this sampler has had enough")
        return super().sample(seeds, moment)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_what_a_sampler_raises_ends_the_run(prefetch, monkeypatch):
    monkeypatch.setitem(samplers._builtin, "failing", Failing)
    config = config_of(sampler="failing", batch=5, prefetch=prefetch)
    with pytest.raises(RuntimeError, match="has had enough"):
        losses_of(small("undirected"), config, settings_of(), 2)
    assert not [thread for thread in threading.enumerate() if thread.name == "gcnsys-batches"]


def test_a_loss_that_is_not_finite_ends_threads_as_well():
    config = config_of(batch=5, prefetch=3)

    def spoil(trainer):
        with torch.no_grad():
            next(trainer.model.parameters()).fill_(torch.nan)
        with pytest.raises(GcnsysError, match="lower the learning rate"):
            list(trainer.epochs(9, first=6))

    losses_of(small("undirected"), config, settings_of(), 2, also=spoil)
    assert not [thread for thread in threading.enumerate() if thread.name == "gcnsys-batches"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"fanouts": (0, 1, 1)}, "a fan-out must be at least 1"),
        ({"fanouts": (3, 3)}, "3 layers need as many fan-outs, got 2: 3,3"),
        ({"sampler": "neighbor"}, "did you mean 'neighbour'"),
        ({"sampler": None}, "has no meaning without a sampler"),
        ({"method": "bns"}, "draws batches instead"),
        ({"task": "links"}, "is not known for task = links"),
        ({"batch": 0}, "batch = 0"),
        ({"sampler": "labor", "locality": "random"}, "draws all nodes alike"),
        ({"locality": "compact", "locality_threshold": 2}, "no node is local"),
        ({"locality_floor": 0.5}, "has no meaning without locality"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, sentence):
    with pytest.raises((InputError, RuntimeError), match=sentence):
        losses_of(small("undirected"), config_of(**{"batch": 4, **changes}), settings_of(), 2)


def test_kinds_of_edges_come_along(tmp_path):
    """A model that weighs edges by kind sees that of every edge, wherever it ends."""
    arrays = sample()
    arrays["edge_type"] = torch.arange(arrays["edge_index"].shape[1]).numpy() % 3
    dataset = Dataset.from_arrays("kinds", arrays)
    losses = {}
    for parts in (1, 2):
        build(dataset, Cutting(parts, "random"), tmp_path / str(parts))
        for sampler in (None, "neighbour"):
            drawn = {} if sampler is None else {"fanouts": (-1, -1, -1), "batch": EVERYTHING}
            config = setting(tmp_path / str(parts), model="rgcn", sampler=sampler, dropout=0, **drawn)
            losses[parts, sampler] = run(tmp_path / f"{parts}-{sampler}", config)["final_loss"]
    assert max(losses.values()) - min(losses.values()) < 1e-10
