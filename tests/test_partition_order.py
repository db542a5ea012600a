"""Orders of a part's nodes: permutations that both ends of an exchange agree on, and that pay."""

import json
import tempfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parts_oracle import Expected, check, edges_of
from test_partition_disk import built_by_hand, cut_datasets, dataset_on, findings, resealed, same, without

from gcnsys.datasets import load
from gcnsys.errors import InputError
from gcnsys.graph import Graph, toy
from gcnsys.partition import Cutting, Partitioning, build, cut
from gcnsys.partition.local import cut_dataset
from gcnsys.partition.order import ordered, resolved
from gcnsys.partition.part import induced
from gcnsys.partition.pieces import Pieces
from gcnsys.testing.graphs import assignments, graphs, seeds

ORDERS = ["natural", "rcm", "degree", "fine", "cluster", "islands"]


@pytest.fixture(scope="module", autouse=True)
def few_rows_in_cache():
    """Small graphs are cut into METIS's clusters, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gcnsys.partition.order._FINE", 2)
        yield


def every_order(test):
    return pytest.mark.parametrize("order", ORDERS)(test)


@every_order
@given(graph=graphs(max_nodes=12, max_edges=40), seed=seeds())
def test_an_order_is_a_permutation_and_always_the_same(order, graph, seed):
    first, again = (
        ordered(graph.adjacency, order, is_symmetric=graph.is_symmetric, seed=seed % 1000) for _ in range(2)
    )
    assert first.dtype == torch.int64
    assert sorted(first.tolist()) == list(range(graph.num_nodes))
    assert torch.equal(first, again)


@every_order
def test_a_part_without_nodes_or_edges_has_an_order(order):
    for num_nodes in (0, 1, 5):
        graph = Graph.from_edge_index(torch.zeros(2, 0, dtype=torch.int64), num_nodes=num_nodes)
        found = ordered(graph.adjacency, order, is_symmetric=True)
        assert sorted(found.tolist()) == list(range(num_nodes))


@st.composite
def cuts(draw):
    graph = draw(graphs())
    num_parts = draw(st.integers(1, 4))
    mask = draw(st.lists(st.booleans(), min_size=graph.num_nodes, max_size=graph.num_nodes))
    return graph, draw(assignments(graph.num_nodes, num_parts)), num_parts, torch.tensor(mask)


def places(parts):
    """Each node's place in the order of its part."""
    return {node: place for part in parts for place, node in enumerate(part.inner_ids.tolist())}


@every_order
@given(drawn=cuts())
def test_parts_in_any_order_are_what_sets_and_loops_say(order, drawn):
    graph, assignment, num_parts, _ = drawn
    edges, everyone = edges_of(graph), range(graph.num_nodes)
    parts = cut(graph, assignment, num_parts, order=order)
    place = places(parts)
    assert sorted(place) == list(everyone)
    for part in parts:
        check(part, Expected(edges, assignment.tolist(), num_parts, part.rank, everyone, place), edges)


@every_order
@given(drawn=cuts())
def test_induced_parts_in_any_order_are_those_of_the_training_graph(order, drawn):
    graph, assignment, num_parts, train_mask = drawn
    nodes = torch.nonzero(train_mask).flatten().tolist()
    edges = {(u, v): w for (u, v), w in edges_of(graph).items() if u in nodes and v in nodes}
    made = Pieces(graph, assignment, num_parts, train_mask, order=order)
    pieces = list(made)
    place = places(pieces)
    for piece in pieces:
        plan, sent, sent_edges = made.plan(piece.rank, [other.boundary for other in pieces])
        part = induced(made.part_graph(piece, plan), made.training_cut(piece, sent, sent_edges))
        check(part, Expected(edges, assignment.tolist(), num_parts, part.rank, nodes, place), edges)


@every_order
@given(drawn=cuts())
def test_a_row_keeps_its_edges_in_ascending_id(order, drawn):
    for part in cut(*drawn[:3], order=order):
        sources = part.inner_ids[part.inner.indices.long()]
        for row in sources.split(part.inner.indptr.diff().tolist()):
            assert bool((row.diff() > 0).all())


# On disk.


