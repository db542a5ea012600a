"""The graph value against dense NumPy matrices, and its conversions."""

import dataclasses
import doctest
import warnings
from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import find, given
from hypothesis import strategies as st

from gcnsys.errors import InputError
from gcnsys.graph import CSR, Graph, convert, index_dtype, toy
from gcnsys.graph import csr as csr_module
from gcnsys.graph import graph as graph_module
from gcnsys.testing.graphs import assignments, edge_lists, graphs, seeds

TIGHT = {"rtol": 1e-12, "atol": 1e-12}


def dense(matrix):
    """A CSR matrix as a dense one, entry by entry; equal entries add up."""
    full = np.zeros((matrix.num_rows, matrix.num_cols))
    for row in range(matrix.num_rows):
        for entry in range(int(matrix.indptr[row]), int(matrix.indptr[row + 1])):
            value = 1 if matrix.weight is None else float(matrix.weight[entry])
            full[row, int(matrix.indices[entry])] += value
    return full


def stored(matrix):
    """The places a CSR matrix has entries at, in the order they are stored."""
    rows = np.repeat(np.arange(matrix.num_rows), np.diff(matrix.indptr.numpy()))
    return list(zip(rows.tolist(), matrix.indices.tolist(), strict=True))


def expected(edges):
    """The dense adjacency of an edge list: row receives, column sends."""
    full = np.zeros((edges.num_nodes, edges.num_nodes))
    for entry, (src, dst) in enumerate(edges.pairs.t().tolist()):
        full[dst, src] = 1 if edges.weight is None else full[dst, src] + float(edges.weight[entry])
    return full


def same(one, other):
    """Whether two graphs hold the same edges with the same weights."""
    a, b = one.adjacency, other.adjacency
    weights = a.weight is b.weight is None or torch.equal(a.weight, b.weight)
    return torch.equal(a.indptr, b.indptr) and torch.equal(a.indices, b.indices) and weights


@given(edge_lists(signed=True))
def test_equal_pairs_become_one_edge_and_their_weights_add_up(edges):
    adjacency = edges.graph().adjacency
    np.testing.assert_allclose(dense(adjacency), expected(edges), **TIGHT)
    assert stored(adjacency) == sorted({(dst, src) for src, dst in edges.pairs.t().tolist()})


@given(edge_lists(weighted=False), seeds())
def test_the_order_of_the_pairs_does_not_matter(edges, seed):
    shuffled = torch.from_numpy(np.random.default_rng(seed).permutation(edges.pairs.shape[1]))
    again = dataclasses.replace(edges, pairs=edges.pairs[:, shuffled])
    assert same(edges.graph(), again.graph())


@given(edge_lists(signed=True))
def test_symmetry_is_found_out(edges):
    full = expected(edges)
    assert edges.graph().is_symmetric == np.array_equal(full, full.T)


@given(graphs(directed=False))
def test_a_flag_that_says_symmetric_is_taken_where_it_is_true(graph):
    pairs = graph.edge_index()
    flagged = Graph.from_edge_index(pairs, num_nodes=graph.num_nodes, weight=graph.weight, is_symmetric=True)
    assert flagged.is_symmetric


@given(graphs(directed=False))
def test_a_flag_that_says_directed_is_not_questioned(graph):
    pairs = graph.edge_index()
    flagged = Graph.from_edge_index(pairs, num_nodes=graph.num_nodes, weight=graph.weight, is_symmetric=False)
    assert not flagged.is_symmetric


@given(edge_lists(signed=True))
def test_symmetrized_adds_the_reverse_of_every_edge(edges):
    full = expected(edges)
    graph = edges.graph().symmetrized()
    if edges.graph().is_symmetric:
        want = full
    elif edges.weight is None:
        want = np.maximum(full, full.T)
    else:
        want = full + full.T - np.diag(full.diagonal())
    np.testing.assert_allclose(dense(graph.adjacency), want, **TIGHT)
    assert graph.is_symmetric
    assert np.array_equal(dense(graph.adjacency), dense(graph.adjacency).T)


@given(graphs(directed=False))
def test_a_symmetric_graph_is_its_own_symmetrized_one(graph):
    assert graph.symmetrized() is graph


@given(graphs(signed=True))
def test_with_self_loops_adds_a_loop_of_one_where_there_is_none(graph):
    want = dense(graph.adjacency)
    loops = {row for row, col in stored(graph.adjacency) if row == col}
    for node in set(range(graph.num_nodes)) - loops:
        want[node, node] = 1
    looped = graph.with_self_loops()
    np.testing.assert_allclose(dense(looped.adjacency), want, **TIGHT)
    assert looped.is_symmetric == graph.is_symmetric
    assert looped.num_edges == graph.num_edges + graph.num_nodes - len(loops)


