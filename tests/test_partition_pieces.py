"""Assignments, and the parts they cut: against plain Python sets and loops."""

import doctest

import numpy as np
import pymetis
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from parts_oracle import Expected, check, edges_of

from gcnsys.datasets import load
from gcnsys.errors import InputError
from gcnsys.graph import Graph, toy
from gcnsys.partition import assign, cut, methods, pieces
from gcnsys.partition.assign import Request, load_of
from gcnsys.partition.part import induced
from gcnsys.partition.pieces import Pieces
from gcnsys.testing.graphs import assignments, graphs, seeds


@st.composite
def cuts(draw, **options):
    graph = draw(graphs(**options))
    num_parts = draw(st.integers(1, 4))
    return graph, draw(assignments(graph.num_nodes, num_parts)), num_parts


@given(cuts())
def test_parts_are_what_sets_and_loops_say(drawn):
    graph, assignment, num_parts = drawn
    edges, part_of = edges_of(graph), assignment.tolist()
    parts = cut(graph, assignment, num_parts)
    assert [part.rank for part in parts] == list(range(num_parts))
    for part in parts:
        check(part, Expected(edges, part_of, num_parts, part.rank, range(graph.num_nodes)), edges)


def test_ids_ascend_within_large_parts():
    graph = toy.grid(40, 25)
    assignment = assign(graph, "random", Request(3))
    for part in cut(graph, assignment):
        assert part.inner_ids.tolist() == torch.nonzero(assignment == part.rank).flatten().tolist()
        assert all(bool((ids.diff() > 0).all()) for ids in part.halo_ids.split(list(part.plan.recv_counts)))


@given(cuts())
def test_a_receiver_finds_rows_in_the_order_they_are_sent(drawn):
    parts = cut(*drawn)
    for receiver in parts:
        arrived = []
        for sender in parts:
            rows = sender.plan.send_rows.split(list(sender.plan.send_counts))[receiver.rank]
            arrived += sender.inner_ids[rows].tolist()
        assert arrived == receiver.halo_ids.tolist()


@given(cuts())
def test_edges_fed_add_up_to_all_edges_that_are_cut(drawn):
    parts = cut(*drawn)
    fed = sum(int(part.plan.send_edges.sum()) for part in parts)
    assert fed == sum(part.halo.num_edges for part in parts)


@given(cuts(directed=False))
def test_inner_edges_of_an_undirected_graph_are_symmetric(drawn):
    for part in cut(*drawn):
        assert part.is_symmetric
        inner = part.inner.to_scipy()
        assert (inner != inner.T).nnz == 0


@st.composite
def training_cuts(draw):
    graph, assignment, num_parts = draw(cuts())
    mask = draw(st.lists(st.booleans(), min_size=graph.num_nodes, max_size=graph.num_nodes))
    return graph, assignment, num_parts, torch.tensor(mask)


def training_parts(graph, assignment, num_parts, train_mask):
    """The parts of the training graph, as a rank induces them from its own part."""
    made = Pieces(graph, assignment, num_parts, train_mask)
    all_pieces = list(made)
    for piece in all_pieces:
        plan, sent, sent_edges = made.plan(piece.rank, [other.boundary for other in all_pieces])
        yield induced(made.part_graph(piece, plan), made.training_cut(piece, sent, sent_edges))


@given(training_cuts())
def test_the_induced_parts_are_those_of_the_training_graph(drawn):
    graph, assignment, num_parts, train_mask = drawn
    nodes = torch.nonzero(train_mask).flatten().tolist()
    edges = {(u, v): w for (u, v), w in edges_of(graph).items() if u in nodes and v in nodes}
    for part in training_parts(*drawn):
        check(part, Expected(edges, assignment.tolist(), num_parts, part.rank, nodes), edges)