@every_order
@settings(max_examples=10)
@given(drawn=cut_datasets(), inductive=st.booleans())
def test_parts_from_disk_in_any_order_are_those_from_memory(order, drawn, inductive):
    made, assignment, num_parts = drawn
    wanted = cut_dataset(made, assignment, num_parts, inductive=inductive, order=order)
    with tempfile.TemporaryDirectory() as folder:
        opened = built_by_hand(made, assignment, num_parts, folder, inductive=inductive, order=order)
        assert opened.manifest.order == order
        assert not findings(opened.folder)
        for rank, want in enumerate(wanted):
            assert same(opened.part(rank), want)
            ids = want.whole.inner_ids
            assert torch.equal(opened.part(rank).nodes.y, made.y[ids])


def built(folder, order):
    return build(dataset_on(shuffled_grid(30)), Cutting(2, order=order), folder / order)


def test_the_fingerprint_tells_orders_apart(tmp_path):
    prints = {order: built(tmp_path, order).manifest.fingerprint for order in ORDERS}
    assert len(set(prints.values())) == len(ORDERS)
    again = build(dataset_on(shuffled_grid(30)), Cutting(2, order="rcm"), tmp_path / "again")
    assert again.manifest.fingerprint == prints["rcm"]


def test_the_manifest_says_what_auto_stood_for(tmp_path, monkeypatch):
    assert built(tmp_path, "auto").manifest.order == "natural"
    monkeypatch.setattr("gcnsys.partition.order._IN_CACHE", 71)
    large = build(dataset_on(shuffled_grid(12)), Cutting(2), tmp_path / "large").manifest
    assert large.order == "cluster"
    assert large.seconds.keys() == {"cut", "order", "write"}


def test_a_partitioning_from_before_there_was_a_choice_is_in_natural_order(tmp_path):
    folder = built(tmp_path, "natural").folder
    assert json.loads((folder / "manifest.json").read_text())["order"] == "natural"
    resealed(folder, lambda about: without(about, "order"))
    assert Partitioning.open(folder).manifest.order == "natural"
    assert not findings(folder)
    ids = Partitioning.open(folder).inner_ids(0)
    assert bool((ids.diff() > 0).all())


# The choice.


def test_auto_orders_what_outgrows_the_cache():
    assert resolved("auto", 4096 * 3, 3) == "natural"
    assert resolved("auto", 4096 * 3 + 1, 3) == "cluster"
    assert [resolved(order, 10**6, 1) for order in ORDERS] == ORDERS


def shuffled(graph, seed=0):
    """The same graph under other ids."""
    return graph.induced(torch.from_numpy(np.random.default_rng(seed).permutation(graph.num_nodes)))


def shuffled_grid(side):
    return shuffled(toy.grid(side, side))


def reach(graph, order):
    """How far apart the places of two neighbours are, on average."""
    found = ordered(graph.adjacency, order, is_symmetric=graph.is_symmetric)
    place = torch.empty_like(found)
    place[found] = torch.arange(found.numel())
    source, destination = graph.edge_index().long()
    return float((place[source] - place[destination]).abs().double().mean())


@pytest.mark.parametrize(("order", "times"), [("rcm", 15), ("fine", 2), ("cluster", 3)])
def test_neighbours_in_a_shuffled_grid_come_together(order, times, monkeypatch):
    monkeypatch.setattr("gcnsys.partition.order._FINE", 64)
    graph = shuffled_grid(48)
    assert reach(graph, order) * times < reach(graph, "natural")


@pytest.mark.parametrize("order", ["fine", "cluster"])
def test_planted_communities_come_together(order, monkeypatch):
    monkeypatch.setattr("gcnsys.partition.order._FINE", 64)
    graph = load("synthetic:sbm,nodes=3000,classes=60,degree=20,inside=0.9,features=2").graph
    assert reach(graph, order) * 4 < reach(graph, "natural")


def test_degrees_descend():
    graph = shuffled(toy.star())
    degrees = graph.adjacency.indptr.diff()[ordered(graph.adjacency, "degree", is_symmetric=True)]
    assert degrees.tolist() == sorted(degrees.tolist(), reverse=True)


def test_more_edges_than_rcm_numbers_are_refused_and_clustered_without_it(monkeypatch):
    monkeypatch.setattr("gcnsys.partition.order._RCM_EDGES", 4)
    grid = toy.grid(3, 3).adjacency
    with pytest.raises(InputError, match=r"a part has 24; use more --parts or another --order"):
        ordered(grid, "rcm", is_symmetric=True)
    assert sorted(ordered(grid, "cluster", is_symmetric=True).tolist()) == list(range(9))


def test_a_build_that_cannot_be_ordered_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("gcnsys.partition.order._RCM_EDGES", 4)
    with pytest.raises(InputError):
        built(tmp_path, "rcm")
    assert list(tmp_path.iterdir()) == []