@given(graphs(signed=True))
def test_without_self_loops_keeps_all_other_edges(graph):
    bare = graph.without_self_loops()
    assert stored(bare.adjacency) == [(row, col) for row, col in stored(graph.adjacency) if row != col]
    want = dense(graph.adjacency)
    np.fill_diagonal(want, 0)
    assert np.array_equal(dense(bare.adjacency), want)


@given(graphs(signed=True), st.data())
def test_an_induced_graph_is_a_submatrix_in_the_order_of_its_nodes(graph, data):
    nodes = data.draw(st.lists(st.integers(0, graph.num_nodes - 1), unique=True))
    induced = graph.induced(torch.tensor(nodes, dtype=torch.int64))
    assert np.array_equal(dense(induced.adjacency), dense(graph.adjacency)[np.ix_(nodes, nodes)])
    assert stored(induced.adjacency) == sorted(stored(induced.adjacency))


@given(graphs(signed=True))
def test_degrees_are_row_and_column_sums(graph):
    full = dense(graph.adjacency)
    np.testing.assert_allclose(graph.in_degree().numpy(), full.sum(1), **TIGHT)
    np.testing.assert_allclose(graph.out_degree().numpy(), full.sum(0), **TIGHT)


@given(graphs(signed=True))
def test_loop_weights_are_the_diagonal_and_nan_where_there_is_no_loop(graph):
    want = np.full(graph.num_nodes, np.nan)
    for row, col in stored(graph.adjacency):
        if row == col:
            want[row] = dense(graph.adjacency)[row, row]
    np.testing.assert_array_equal(graph.loop_weight().numpy(), want)


@given(graphs(signed=True), st.data())
def test_the_transpose_of_some_rows_is_the_dense_one_with_ascending_columns(graph, data):
    rows = data.draw(st.lists(st.integers(0, graph.num_nodes - 1), max_size=10))
    matrix = graph.adjacency.take_rows(torch.tensor(rows, dtype=torch.int64))
    flipped = matrix.transposed()
    assert np.array_equal(dense(flipped), dense(matrix).T)
    assert stored(flipped) == sorted(stored(flipped))


@given(graphs(signed=True), st.data(), st.sampled_from([1, 3, 1 << 20]))
def test_rows_are_taken_in_the_order_asked_for_and_may_repeat(graph, data, at_a_time):
    rows = data.draw(st.lists(st.integers(0, graph.num_nodes - 1), max_size=10))
    with mock.patch.object(csr_module, "_CHUNK", at_a_time):
        taken = graph.adjacency.take_rows(torch.tensor(rows, dtype=torch.int64))
    assert np.array_equal(dense(taken), dense(graph.adjacency)[rows])
    assert taken.check() is taken


@given(graphs(signed=True), seeds())
def test_renumbered_columns_keep_their_entries_in_order_and_a_head_shares_them(graph, seed):
    matrix, size = graph.adjacency, graph.num_nodes
    number = torch.from_numpy(np.random.default_rng(seed).permutation(size))
    renumbered = matrix.renumbered(number, size + 1)
    assert np.array_equal(dense(renumbered)[:, number.numpy()], dense(matrix))
    assert renumbered.num_cols == size + 1
    rows = seed % (size + 1)
    head = renumbered.head(rows, size)
    assert np.array_equal(dense(head), dense(renumbered)[:rows, :size])
    assert head.indices.data_ptr() == renumbered.indices.data_ptr() or head.num_edges == 0


@given(graphs(signed=True), seeds())
def test_keep_leaves_the_entries_under_the_mask(graph, seed):
    mask = np.random.default_rng(seed).random(graph.num_edges) < 0.5
    kept = graph.adjacency.keep(torch.from_numpy(mask))
    places = zip(stored(graph.adjacency), mask, strict=True)
    assert stored(kept) == [place for place, stays in places if stays]
    if graph.weight is not None:
        assert torch.equal(kept.weight, graph.weight[torch.from_numpy(mask)])


@given(graphs())
def test_every_entry_knows_its_row(graph):
    assert graph.adjacency.rows().tolist() == [row for row, _ in stored(graph.adjacency)]


@given(graphs(signed=True))
def test_edge_pairs_give_the_same_graph_back(graph):
    pairs = graph.edge_index()
    assert same(graph, Graph.from_edge_index(pairs, num_nodes=graph.num_nodes, weight=graph.weight))


@given(graphs(signed=True))
def test_a_graph_goes_to_scipy_and_back(graph):
    matrix = graph.to_scipy()
    assert np.array_equal(matrix.toarray(), dense(graph.adjacency))
    assert same(graph, Graph.from_scipy(matrix, weighted=graph.weight is not None))