@given(training_cuts())
def test_the_parts_of_an_inductive_cut_are_those_of_a_plain_one(drawn):
    graph, assignment, num_parts, train_mask = drawn
    edges, part_of = edges_of(graph), assignment.tolist()
    made = Pieces(graph, assignment, num_parts, train_mask)
    all_pieces = list(made)
    for piece in all_pieces:
        part = made.part_graph(piece, made.plan(piece.rank, [other.boundary for other in all_pieces])[0])
        check(part, Expected(edges, part_of, num_parts, part.rank, range(graph.num_nodes)), edges)


@given(cuts())
def test_training_on_every_node_induces_the_part_itself(drawn):
    graph, assignment, num_parts = drawn
    everyone = torch.ones(graph.num_nodes, dtype=torch.bool)
    edges = edges_of(graph)
    for part in training_parts(graph, assignment, num_parts, everyone):
        check(part, Expected(edges, assignment.tolist(), num_parts, part.rank, range(graph.num_nodes)), edges)


def test_the_example_in_the_docstring_is_true():
    tried = doctest.testmod(pieces)
    assert (tried.failed, tried.attempted) == (0, 2)


def test_an_assignment_of_other_length_is_refused():
    with pytest.raises(InputError, match=r"an assignment needs shape \[6\], got \[5\]"):
        cut(toy.bridge(), torch.zeros(5, dtype=torch.int64))


def test_a_part_beyond_the_number_of_parts_is_refused():
    with pytest.raises(InputError, match="an assignment names part 3 of 2"):
        cut(toy.bridge(), torch.tensor([0, 0, 0, 1, 1, 3]), 2)


def test_a_negative_part_is_refused():
    with pytest.raises(InputError, match="an assignment names part -1"):
        cut(toy.bridge(), torch.tensor([0, 0, 0, 1, 1, -1]), 2)


# METIS.


def reported_by_metis(graph, num_parts, seed):
    """METIS's own objective and assignment for the communication volume."""
    adjacency = graph.without_self_loops().adjacency
    return pymetis.part_graph(
        num_parts,
        adjacency=pymetis.CSRAdjacency(adjacency.indptr.numpy(), adjacency.indices.long().numpy()),
        recursive=False,
        options=pymetis.Options(objtype=pymetis.ObjType.VOL, seed=seed),
    )


def halo_sum(graph, assignment, num_parts):
    return sum(part.num_halo for part in cut(graph, assignment, num_parts))


@settings(max_examples=50)
@given(graphs(max_nodes=12, max_edges=40, directed=False), st.integers(2, 4), st.integers(0, 5))
def test_the_halos_add_up_to_the_volume_metis_reports(graph, num_parts, seed):
    assume(graph.num_nodes >= num_parts)
    volume, parts = reported_by_metis(graph, num_parts, seed)
    assert halo_sum(graph, torch.tensor(parts), num_parts) == volume


@settings(max_examples=50)
@given(graphs(max_nodes=12, max_edges=40), st.integers(2, 4), st.integers(0, 5))
def test_metis_sees_the_undirected_graph_without_loops_and_weights(graph, num_parts, seed):
    assume(graph.num_nodes >= num_parts)
    plain = Graph.from_edge_index(graph.edge_index(), num_nodes=graph.num_nodes).symmetrized()
    _, parts = reported_by_metis(plain, num_parts, seed)
    assume(len(set(parts)) == num_parts)  # else nodes are moved to the empty ones
    assert assign(graph, "metis", Request(num_parts, "volume", seed=seed)).tolist() == list(parts)


def edge_cut(graph, assignment):
    src, dst = graph.edge_index().long()
    return int((assignment[src] != assignment[dst]).sum())


@pytest.fixture(scope="module", params=["cora", "amazon_photo", "coauthor_cs"])
def real(request, data_folder):
    path = data_folder / f"{request.param}.npz"
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    return load(f"npz:{path}", normalization="none")


def test_the_halos_of_a_real_graph_add_up_to_the_volume_metis_reports(real):
    volume, parts = reported_by_metis(real.graph, 4, 0)
    assert halo_sum(real.graph, torch.tensor(parts), 4) == volume


