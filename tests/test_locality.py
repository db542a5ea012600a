"""Scores of locality, and samplers that prefer by them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import NUM_NODES, small
from test_neighbourhood import over_ranks
from test_sampling import check_sums, random_graph

from gcnsys.errors import InputError
from gcnsys.graph import CSR, Graph
from gcnsys.sampling import Locality, Moment, Standard, WholeGraph, samplers
from gcnsys.sampling.locality import compact_score, in_runs, published_score, sorted_rows

PREFERRING = ["neighbour", "ladies", "fastgcn", "saint-node", "saint-edge", "saint-walk", "shadow"]


def rows_of(*lists, size=10**9):
    lengths = torch.tensor([0, *(len(each) for each in lists)])
    flat = torch.tensor([number for each in lists for number in each], dtype=torch.int64)
    return CSR(lengths.cumsum(0), flat, size)


def published_by_hand(ids):
    """Number by number, as the paper's authors count."""
    ids, count = sorted(ids), len(ids)
    middle = int(sum(ids) / count)
    first = middle - count // 2 + 1 if count % 2 == 0 else middle - (count - 1) // 2
    return sum(a * (first + k) for k, a in enumerate(ids)) / sum(a * a for a in ids)


@given(st.lists(st.sets(st.integers(1, 5000), min_size=1, max_size=30), min_size=1, max_size=8))
def test_the_published_score_is_that_of_a_run_of_ids(lists):
    found = published_score(rows_of(*map(sorted, lists)))
    assert found.numpy() == pytest.approx([published_by_hand(each) for each in lists], rel=1e-9)


def test_rows_without_neighbours_and_the_first_node_alone_score_nothing():
    csr = rows_of([], [0], [7])
    assert published_score(csr).tolist() == [0, 0, 1]
    assert compact_score(csr).tolist() == [0, 1, 1]
    assert published_score(rows_of([1, 3])).item() == pytest.approx(11 / 10)


def test_the_published_score_says_where_ids_lie_and_ours_how_close_together():
    rng = np.random.default_rng(0)
    ids = np.sort(rng.choice(1000, 40, replace=False)) + 1
    last = 0.0
    for shift in (0, 1000, 10_000, 10**6):
        csr = rows_of((ids + shift).tolist())
        score = published_score(csr).item()
        shifted = ids + shift
        mean, variance = shifted.mean(), shifted.var()
        assert score == pytest.approx(mean**2 / (mean**2 + variance), abs=0.03)
        assert score > last
        last = score
        assert compact_score(csr).item() == compact_score(rows_of(ids.tolist())).item()
    assert last > 0.9999999
    assert compact_score(rows_of([5, 6, 7, 8])).item() == 1


def test_rows_are_put_in_order_first():
    csr = CSR(torch.tensor([0, 3, 5]), torch.tensor([9, 2, 4, 1, 0], dtype=torch.int32), 10)
    assert sorted_rows(csr).indices.tolist() == [2, 4, 9, 0, 1]


@pytest.mark.parametrize(("name", "budget"), [("neighbour", 8), ("ladies", 12), ("fastgcn", 12)])
def test_with_a_floor_sums_are_right_on_average(name, budget):
    preference = torch.where(torch.arange(50) % 3 == 0, 1.0, 0.25).double()
    check_sums(samplers.get(name), Standard(1, (3,), budget=budget, preference=preference), known=False)


@pytest.mark.parametrize("name", PREFERRING)
def test_preferences_of_0_and_1_are_biased_and_draw_the_preferred_alone(name):
    graph = random_graph().symmetrized()
    preference = (torch.arange(50) % 2 == 0).double()
    sampler = samplers.get(name)(WholeGraph(graph), Standard(1, (3,), budget=30, preference=preference))
    assert not sampler.unbiased
    seeds = sampler.batches(torch.arange(0, 50, 2), 25, Moment(1))[0]
    if name != "saint-walk":  # a walk goes where edges lead
        assert not bool((sampler.sample(seeds, Moment(1)).input_ids % 2).any())
    assert not bool((seeds % 2).any())