def test_a_scipy_matrix_of_any_format_is_read():
    matrix = sp.coo_matrix(([2, 3, 4], ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    assert dense(Graph.from_scipy(matrix).adjacency).tolist() == [[0, 5], [4, 0]]


def imported(name):
    """An optional package that warns while it is imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"{name} is not installed")


GRAPHS_TO_CONVERT = {
    "directed": toy.chain(),
    "with a loop and an isolated node": toy.loner(),
    "weighted": Graph.from_edge_index(
        torch.tensor([[0, 2, 1], [1, 1, 0]]), num_nodes=4, weight=torch.tensor([0.5, 2.0, -3.0])
    ),
    "without edges": Graph.from_edge_index(torch.zeros(2, 0, dtype=torch.int64), num_nodes=3),
}


@pytest.mark.parametrize("name", GRAPHS_TO_CONVERT)
def test_a_graph_goes_to_pyg_and_back(name):
    imported("torch_geometric.data")
    graph = GRAPHS_TO_CONVERT[name]
    data = convert.to_pyg(graph)
    assert data.num_nodes == graph.num_nodes
    assert same(graph, convert.from_pyg(data))


@pytest.mark.parametrize("name", GRAPHS_TO_CONVERT)
def test_a_graph_goes_to_dgl_and_back(name):
    imported("dgl")
    graph = GRAPHS_TO_CONVERT[name]
    there = convert.to_dgl(graph)
    assert there.num_nodes() == graph.num_nodes
    assert same(graph, convert.from_dgl(there, weight="w" if graph.weight is not None else None))


def test_an_edge_of_a_dgl_graph_points_from_source_to_destination():
    imported("dgl")
    there = convert.to_dgl(toy.chain(3))
    assert there.in_degrees().tolist() == [0, 1, 1]


PAIRS = torch.tensor([[0, 1], [1, 2]])
BAD_INPUT = {
    "not pairs": ({"edge_index": PAIRS[0]}, r"edge_index must have shape \[2, E\], got \[2\]"),
    "three ends": ({"edge_index": torch.zeros(3, 2).long()}, r"shape \[2, E\], got \[3, 2\]"),
    "fractions": ({"edge_index": PAIRS.double()}, "edge_index must hold integers, got torch.float64"),
    "booleans": ({"edge_index": PAIRS.bool()}, "edge_index must hold integers, got torch.bool"),
    "node too large": ({"num_nodes": 2}, r"edge_index names node 2, outside 0\.\.1"),
    "negative node": ({"edge_index": PAIRS - 1}, r"edge_index names node -1, outside 0\.\.2"),
    "one weight short": ({"weight": torch.ones(1)}, r"one entry for each of 2 edges, got shape \[1\]"),
    "weights in columns": ({"weight": torch.ones(2, 1)}, r"each of 2 edges, got shape \[2, 1\]"),
    "NaN weight": ({"weight": torch.tensor([1.0, torch.nan])}, "edge_weight holds.* NaN or infinite"),
    "infinite weight": ({"weight": torch.tensor([1.0, -torch.inf])}, "edge_weight holds.* NaN or infinite"),
    "not symmetric": ({"is_symmetric": True}, "is_symmetric is set but some edge has no counterpart"),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_edges_are_refused_with_one_sentence(name):
    changed, message = BAD_INPUT[name]
    with pytest.raises(InputError, match=message):
        Graph.from_edge_index(**({"edge_index": PAIRS, "num_nodes": 3} | changed))


def test_weights_that_differ_by_direction_are_not_symmetric():
    pairs = torch.tensor([[0, 1], [1, 0]])
    with pytest.raises(InputError, match="counterpart of the same weight"):
        Graph.from_edge_index(pairs, num_nodes=2, weight=torch.tensor([1.0, 2.0]), is_symmetric=True)


def test_weights_that_add_up_to_infinity_are_refused():
    pairs, weight = torch.tensor([[0, 0], [1, 1]]), torch.tensor([3e38, 3e38])
    with pytest.raises(InputError, match="adds up to, NaN or infinite"):
        Graph.from_edge_index(pairs, num_nodes=2, weight=weight)


def test_a_scipy_matrix_that_is_not_square_is_refused():
    with pytest.raises(InputError, match=r"must be square, got \(2, 3\)"):
        Graph.from_scipy(sp.csr_array((2, 3)))


def two_columns(indptr, indices, weight=None):
    values = None if weight is None else torch.tensor(weight)
    return CSR(torch.tensor(indptr).long(), torch.tensor(indices).long(), 2, values)


BAD_MATRICES = {
    "no offsets": (two_columns([], []), r"run from 0 to 0, they run over \[\]"),
    "wrong end": (two_columns([0, 2], [0]), r"run from 0 to 1, they run over \[0, 2\]"),
    "wrong start": (two_columns([1, 1], [0]), r"run from 0 to 1, they run over \[1, 1\]"),
    "decreasing": (two_columns([0, 2, 1, 2], [0, 1]), "row offsets decrease"),
    "column too large": (two_columns([0, 2], [0, 2]), r"column 2, outside 0\.\.1"),
    "negative column": (two_columns([0, 1], [-1]), r"column -1, outside 0\.\.1"),
    "too few values": (two_columns([0, 1], [0], [1.0, 1.0]), r"1 entries need as many values.*\[2\]"),
    "not finite": (two_columns([0, 1], [0], [torch.inf]), "a value is NaN or infinite"),
}


@pytest.mark.parametrize("name", BAD_MATRICES)
def test_a_matrix_that_is_none_is_refused_by_name(name):
    matrix, message = BAD_MATRICES[name]
    with pytest.raises(InputError, match=f"features: .*{message}"):
        matrix.check("features")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.bool])
def test_weights_of_other_types_become_float32(dtype):
    graph = Graph.from_edge_index(PAIRS, num_nodes=3, weight=torch.tensor([0, 1]).to(dtype))
    assert graph.weight.dtype == torch.float32
    assert graph.weight.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_node_numbers_may_be_of_any_integer_type(dtype):
    assert same(Graph.from_edge_index(PAIRS.to(dtype), num_nodes=3), toy.chain(3))


def test_columns_are_stored_in_32_bits_and_offsets_in_64():
    adjacency = toy.house().adjacency
    assert (adjacency.indices.dtype, adjacency.indptr.dtype) == (torch.int32, torch.int64)


def test_all_of_a_matrix_moves_to_another_memory():
    moved = GRAPHS_TO_CONVERT["weighted"].adjacency.to(torch.device("meta"))
    assert {moved.indptr.device.type, moved.indices.device.type, moved.weight.device.type} == {"meta"}
    assert toy.house().adjacency.to(torch.device("meta")).weight is None


def test_numbers_beyond_32_bits_get_64():
    assert (index_dtype(2**31 - 1), index_dtype(2**31)) == (torch.int32, torch.int64)


def test_a_graph_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        toy.house().is_symmetric = False


TOY_SIZES = {
    "house": (5, 12, True), "star": (7, 12, True), "bridge": (6, 14, True),
    "grid": (12, 34, True), "chain": (5, 4, False), "loner": (5, 7, True),
}  # fmt: skip


@pytest.mark.parametrize("name", toy.TOYS)
def test_toy_graphs_are_what_their_names_say(name):
    graph = toy.TOYS[name]()
    assert (graph.num_nodes, graph.num_edges, graph.is_symmetric) == TOY_SIZES[name]


def test_the_example_in_the_docstring_is_true():
    tried = doctest.testmod(graph_module)
    assert (tried.failed, tried.attempted) == (0, 2)


KINDS = {
    "no edges": lambda graph: graph.num_edges == 0,
    "a self-loop": lambda graph: bool((~graph.loop_weight().isnan()).any()),
    "an isolated node among others": lambda graph: (
        graph.num_edges > 0 and bool(((graph.in_degree() == 0) & (graph.out_degree() == 0)).any())
    ),
    "directions": lambda graph: not graph.is_symmetric,
    "both directions": lambda graph: graph.is_symmetric and graph.without_self_loops().num_edges > 2,
    "weights": lambda graph: graph.weight is not None and graph.num_edges > 1,
    "one node": lambda graph: graph.num_nodes == 1,
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_harness_draws_graphs_with(kind):
    assert KINDS[kind](find(graphs(), KINDS[kind]))


def test_the_harness_draws_duplicate_edges():
    edges = find(edge_lists(), lambda edges: edges.graph().num_edges < edges.pairs.shape[1])
    assert edges.pairs.shape[1] == 2


@given(graphs(weighted=True), graphs(weighted=False), graphs(directed=False))
def test_the_harness_draws_what_is_asked_for(weighted, unweighted, undirected):
    assert weighted.weight is not None
    assert weighted.num_edges == 0 or float(weighted.weight.min()) >= 0.1
    assert unweighted.weight is None
    assert undirected.is_symmetric


def test_the_harness_draws_empty_parts():
    drawn = find(assignments(4, 3), lambda parts: parts.unique().numel() == 2)
    assert drawn.shape == (4,)
    assert drawn.dtype == torch.int32
    assert set(drawn.tolist()) < {0, 1, 2}


def test_both_directions_of_parallel_edges_weigh_the_same_whatever_their_order():
    tiny, edges = 2.0**-24, [[0, 0, 1], [1, 1, 0]]
    pairs = torch.tensor([[*edges[0], *edges[1]], [*edges[1], *edges[0]]])
    weight = torch.tensor([tiny, tiny, 1.0] * 2)
    graph = Graph.from_edge_index(pairs, num_nodes=2, weight=weight)
    assert graph.is_symmetric
    assert graph.weight.tolist() == [1 + 2 * tiny] * 2
