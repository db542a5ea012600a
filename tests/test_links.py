"""Links: what is held out, what is drawn, and losses and scores against loops over all of them."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import ASSIGNMENTS, NUM_NODES, assigned, small

from gcnsys.cli.main import run
from gcnsys.datasets.dataset import Dataset, Split
from gcnsys.datasets.held_out import TEST, VALIDATION, hold_out
from gcnsys.errors import InputError
from gcnsys.graph import Graph
from gcnsys.kernels import Edges
from gcnsys.nn import ModelSettings, build_model
from gcnsys.partition import Cutting, Partitioning, build, cut_dataset
from gcnsys.partition.build import node_digest
from gcnsys.runtime import Placement
from gcnsys.runtime.choices import Choices
from gcnsys.testing.ranks import run_ranks
from gcnsys.train import LinkPrediction, RunConfig, Task, Trainer, views
from gcnsys.train.links import Asked, Links, pool_of, wrong_answers
from gcnsys.train.making import make_trainer
from gcnsys.train.task import Score

CPU = torch.device("cpu")
SPLIT = Split(0.7, 0.1, 0.2, seed=4, of="links")


def linked(kind):
    """A small graph some of whose links are held out; the same graph before."""
    made = small(kind)
    return hold_out(made.dataset, SPLIT), made


def pairs_of(graph):
    return set(map(tuple, graph.edge_index().T.tolist()))


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(2, 30), size=st.integers(0, 120), seed=st.integers(0, 99), undirected=st.booleans(),
    shares=st.sampled_from([(0.85, 0.05, 0.1), (0.5, 0.5, 0.0), (0.4, 0.0, 0.3), (1.0, 0.0, 0.0)]),
)  # fmt: skip
def test_links_go_somewhere_once_and_both_ways(count, size, seed, undirected, shares):
    rng = np.random.default_rng(seed)
    arrays = {"edge_index": rng.integers(0, count, (2, size)), "x": rng.normal(size=(count, 3))}
    split = Split(*shares, seed=seed, of="links")
    dataset = Dataset.from_arrays("drawn", arrays, split)
    dataset = dataset.undirected() if undirected else dataset
    links = {pair for pair in pairs_of(dataset.graph) if pair[0] != pair[1]}
    both_ways = dataset.graph.is_symmetric
    units = {tuple(sorted(pair)) for pair in links} if both_ways else links
    wanted = [round(len(units) * sum(shares[:end])) for end in (1, 2, 3)]
    if wanted[0] == 0:
        with pytest.raises(InputError, match="no link is left to train on"):
            hold_out(dataset, split)
        return
    found = hold_out(dataset, split)
    held, kinds = pairs_of(found.held_out), found.held_out.adjacency.columns["edge_type"]
    assert pairs_of(found.graph) | held == pairs_of(dataset.graph)
    assert found.graph.num_edges + found.held_out.num_edges == dataset.graph.num_edges
    assert not any(source == end for source, end in held)
    assert int((kinds == VALIDATION).sum()) == (1 + both_ways) * (wanted[1] - wanted[0])
    assert int((kinds == TEST).sum()) == (1 + both_ways) * (wanted[2] - wanted[1])
    if both_ways:
        told = dict(zip(map(tuple, found.held_out.edge_index().T.tolist()), kinds.tolist(), strict=True))
        assert all(told[end, source] == kind for (source, end), kind in told.items())
        assert found.graph.is_symmetric
        assert Graph.from_edge_index(found.graph.edge_index(), num_nodes=count).is_symmetric


def test_another_seed_holds_others_out():
    made = small("undirected").dataset
    held = [pairs_of(hold_out(made, Split(0.8, 0.1, 0.1, seed, "links")).held_out) for seed in (0, 0, 1)]
    assert held[0] == held[1] != held[2]


@pytest.mark.parametrize("num_parts", [1, 3])
@pytest.mark.parametrize("order", ["natural", "rcm"])
def test_parts_on_disk_are_those_in_memory(tmp_path, num_parts, order):
    dataset, made = linked("directed")
    assignment = assigned(made, "random", num_parts)
    np.save(tmp_path / "own.npy", assignment.numpy())
    cutting = Cutting(num_parts, f"file:{tmp_path / 'own.npy'}", order=order)
    written = build(dataset, cutting, tmp_path / "cut")
    assert sum(written.manifest.held_out) == dataset.held_out.num_edges
    assert all(problem is None for _, problem in written.verify())
    held = Counter()
    for part in cut_dataset(dataset, assignment, num_parts, order=order):
        read = written.part(part.rank, checked=True).links
        for name in ("inner_ids", "halo_ids"):
            assert torch.equal(getattr(read, name), getattr(part.links, name))
        assert torch.equal(read.inner_ids, part.whole.inner_ids)
        assert torch.equal(read.plan.send_rows, part.links.plan.send_rows)
        for mine, theirs, ids in (
            (read.inner, part.links.inner, read.inner_ids), (read.halo, part.links.halo, read.halo_ids)
        ):  # fmt: skip
            assert torch.equal(mine.indices, theirs.indices)
            kinds = mine.columns["edge_type"]
            assert torch.equal(kinds, theirs.columns["edge_type"])
            ends = read.inner_ids[mine.rows().long()]
            held.update(zip(ids[mine.indices.long()].tolist(), ends.tolist(), kinds.tolist(), strict=True))
    whole, kinds = dataset.held_out, dataset.held_out.adjacency.columns["edge_type"]
    assert held == Counter(zip(*whole.edge_index().tolist(), kinds.tolist(), strict=True))
    others = (hold_out(made.dataset, Split(0.7, 0.2, 0.1, seed, "links")) for seed in (1, 2))
    assert len({node_digest(other) for other in others}) == 2


def trainer_of(dataset, part, comm, *, model="sage", dropout=0.3, choices=None, pool=16):
    """A trainer of links in float64."""
    made = build_model(
        ModelSettings(model, 2, 6, dropout=dropout, heads=2), dataset.num_features, 5, seed=1
    ).double()
    training, evaluation = views(
        part, made, comm, choice="off", choices=choices, device=CPU, dtype=torch.float64
    )
    links = Links(part, comm, CPU, seed=3)
    for view in (training, evaluation):
        object.__setattr__(view, "links", links)
    task = LinkPrediction(num_nodes=NUM_NODES, seed=3, negatives=2, pool=pool)
    return Trainer(made, training, evaluation, task, torch.optim.Adam(made.parameters(), 0.02), comm, seed=5)


def learnt(kind, assignment, num_parts, epochs=6, **more):
    """Losses, gradients, rows of all nodes and scores, after training over ranks."""
    dataset, _ = linked(kind)
    parts = cut_dataset(dataset, assignment, num_parts)

    def body(comm):
        trainer = trainer_of(dataset, parts[comm.rank], comm, **more)
        losses = [epoch.loss for epoch in trainer.epochs(epochs)]
        gradient = torch.cat([p.grad.flatten() for p in trainer.model.parameters()])
        scores = trainer.evaluate().scores
        return losses, gradient, trainer.evaluation.ids, trainer.logits(), scores

    ranks = run_ranks(num_parts, body)
    rows = torch.zeros(NUM_NODES, ranks[0][3].shape[1], dtype=torch.float64)
    for _, _, ids, logits, _ in ranks:
        rows[ids] = logits
    losses, gradient, _, _, scores = ranks[0]
    return torch.tensor(losses, dtype=torch.float64), gradient, rows, scores


@pytest.mark.parametrize("model", ["gcn", "gat"])
@pytest.mark.parametrize("assignment", ASSIGNMENTS)
@pytest.mark.parametrize("kind", ["undirected", "directed"])
def test_they_are_learnt_the_same_on_any_parts(kind, assignment, model):
    made = small(kind)
    alone = learnt(kind, assigned(made, "metis", 1), 1, model=model)
    assert float(alone[1].abs().max()) > 1e-3
    for num_parts in (2, 3):
        ours = learnt(kind, assigned(made, assignment, num_parts), num_parts, model=model)
        for mine, theirs in zip(ours[:3], alone[:3], strict=True):
            assert float((mine - theirs).abs().max() / theirs.abs().max()) < 1e-10
        for name, score in alone[3].items():
            assert ours[3][name].accuracy == pytest.approx(score.accuracy, abs=1e-12)
            assert ours[3][name].loss == pytest.approx(score.loss, rel=1e-10)
            assert ours[3][name].others == pytest.approx(score.others, abs=1e-12)


@pytest.mark.parametrize("choices", [Choices("uniform", 0.5), Choices(schedule="pipeline")], ids=str)
def test_rows_may_cross_in_any_way(choices):
    made = small("undirected")
    losses = learnt("undirected", assigned(made, "random", 3), 3, epochs=12, choices=choices)[0]
    assert bool(losses.isfinite().all())
    assert losses[-1] < losses[0]


def softplus(x):
    return float(np.logaddexp(0, x))


@pytest.mark.parametrize("pool", [16, 1000])
@pytest.mark.parametrize("kind", ["undirected", "weighted"])
def test_loss_and_scores_are_those_of_loops(kind, pool):
    dataset, _ = linked(kind)
    part = cut_dataset(dataset, torch.zeros(NUM_NODES, dtype=torch.long), 1)[0]

    def body(comm):
        trainer = trainer_of(dataset, part, comm, dropout=0.0, pool=pool)
        view, task = trainer.training, trainer.task
        rows = trainer.logits()
        asked = view.links.known
        nodes = pool_of(NUM_NODES, pool, seed=3, epoch=8, device=CPU)
        drawn = wrong_answers(asked, 2, nodes.numel(), seed=3, epoch=7)
        loss = float(task.training_loss(rows, view, 7))
        return rows, asked.edges.pairs.T.tolist(), nodes[drawn].tolist(), loss, trainer.evaluate().scores

    rows, asked, drawn, loss, scores = run_ranks(1, body)[0]
    product = (rows @ rows.T).numpy()
    known, held = pairs_of(dataset.graph), pairs_of(dataset.held_out)
    assert sorted(map(tuple, asked)) == sorted(pair for pair in known if pair[0] != pair[1])
    expected, left_out = 0.0, 0
    for (source, end), others in zip(asked, drawn, strict=True):
        expected += softplus(-product[source, end])
        for other in others:
            if other == end or (other, end) in known:
                left_out += 1
            else:
                expected += softplus(product[other, end])
    assert left_out > 0
    assert loss == pytest.approx(expected, rel=1e-10)

    nodes = pool_of(NUM_NODES, pool, seed=3, epoch=0, device=CPU).tolist()
    assert len(nodes) == NUM_NODES if pool > NUM_NODES else 0 < len(nodes) <= pool
    kinds = dataset.held_out.adjacency.columns["edge_type"].tolist()
    sets = {name: [] for name in ("val", "test")}
    for pair, which in zip(dataset.held_out.edge_index().T.tolist(), kinds, strict=True):
        sets["val" if which == VALIDATION else "test"].append(pair)
    sets["train"] = asked
    for name, links in sets.items():
        below, reciprocal, hits, losses = [], [], [], []
        for source, end in links:
            wrong = [v for v in nodes if v != end and (v, end) not in known and (v, end) not in held]
            there = product[wrong, end]
            above = (there > product[source, end]).sum() + (there == product[source, end]).sum() / 2
            below.append(1 - above / len(wrong))
            reciprocal.append(1 / (1 + above))
            hits.append(above < 10)
            surprise = np.mean([softplus(z) for z in there])
            losses.append(softplus(-product[source, end]) + 2 * surprise)
        assert scores[name].accuracy == pytest.approx(np.mean(below), abs=1e-12)
        assert scores[name].others["mrr"] == pytest.approx(np.mean(reciprocal), abs=1e-12)
        assert scores[name].others["hits10"] == pytest.approx(np.mean(hits), abs=1e-12)
        assert scores[name].loss == pytest.approx(np.mean(losses), rel=1e-10)


def test_wrong_answers_are_drawn_evenly_and_anew():
    nodes, size, count = 400, 50, 20
    pairs = torch.randint(nodes, (2, 1000), generator=torch.Generator().manual_seed(0))
    graph = Graph.from_edge_index(pairs, num_nodes=nodes)

    class Whole:
        output_ids = gathered_ids = torch.arange(nodes)

    asked = Asked(Whole, Edges(graph.adjacency))
    drawn = [wrong_answers(asked, count, size, seed=1, epoch=epoch) for epoch in (0, 1)]
    assert drawn[0].shape == (graph.num_edges, count)
    for found in drawn:
        times = torch.bincount(found.flatten(), minlength=size).double()
        expected = found.numel() / size
        assert float(((times - expected) ** 2 / expected).sum()) < 90  # 49 degrees of freedom: 1 in 3000
    assert float((drawn[0] == drawn[1]).double().mean()) < 0.05
    pools = [pool_of(10**9, 1024, seed=1, epoch=epoch, device=CPU) for epoch in (0, 1)]
    assert all(pool.numel() > 1020 and int(pool[0]) >= 0 and int(pool[-1]) < 10**9 for pool in pools)
    assert abs(float(pools[0].double().mean()) / 5e8 - 1) < 0.1
    assert not set(pools[0].tolist()) & set(pools[1].tolist())


def test_where_there_are_very_many_a_share_is_scored_the_same_on_any_parts(monkeypatch):
    monkeypatch.setattr("gcnsys.train.links.AT_ONCE", 20)
    made, found = small("directed"), []
    for num_parts in (1, 3):
        counts = learnt("directed", assigned(made, "random", num_parts), num_parts, epochs=2)
        found.append([score.accuracy for score in counts[3].values()])
    assert found[0] == pytest.approx(found[1], abs=1e-12)
    monkeypatch.undo()
    exact = learnt("directed", assigned(made, "random", 1), 1, epochs=2)[3]
    assert exact["train"].accuracy != pytest.approx(found[0][0], abs=1e-9)


def test_a_part_without_held_out_links_says_what_to_do(tmp_path):
    build(small("undirected").dataset, Cutting(1), tmp_path / "nodes")
    config = RunConfig(data="-", task="links")

    def body(comm):
        made = Partitioning.open(tmp_path / "nodes")
        place = Placement(CPU, "gloo")
        with pytest.raises(InputError, match="holds no links to predict; build one with"):
            make_trainer(made, config, comm, place)
        free = config.model_copy(update={"task": "auto"})
        trainer = make_trainer(made, free, comm, place, task=LinkPrediction(num_nodes=NUM_NODES))
        trainer.evaluate()

    with pytest.raises(RuntimeError, match="the partitioning holds no links to predict"):
        run_ranks(1, body)


def test_scores_of_nothing():
    score = LinkPrediction(num_nodes=3).score(torch.zeros(5, dtype=torch.float64))
    assert np.isnan(score.accuracy)
    assert np.isnan(score.others["mrr"])
    assert Task().score(torch.zeros(5)).others == {}
    assert Score(1.0, 0.0).others == {}


def community(path, count=80):
    """Four communities, features that hint at them; no labels."""
    rng = np.random.default_rng(0)
    group = np.arange(count) % 4
    dense = rng.random((count, count)) < np.where(group[:, None] == group, 0.4, 0.01)
    x = np.eye(4)[group] + rng.normal(size=(count, 4))
    np.savez(path, edge_index=np.stack(np.nonzero(dense)), x=x.astype(np.float32))


def test_the_command_line_learns_links_and_predicts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    community("mine.npz")
    train = ["train", "npz:mine.npz", "--task", "links", "--epochs", "30", "--hidden", "16", "--dropout", "0"]
    assert run([*train, "--out", "run"]) == 0
    said = capsys.readouterr().out
    assert "test AUC 0.9" in said or "test AUC 0.8" in said
    assert "its mean reciprocal rank is" in said
    assert run(["predict", "run", "--out", "rows.npy"]) == 0
    assert run(["predict", "run", "npz:mine.npz", "--out", "all.npy"]) == 0
    rows, others = np.load("rows.npy"), np.load("all.npy")
    assert rows.shape == others.shape == (80, 16)
    assert not np.allclose(rows, others)  # the second graph has the links that were held out
    assert run(["predict", "run", "--kind", "classes", "--out", "none.npy"]) == 2
    assert "the model tells links, which have no classes; use logits" in capsys.readouterr().err
    assert run(["partition", "build", "npz:mine.npz", "--parts", "2", "--task", "links", "--out", "cut"]) == 0
    assert "are held out for validation" in capsys.readouterr().out
    assert run(["partition", "verify", "cut"]) == 0


REFUSED = {
    "inductive": (["--inductive"], "inductive = true is not known for task = links"),
    "no links": (["--split", "0.001,0.5,0.4"], "no link is left to train on"),
    "one in the pool": (["--negative-pool", "1"], "negative_pool = '1'"),
    "none": (["--negatives", "0"], "negatives = '0'"),
    "task": (["--task", "edges"], "task = 'edges'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(tmp_path, monkeypatch, capsys, case):
    monkeypatch.chdir(tmp_path)
    more, sentence = REFUSED[case]
    np.savez("mine.npz", edge_index=[[0, 1, 2], [1, 2, 0]], x=np.ones((3, 2), np.float32))
    assert run(["train", "npz:mine.npz", "--task", "links", *more]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_kinds_of_edges_are_refused():
    arrays = {
        "edge_index": np.array([[0, 1], [1, 2]]),
        "edge_type": np.array([0, 1]),
        "x": np.ones((3, 2)),
    }
    dataset = Dataset.from_arrays("kinds", arrays, SPLIT)
    with pytest.raises(InputError, match="task = links does not tell kinds of edges; drop edge_type"):
        hold_out(dataset, SPLIT)