@pytest.mark.parametrize("name", ["labor", "cluster", "pinsage"])
def test_samplers_without_a_preference_refuse_one(name):
    standard = Standard(1, (3,), groups=torch.zeros(50), preference=torch.ones(50).double())
    with pytest.raises(InputError, match="draws all nodes alike; drop the preference"):
        samplers.get(name)(WholeGraph(random_graph()), standard)


def test_what_cannot_be_is_refused():
    nowhere = Graph.from_edge_index(torch.tensor([[0], [9]]), num_nodes=10)
    for locality in (Locality(), Locality("compact", 2.0)):
        with pytest.raises(InputError, match="no node is local"):
            locality.preference(nowhere.adjacency, torch.arange(10))
    with pytest.raises(InputError, match=r"floor of a preference must be in \[0, 1\]"):
        Locality(floor=2)
    with pytest.raises(InputError, match="needs a share of nodes"):
        Locality("random", 0)
    standard = Standard(1, (3,), repeated=True, preference=torch.ones(10).double())
    with pytest.raises(InputError, match="without repetition"):
        samplers.get("neighbour")(WholeGraph(nowhere), standard)


def test_the_control_prefers_a_share_of_all_nodes():
    ids = torch.arange(20_000)
    local = Locality("random", 0.3, seed=4).local(rows_of(*[[]] * 20_000), ids)
    assert float(local.double().mean()) == pytest.approx(0.3, abs=0.01)
    assert not torch.equal(local, Locality("random", 0.3, seed=5).local(rows_of(*[[]] * 20_000), ids))


@pytest.mark.parametrize("length", [1, 4, 7, 100])
def test_runs_stay_together(length):
    nodes = torch.arange(100, 160, 2)
    found = in_runs(nodes, length, torch.Generator().manual_seed(3))
    assert found.sort().values.tolist() == nodes.tolist()
    steps = (found.diff() == 2).double().mean()
    assert float(steps) >= (1 - 1 / length) * 0.9


@pytest.mark.parametrize("num_parts", [1, 2, 3])
def test_what_sources_have_is_known_at_their_edges_on_any_number_of_parts(num_parts):
    graph = small("directed").dataset.graph

    def body(comm, found, ids):
        own = ids[found.own.start : found.own.stop]
        csr = found.adjacency()
        assert torch.equal(found.by_source(own * 10), 10 * ids[csr.indices.long()])
        assert ids.numel() == NUM_NODES
        return set(zip(ids[csr.indices.long()].tolist(), own[csr.rows().long()].tolist(), strict=True))

    together = set().union(*over_ranks("directed", num_parts, body))
    assert together == set(map(tuple, graph.edge_index().T.tolist()))


@pytest.mark.parametrize("num_parts", [1, 2])
def test_preferred_neighbours_are_drawn_over_ranks(num_parts):
    def body(comm, found, ids):
        own = ids[found.own.start : found.own.stop]
        standard = Standard(1, (2,), preference=(own % 2).double())
        sampler = samplers.get("neighbour")(found, standard)
        block = sampler.sample(torch.arange(found.own.start, found.own.stop), Moment(0)).blocks[0]
        return ids[block.input_ids[block.edges().sources]]

    sources = torch.cat(over_ranks("undirected", num_parts, body))
    assert sources.numel()
    assert bool((sources % 2 == 1).all())


def test_batches_are_drawn_by_locality(tmp_path, capsys, monkeypatch):
    from gcnsys.cli.main import run

    monkeypatch.chdir(tmp_path)
    locality = ["--locality", "compact", "--locality-threshold", "0.01", "--runs", "16"]
    assert run(["train-minibatch", "digits", "--epochs", "2", "--out", "run", *locality]) == 0
    assert run(["train-minibatch", "digits", "--locality-floor", "0.1"]) == 2
    assert "has no meaning without locality" in capsys.readouterr().err