@pytest.mark.parametrize("objective", ["cut", "volume"])
def test_metis_cuts_far_fewer_edges_of_a_real_graph_than_chance(real, objective):
    graph = real.graph
    at_random = edge_cut(graph, assign(graph, "random", Request(4)))
    assert edge_cut(graph, assign(graph, "metis", Request(4, objective))) < at_random / 2


def test_metis_finds_the_obvious_cut():
    for objective in ("cut", "volume"):
        assignment = assign(toy.bridge(), "metis", Request(2, objective))
        assert assignment.tolist() in ([0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0])


def test_the_objective_is_what_metis_minimizes(real):
    cutting, volume = (assign(real.graph, "metis", Request(4, objective)) for objective in ("cut", "volume"))
    assert edge_cut(real.graph, cutting) <= edge_cut(real.graph, volume)
    assert halo_sum(real.graph, volume, 4) <= halo_sum(real.graph, cutting, 4)


# Every method.

METHODS = ["metis", "random", "range", "stream"]


def test_these_are_all_the_methods():
    assert set(methods.names()) >= {*METHODS, "file"}


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=40)
@given(graph=graphs(max_nodes=12), num_parts=st.integers(1, 12), seed=st.integers(0, 3), weigh=st.booleans())
def test_no_part_is_empty_where_there_are_enough_nodes(method, graph, num_parts, seed, weigh):
    assume(num_parts <= graph.num_nodes)
    load = load_of(graph, "edges", torch.ones(graph.num_nodes, dtype=torch.bool)) if weigh else None
    assignment = assign(graph, method, Request(num_parts, load=load, seed=seed))
    assert assignment.shape == (graph.num_nodes,)
    assert sorted(set(assignment.tolist())) == list(range(num_parts))


@pytest.mark.parametrize("method", METHODS)
def test_one_seed_gives_one_assignment(method):
    graph = toy.grid(20, 20)
    first, again = (assign(graph, method, Request(4, seed=3)) for _ in range(2))
    assert torch.equal(first, again)


@pytest.mark.parametrize("method", ["metis", "random", "stream"])
def test_another_seed_gives_another_assignment(method):
    graph = toy.grid(20, 20)
    assert not torch.equal(*(assign(graph, method, Request(4, seed=seed)) for seed in (3, 4)))


@pytest.mark.parametrize("method", METHODS)
def test_one_part_takes_every_node(method):
    assert assign(toy.house(), method, Request(1)).tolist() == [0] * 5


@pytest.mark.parametrize("num_parts", [0, -1])
def test_fewer_than_one_part_is_refused(num_parts):
    with pytest.raises(InputError, match=f"--parts must be at least 1, got {num_parts}"):
        assign(toy.house(), "random", Request(num_parts))


def test_more_parts_than_nodes_are_refused():
    with pytest.raises(InputError, match="--parts 6 is more than the graph's 5 nodes; use fewer parts"):
        assign(toy.house(), "random", Request(6))


def test_a_negative_seed_is_refused():
    with pytest.raises(InputError, match="--seed must be at least 0, got -2"):
        assign(toy.house(), "random", Request(2, seed=-2))


def test_an_unknown_method_is_answered_with_the_nearest_one():
    with pytest.raises(InputError, match="unknown partition method 'mets'; did you mean 'metis'"):
        assign(toy.house(), "mets", Request(2))


@pytest.mark.parametrize("given", [[0, 0, 1, 2, 0], [0, 0, -1, 1, 0], [0, 1, 0]])
def test_a_plugin_that_breaks_the_contract_is_named(monkeypatch, given):
    monkeypatch.setitem(methods._builtin, "odd", lambda graph, request: torch.tensor(given))
    with pytest.raises(InputError, match=r"partition method 'odd' must give 5 numbers in 0\.\.1, got shape"):
        assign(toy.house(), "odd", Request(2))


def test_a_method_may_leave_parts_empty_and_the_largest_is_halved(monkeypatch):
    monkeypatch.setitem(methods._builtin, "lazy", lambda graph, request: torch.zeros(5, dtype=torch.int32))
    assert torch.bincount(assign(toy.house(), "lazy", Request(3))).tolist() == [2, 2, 1]


# Balance.


def imbalance(assignment, load, num_parts):
    """The largest part's load over the average part's."""
    loads = torch.bincount(assignment, load.double(), minlength=num_parts)
    return float(loads.max() * num_parts / loads.sum())


def test_random_parts_are_of_equal_size():
    sizes = torch.bincount(assign(toy.grid(10, 10), "random", Request(3)))
    assert sorted(sizes.tolist()) == [33, 33, 34]


def test_range_parts_are_consecutive_ids():
    assert assign(toy.chain(6), "range", Request(3)).tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("num_parts", [2, 5, 8])
def test_stream_is_balanced_and_better_than_chance_on_a_grid(num_parts):
    graph = toy.grid(60, 40)
    assignment = assign(graph, "stream", Request(num_parts))
    at_random = edge_cut(graph, assign(graph, "random", Request(num_parts)))
    assert imbalance(assignment, torch.ones(graph.num_nodes), num_parts) <= 1.05
    assert edge_cut(graph, assignment) < at_random / 2


@pytest.mark.parametrize("num_parts", [2, 3, 5])
def test_stream_is_balanced_even_where_all_nodes_prefer_one_part(num_parts):
    nodes = torch.arange(200)
    everyone = Graph.from_edge_index(torch.cartesian_prod(nodes, nodes).T, num_nodes=200)
    assignment = assign(everyone, "stream", Request(num_parts))
    assert imbalance(assignment, torch.ones(200), num_parts) <= 1.05


def test_stream_is_balanced_and_better_than_chance_on_a_real_graph(real):
    assignment = assign(real.graph, "stream", Request(4))
    at_random = edge_cut(real.graph, assign(real.graph, "random", Request(4)))
    assert imbalance(assignment, torch.ones(real.graph.num_nodes), 4) <= 1.05
    assert edge_cut(real.graph, assignment) < 0.8 * at_random


def test_nodes_weigh_the_same_by_default():
    assert load_of(toy.star(), "nodes", torch.ones(7, dtype=torch.bool)) is None


def test_the_load_by_edges_counts_a_node_and_the_edges_that_end_there():
    assert load_of(toy.star(), "edges", torch.ones(7, dtype=torch.bool)).tolist() == [7, 2, 2, 2, 2, 2, 2]


def test_the_load_by_training_nodes_gives_them_as_much_say_as_all_nodes():
    train = torch.tensor([True, False, False, False, False, True])
    load = load_of(toy.bridge(), "train", train)
    assert load.tolist() == [4, 1, 1, 1, 1, 4]
    assert int(load[train].sum() - train.sum()) == load.numel()


def test_a_load_without_training_nodes_is_that_of_nodes():
    assert load_of(toy.chain(3), "train", torch.zeros(3, dtype=torch.bool)).tolist() == [1, 1, 1]


@pytest.mark.parametrize("method", ["metis", "stream", "range"])
@pytest.mark.parametrize("balance", ["nodes", "train", "edges"])
def test_parts_of_a_real_graph_are_balanced_by(method, balance, real):
    load = load_of(real.graph, balance, real.train_mask)
    assignment = assign(real.graph, method, Request(4, load=load))
    weight = torch.ones(real.graph.num_nodes) if load is None else load
    assert imbalance(assignment, weight, 4) <= 1.05


@given(graphs(max_nodes=12), st.integers(1, 4), seeds())
def test_range_parts_differ_by_at_most_a_node_from_their_share(graph, num_parts, seed):
    assume(num_parts <= graph.num_nodes)
    load = torch.from_numpy(np.random.default_rng(seed).integers(1, 5, graph.num_nodes))
    ends = methods.get("range")(graph, Request(num_parts, load=load))
    for part in range(num_parts):
        until = float(load[ends <= part].sum())
        assert abs(until - float(load.sum()) * (part + 1) / num_parts) <= float(load.max()) / 2


# A user's own assignment.


@pytest.fixture
def own(tmp_path):
    """Writes an assignment; gives the method's name."""

    def write(array, name="own.npy"):
        path = tmp_path / name
        if isinstance(array, bytes):
            path.write_bytes(array)
        elif name.endswith(".npy"):
            np.save(path, array, allow_pickle=True)
        else:
            np.savetxt(path, array, fmt="%d")
        return f"file:{path}"

    return write


@pytest.mark.parametrize("name", ["own.npy", "own.txt"])
@pytest.mark.parametrize("dtype", ["i1", "i8", "u2", "u8", ">i4", "f8", "?"])
def test_a_users_own_assignment_is_taken_as_it_is(own, name, dtype):
    given = np.array([1, 0, 1, 1, 0]).astype(dtype)
    found = assign(toy.house(), own(given, name), Request(2))
    assert (found.tolist(), found.dtype) == ([1, 0, 1, 1, 0], torch.int32)


def test_a_users_own_assignment_may_leave_parts_empty(own):
    assert assign(toy.house(), own(np.array([3, 0, 3, 3, 0])), Request(4)).tolist() == [3, 0, 3, 3, 0]


def test_a_users_own_assignment_must_fit_one_part_too(own):
    with pytest.raises(InputError, match=r"parts must be 0\.\.0 for --parts 1, found 0\.\.1"):
        assign(toy.house(), own(np.array([0, 0, 0, 0, 1])), Request(1))


BAD_FILES = {
    "too short": (np.zeros(4, int), "own.npy", r"needs shape \[5\], got \[4\]"),
    "in a column": (np.zeros((5, 1), int), "own.npy", r"needs shape \[5\], got \[5, 1\]"),
    "one too large": (
        np.array([0, 1, 2, 0, 0]),
        "own.npy",
        r"parts must be 0\.\.1 for --parts 2, found 0\.\.2",
    ),
    "one below 0": (
        np.array([0, 1, -1, 0, 0]),
        "own.npy",
        r"parts must be 0\.\.1 for --parts 2, found -1\.\.1",
    ),
    "fractions": (np.array([0, 0.5, 1, 0, 0]), "own.npy", "must hold integers"),
    "NaN": (np.array([0, np.nan, 1, 0, 0]), "own.npy", "must hold integers"),
    "infinite": (np.array([0, np.inf, 1, 0, 0]), "own.npy", r"parts must be 0\.\.1"),
    "strings": (np.array(list("01010")), "own.npy", "must hold integers"),
    "objects": (np.array([0, 1, None, 0, 0]), "own.npy", "not an array of numbers"),
    "an empty file": (b"", "own.npy", "not an array of numbers"),
    "half a header": (b"\x93NUMPY\x01\x00v\x00", "own.npy", "not an array of numbers"),
    "an archive": (b"PK\x03\x04" + bytes(60), "own.npy", "not an array of numbers"),
    "an empty text": (b"", "own.txt", r"needs shape \[5\], got \[0\]"),
    "words": (b"zero one\n", "own.txt", "not an array of numbers"),
    "bytes": (bytes(range(256)), "own.txt", "not an array of numbers"),
    "NaN as text": (b"0\nnan\n1\n0\n0\n", "own.txt", "must hold integers"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_users_own_assignment_is_refused_for(own, name):
    content, file, message = BAD_FILES[name]
    with pytest.raises(InputError, match=rf"{file}: .*{message}"):
        assign(toy.house(), own(content, file), Request(2))


@pytest.mark.parametrize("method", ["file", "file:", "file:no/such.npy", "file:/"])
def test_a_missing_assignment_is_asked_for(method):
    with pytest.raises(InputError, match=r"--method file:PATH: no file .*give an \[N\] integer array"):
        assign(toy.house(), method, Request(2))
