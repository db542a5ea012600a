"""Products, blocks, keyed dropout and sparse features on one device, against dense oracles."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from gcnsys.errors import InputError
from gcnsys.graph import CSR, Graph, toy
from gcnsys.kernels import DropoutKey, LocalBlock, Mask, Matrix, SparseRows, backend, keyed_dropout
from gcnsys.kernels.block import Degrees
from gcnsys.kernels.dropout import row_words
from gcnsys.kernels.rows import RowSelection
from gcnsys.testing.graphs import edge_lists, graphs, normal, seeds

TIGHT = {"rtol": 1e-12, "atol": 1e-12}


def dense(csr):
    """A CSR matrix as a dense one, float64; equal entries add up."""
    full = torch.zeros(csr.num_rows, csr.num_cols, dtype=torch.float64)
    for row in range(csr.num_rows):
        for entry in range(int(csr.indptr[row]), int(csr.indptr[row + 1])):
            full[row, int(csr.indices[entry])] += 1 if csr.weight is None else float(csr.weight[entry])
    return full


@st.composite
def matrices(draw):
    """CSR matrices of any shape."""
    csr = draw(edge_lists(signed=True)).graph().adjacency
    rows = draw(st.lists(st.integers(0, csr.num_rows - 1), max_size=10))
    return csr.take_rows(torch.tensor(rows, dtype=torch.int64))


# Products.


@given(matrices(), st.integers(0, 5), seeds())
def test_a_product_is_the_dense_one(csr, width, seed):
    x = normal(seed, csr.num_cols, width)
    torch.testing.assert_close(Matrix(csr).times(x), dense(csr) @ x, **TIGHT)


@given(matrices(), st.integers(0, 5), seeds())
def test_a_transposed_product_is_the_dense_one(csr, width, seed):
    y = normal(seed, csr.num_rows, width)
    torch.testing.assert_close(Matrix(csr).transpose_times(y), dense(csr).T @ y, **TIGHT)


@pytest.mark.parametrize("native", [True, False])
@given(matrices(), st.integers(0, 5), st.integers(0, 20), seeds())
def test_absent_columns_count_as_0(native, csr, width, present, seed):
    rows = torch.from_numpy(np.random.default_rng(seed).integers(-1, present, csr.num_cols))
    x = normal(seed, present, width)
    stood_for = torch.cat([x, x.new_zeros(1, width)])[rows]
    with pytest.MonkeyPatch.context() as patch:
        if not native:
            patch.setattr(backend, "core", lambda: None)
        found = Matrix(csr).times(x, column_map=rows)
    torch.testing.assert_close(found, dense(csr) @ stood_for, **TIGHT)


@pytest.mark.parametrize("native", [True, False])
@given(matrices(), st.integers(0, 5), seeds())
def test_some_rows_of_a_product_and_of_a_transposed_one(native, csr, width, seed):
    draw = np.random.default_rng(seed)
    rows, columns = (
        torch.from_numpy(np.flatnonzero(draw.random(n) < 0.5)) for n in (csr.num_rows, csr.num_cols)
    )
    x, y = normal(seed, csr.num_cols, width), normal(seed + 1, csr.num_rows, width)
    scale, side = normal(seed + 2, csr.num_cols), normal(seed + 3, csr.num_rows)
    with pytest.MonkeyPatch.context() as patch:
        if not native:
            patch.setattr(backend, "core", lambda: None)
        forth = Matrix(csr).times(x, rows=rows, column_scale=scale)
        back = Matrix(csr).transpose_times(y, columns=columns, row_scale=side, column_scale=scale)
    torch.testing.assert_close(forth, (dense(csr) @ (scale[:, None] * x))[rows], **TIGHT)
    wanted = scale[:, None] * (dense(csr).T @ (side[:, None] * y))
    torch.testing.assert_close(back, wanted[columns], **TIGHT)


@pytest.mark.parametrize("native", [True, False])
@given(st.integers(1, 9), st.integers(0, 20), st.integers(0, 4), seeds())
def test_some_rows_of_a_selection_are_taken_and_added_back(native, num_rows, size, width, seed):
    draw = np.random.default_rng(seed)
    selected = torch.from_numpy(draw.integers(0, num_rows, size))
    positions = torch.from_numpy(np.flatnonzero(draw.random(size) < 0.5))
    place = torch.full((size,), -1).index_copy_(0, positions, torch.arange(positions.numel()))
    x, taken = normal(seed, num_rows, width), normal(seed + 1, positions.numel(), width)
    scale, out = normal(seed + 2, size), normal(seed + 3, num_rows, width)
    wanted = out.clone()
    for position, row in zip(positions.tolist(), taken, strict=True):
        wanted[selected[position]] += scale[position] * row
    with pytest.MonkeyPatch.context() as patch:
        if not native:
            patch.setattr(backend, "core", lambda: None)
        selection = RowSelection(selected, num_rows)
        torch.testing.assert_close(selection.take(x, positions), x[selected[positions]], **TIGHT)
        found = selection.add_back(taken, out, scale=scale, place=place, positions=positions)
    torch.testing.assert_close(found, wanted, **TIGHT)


@given(graphs(directed=False), seeds())
def test_a_symmetric_matrix_serves_as_its_own_transpose(graph, seed):
    y = normal(seed, graph.num_nodes, 3)
    found = Matrix(graph.adjacency, symmetric=True).transpose_times(y)
    torch.testing.assert_close(found, dense(graph.adjacency).T @ y, **TIGHT)


def test_a_transpose_that_was_made_moves_along():
    matrix = Matrix(CSR(torch.tensor([0, 2, 3]), torch.tensor([0, 2, 1], dtype=torch.int32), 3))
    assert matrix.flipped.csr.num_rows == 3
    moved = matrix.to(torch.device("meta"))  # from which nothing can be read: none could be made there
    assert moved.flipped.csr.indices.device.type == "meta"


@given(matrices(), seeds())
def test_products_add_to_what_is_there(csr, seed):
    x, y = normal(seed, csr.num_cols, 3), normal(seed + 1, csr.num_rows, 3)
    forth, back = torch.ones(csr.num_rows, 3).double(), torch.ones(csr.num_cols, 3).double()
    Matrix(csr).times(x, out=forth)
    Matrix(csr).transpose_times(y, out=back)
    torch.testing.assert_close(forth, 1 + dense(csr) @ x, **TIGHT)
    torch.testing.assert_close(back, 1 + dense(csr).T @ y, **TIGHT)


@given(graphs(signed=True), seeds())
def test_products_in_single_precision_are_close(graph, seed):
    x = normal(seed, graph.num_nodes, 3)
    matrix = Matrix(graph.adjacency)
    matrix.times(x)  # what is kept ready for one type must not be used for the other
    found = matrix.times(x.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), dense(graph.adjacency) @ x, rtol=1e-5, atol=1e-5)


# Blocks.


def loops_completed(graph):
    """The dense adjacency with a loop of weight 1 wherever there is none."""
    full = dense(graph.adjacency)
    for node in torch.nonzero(graph.loop_weight().isnan()).flatten().tolist():
        full[node, node] = 1
    return full


def normalized(full, norm):
    """The matrix of the normalized sum, entry by entry."""
    into, out_of = full.sum(1), full.sum(0)
    scaled = torch.zeros_like(full)
    for row in range(full.shape[0]):
        for col in range(full.shape[1]):
            sender = into[col] if norm == "symmetric" else out_of[col]
            scaled[row, col] = full[row, col] / (into[row] * sender).sqrt()
    return scaled


def mean_matrix(full):
    total = full.sum(1, keepdim=True)
    return torch.where(total > 0, full / total, 0.0)


@given(graphs(signed=True), seeds())
def test_sum_adds_up_neighbours_by_weight(graph, seed):
    x = normal(seed, graph.num_nodes, 3)
    torch.testing.assert_close(LocalBlock.from_graph(graph).sum(x), dense(graph.adjacency) @ x, **TIGHT)


@given(graphs(), seeds())
def test_mean_is_the_weighted_average_and_0_without_neighbours(graph, seed):
    x = normal(seed, graph.num_nodes, 3)
    want = mean_matrix(dense(graph.adjacency)) @ x
    torch.testing.assert_close(LocalBlock.from_graph(graph).mean(x), want, **TIGHT)


@given(graphs(), st.sampled_from(["symmetric", "out-in"]), seeds())
def test_gcn_is_the_normalized_sum_over_completed_loops(graph, norm, seed):
    x = normal(seed, graph.num_nodes, 3)
    want = normalized(loops_completed(graph), norm) @ x
    torch.testing.assert_close(LocalBlock.from_graph(graph).gcn(x, norm), want, **TIGHT)


@given(graphs(), seeds())
def test_the_default_norm_is_the_symmetric_one(graph, seed):
    block, x = LocalBlock.from_graph(graph), normal(seed, graph.num_nodes, 2)
    assert torch.equal(block.gcn(x), block.gcn(x, "symmetric"))


@given(graphs(), seeds())
def test_a_block_serves_both_precisions(graph, seed):
    block, x = LocalBlock.from_graph(graph), normal(seed, graph.num_nodes, 3)
    for aggregate in (block.sum, block.mean, block.gcn):
        exact, single = aggregate(x), aggregate(x.float())
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=1e-5)


AGGREGATIONS = {
    "sum": lambda block, x: block.sum(x),
    "mean": lambda block, x: block.mean(x),
    "gcn symmetric": lambda block, x: block.gcn(x),
    "gcn out-in": lambda block, x: block.gcn(x, "out-in"),
}


@pytest.mark.parametrize("name", AGGREGATIONS)
@settings(max_examples=10)
@given(graph=graphs(max_nodes=5), seed=seeds())
def test_the_gradient_is_the_derivative_of(name, graph, seed):
    block, x = LocalBlock.from_graph(graph), normal(seed, graph.num_nodes, 2).requires_grad_()
    assert gradcheck(lambda x: AGGREGATIONS[name](block, x), (x,))


@given(graphs(signed=True), seeds())
def test_the_gradient_of_sum_is_its_adjoint(graph, seed):
    block, x = LocalBlock.from_graph(graph), normal(seed, graph.num_nodes, 3).requires_grad_()
    y = normal(seed + 1, graph.num_nodes, 3)
    out = block.sum(x)
    out.backward(y)
    torch.testing.assert_close((out * y).sum(), (x * x.grad).sum(), **TIGHT)


@st.composite
def layers(draw):
    """A graph and one layer of a minibatch on it: some nodes receive, more send."""
    graph = draw(graphs())
    order = draw(st.permutations(range(graph.num_nodes)))
    return graph, torch.tensor(order), draw(st.integers(0, graph.num_nodes))


@given(layers(), seeds())
def test_a_minibatch_layer_aggregates_into_its_first_rows(drawn, seed):
    graph, ids, num_rows = drawn
    csr = graph.induced(ids).adjacency.take_rows(torch.arange(num_rows))
    block = LocalBlock(csr, ids, Degrees.of(graph).take(ids))
    x, order = normal(seed, ids.numel(), 3), ids.numpy()
    full = torch.from_numpy(dense(graph.adjacency).numpy()[np.ix_(order[:num_rows], order)])
    gcn = torch.from_numpy(
        normalized(loops_completed(graph), "out-in").numpy()[np.ix_(order[:num_rows], order)]
    )
    torch.testing.assert_close(block.sum(x), full @ x, **TIGHT)
    torch.testing.assert_close(block.mean(x), mean_matrix(full) @ x, **TIGHT)
    torch.testing.assert_close(block.gcn(x, "out-in"), gcn @ x, **TIGHT)
    assert torch.equal(block.own(x), x[:num_rows])
    assert torch.equal(block.output_ids, ids[:num_rows])


def test_a_whole_graph_gathers_its_own_rows_and_totals_are_its_own():
    block, x = LocalBlock.from_graph(toy.chain(3)), normal(0, 3, 2)
    assert torch.equal(block.gather(x), x)
    assert torch.equal(block.total(x[0]), x[0])


def test_the_symmetric_norm_is_that_of_pyg():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gcn_conv = pytest.importorskip("torch_geometric.nn.conv.gcn_conv", reason="PyG is not installed")
    pairs = torch.tensor([[0, 1, 1, 2, 3, 3], [1, 0, 2, 3, 1, 3]])
    weight = normal(1, 6).abs()
    graph = Graph.from_edge_index(pairs, num_nodes=4, weight=weight)
    looped, scaled = gcn_conv.gcn_norm(pairs, weight, num_nodes=4, dtype=torch.float64)
    want = torch.zeros(4, 4, dtype=torch.float64)
    want[looped[1], looped[0]] = scaled
    found = LocalBlock.from_graph(graph).gcn(torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(found, want, **TIGHT)


def test_the_out_in_norm_is_that_of_dgl():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dgl = pytest.importorskip("dgl", reason="DGL is not installed")
        from dgl.nn.pytorch import GraphConv
    graph = toy.chain(4).with_self_loops()
    src, dst = graph.edge_index().long()
    conv = GraphConv(3, 3, norm="both", weight=False, bias=False)
    x = normal(2, 4, 3)
    want = conv(dgl.graph((src, dst), num_nodes=4), x)
    torch.testing.assert_close(LocalBlock.from_graph(toy.chain(4)).gcn(x, "out-in"), want, **TIGHT)


def weighted(*weight):
    pairs = torch.tensor([[0, 1, 2], [1, 0, 1]])
    return LocalBlock.from_graph(Graph.from_edge_index(pairs, num_nodes=3, weight=torch.tensor(weight)))


@pytest.mark.parametrize("norm", ["symmetric", "out-in"])
@pytest.mark.parametrize("weight", [-1.0, -2.0])
def test_gcn_refuses_a_degree_that_is_not_positive(norm, weight):
    with pytest.raises(InputError, match=f"positive weighted degrees, but node 0 has {weight + 1:g}: remove"):
        weighted(1.0, weight, 1.0).gcn(torch.ones(3, 1), norm)


def test_the_first_node_whose_degree_is_not_positive_is_named():
    with pytest.raises(InputError, match=r"but node 1 has -1: remove"):
        weighted(-3.0, -0.5, 1.0).gcn(torch.ones(3, 1))


def test_out_in_refuses_a_sender_whose_degree_is_not_positive():
    block = weighted(5.0, 1.0, -3.0)  # nodes receive 1, 2 and 0, and node 2 sends -3
    assert bool(block.gcn(torch.ones(3, 1)).isfinite().all())
    with pytest.raises(InputError, match="positive weighted degrees, but node 2 has -2"):
        block.gcn(torch.ones(3, 1), "out-in")


def test_mean_refuses_weights_that_add_up_to_less_than_nothing():
    with pytest.raises(InputError, match="node 1 has a negative sum: use sum or other weights"):
        weighted(1.0, 1.0, -3.0).mean(torch.ones(3, 1))


BAD_FOR = {"mean": (1.0, 1.0, -3.0), "gcn": (1.0, -2.0, 1.0), "gcn:symmetric": (1.0, -2.0, 1.0)}
BAD_FOR["gcn:out-in"] = (5.0, 1.0, -3.0)


@pytest.mark.parametrize("aggregation", BAD_FOR)
def test_weights_that_an_aggregation_refuses_are_refused_ahead_of_its_use(aggregation):
    with pytest.raises(InputError, match=r"weights"):
        weighted(*BAD_FOR[aggregation]).prepare(aggregation, torch.ones(3, 1))


def test_an_aggregation_that_takes_any_weight_needs_no_preparation():
    weighted(1.0, -2.0, -3.0).prepare("sum", torch.ones(3, 1))


def test_sum_takes_negative_weights():
    assert weighted(1.0, 1.0, -3.0).sum(torch.ones(3, 1)).flatten().tolist() == [1, -2, 0]


# Keyed dropout. The oracle repeats the hash with unsigned integers.


def scrambled(word):
    """The finalizer of SplitMix64."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def expected_mask(key, nodes, features, rate):
    with np.errstate(over="ignore"):
        word = np.asarray(nodes).astype(np.uint64)
        for part in (key.site, key.epoch, key.seed):
            word = scrambled(word + np.uint64((part + 1) * 0x9E3779B97F4A7C15 % 2**64))
        a = (word & np.uint64(2**32 - 1)).astype(np.uint32)[:, None]
        b = (word >> np.uint64(32)).astype(np.uint32)[:, None]
        # The finalizer of MurmurHash3, the second word mixed in on the way.
        h = (np.asarray(features).astype(np.uint32) * np.uint32(0x9E3779B1)) ^ a
        h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
        h = (h ^ (h >> np.uint32(13)) ^ b) * np.uint32(0xC2B2AE35)
        h = h ^ (h >> np.uint32(16))
    # The threshold counts from the middle: numbers from 2^31 on come before those below it.
    place = (h.astype(np.int64) + 2**31) % 2**32
    return place >= int(rate * 2**32)


keys = st.builds(
    DropoutKey, seed=st.integers(-(2**63), 2**64), epoch=st.integers(0, 2**40), site=st.integers(0, 1000)
)
rates = st.floats(0.01, 0.99)


@given(keys, st.lists(st.integers(0, 2**40), max_size=6), rates, st.integers(0, 10**6))
def test_the_mask_is_the_documented_hash(key, nodes, rate, first):
    x = torch.ones(len(nodes), 5, dtype=torch.float64)
    ids = torch.tensor(nodes, dtype=torch.int64)
    found = keyed_dropout(x, key, ids, rate, first_feature=first)
    mask = expected_mask(key, nodes, range(first, first + 5), rate)
    torch.testing.assert_close(found, torch.from_numpy(mask).double() / (1 - rate), **TIGHT)


def test_many_rows_are_hashed_as_few_are():
    key, ids = DropoutKey(1, 2, 3), torch.arange(3000)
    found = keyed_dropout(torch.ones(3000, 50), key, ids, 0.5) > 0
    assert np.array_equal(found.numpy(), expected_mask(key, ids, range(50), 0.5))


def mask_of(key, ids=None, width=100, rate=0.5, first=0):
    ids = torch.arange(2000) if ids is None else ids
    return keyed_dropout(torch.ones(ids.numel(), width), key, ids, rate, first_feature=first) > 0


def correlation(one, other):
    """Of two masks; among n independent bits it is about n ** -0.5."""
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]).double())[0, 1])


KEY = DropoutKey(seed=5, epoch=7, site=1)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9, 0.99])
def test_elements_are_dropped_at_the_rate(rate):
    mask = mask_of(KEY, rate=rate)
    assert abs(float(mask.double().mean()) - (1 - rate)) < 4 * (rate * (1 - rate) / mask.numel()) ** 0.5


@pytest.mark.parametrize("dim", [0, 1], ids=["columns", "rows"])
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_what_is_kept_of_each_varies_as_independent_draws_do(dim, rate):
    mask = mask_of(KEY, torch.arange(1000), 1000, rate).double()
    spread = mask.sum(dim).var() / (1000 * rate * (1 - rate))
    assert abs(float(spread) - 1) < 4 * (2 / 1000) ** 0.5


def square():
    return mask_of(KEY, torch.arange(400), 400)


def upper():
    return torch.ones(400, 400, dtype=torch.bool).triu(1)


NEIGHBOURS = {
    "features": lambda: (mask_of(KEY), mask_of(KEY, first=1)),
    "distant features": lambda: (mask_of(KEY), mask_of(KEY, first=2**16)),
    "nodes": lambda: (mask_of(KEY), mask_of(KEY, torch.arange(1, 2001))),
    "nodes 2^32 apart": lambda: (mask_of(KEY), mask_of(KEY, torch.arange(2000) + 2**32)),
    "sites": lambda: (mask_of(KEY), mask_of(DropoutKey(5, 7, 2))),
    "epochs": lambda: (mask_of(KEY), mask_of(DropoutKey(5, 8, 1))),
    "seeds": lambda: (mask_of(KEY), mask_of(DropoutKey(6, 7, 1))),
    "an epoch and a site": lambda: (mask_of(KEY), mask_of(DropoutKey(5, 1, 7))),
    "an epoch and a node": lambda: (mask_of(KEY), mask_of(DropoutKey(5, 8, 1), torch.arange(-1, 1999))),
    "rows and columns": lambda: (square()[upper()], square().T[upper()]),
}


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_masks_are_independent_between(name):
    one, other = NEIGHBOURS[name]()
    assert abs(correlation(one, other)) < 4 * one.numel() ** -0.5


@given(st.permutations(range(8)), keys)
def test_a_row_has_its_mask_wherever_it_stands(order, key):
    ids = torch.tensor(order)
    assert torch.equal(mask_of(key, ids, 9), mask_of(key, torch.arange(8), 9)[ids])


def test_copies_of_a_row_have_one_mask():
    first, second = mask_of(KEY, torch.tensor([17, 17]))
    assert torch.equal(first, second)


@given(keys, rates, st.integers(0, 10), st.integers(0, 10), seeds())
def test_a_slice_of_columns_is_dropped_as_the_whole_is(key, rate, first, width, seed):
    x, ids = normal(seed, 3, 20), torch.tensor([4, 0, 2**33])
    whole = keyed_dropout(x, key, ids, rate)
    part = keyed_dropout(x[:, first : first + width], key, ids, rate, first_feature=first)
    assert torch.equal(part, whole[:, first : first + width])


def test_what_a_higher_rate_keeps_a_lower_rate_keeps_too():
    assert bool((mask_of(KEY, rate=0.3) | ~mask_of(KEY, rate=0.6)).all())


def test_rate_0_hands_the_rows_on():
    x = torch.ones(3, 2)
    assert keyed_dropout(x, KEY, torch.arange(3), 0.0) is x


def test_nothing_is_kept_close_to_rate_1():
    assert not mask_of(KEY, rate=1 - 2**-40).any()


def test_the_rows_handed_in_are_not_changed():
    x = torch.ones(3, 2)
    keyed_dropout(x, KEY, torch.arange(3), 0.5)
    assert x.eq(1).all()


def test_words_of_nodes_beyond_32_bits_differ():
    a, b = row_words(KEY, torch.tensor([3, 3 + 2**32]))
    assert a[0] != a[1]
    assert b[0] != b[1]


@given(keys, rates, seeds())
def test_the_gradient_of_dropout_passes_where_rows_do(key, rate, seed):
    x, ids, y = normal(seed, 4, 3).requires_grad_(), torch.arange(4), normal(seed + 1, 4, 3)
    keyed_dropout(x, key, ids, rate).backward(y)
    mask = torch.from_numpy(expected_mask(key, ids, range(3), rate))
    torch.testing.assert_close(x.grad, y * mask / (1 - rate), **TIGHT)


def test_the_gradient_of_dropout_is_its_derivative():
    x = normal(3, 5, 4).requires_grad_()
    assert gradcheck(lambda x: keyed_dropout(x, KEY, torch.arange(5), 0.4), (x,))


# Sparse features.


@st.composite
def sparse_rows(draw):
    csr = draw(matrices())
    values = normal(draw(seeds()), csr.num_edges)
    return SparseRows.from_csr(CSR(csr.indptr, csr.indices, csr.num_cols, values))


@given(sparse_rows(), keys, rates)
def test_stored_entries_are_dropped_as_dense_ones_are(x, key, rate):
    ids = torch.arange(x.shape[0]) * 3
    assert torch.equal(
        x.dropped(Mask(key, ids, rate)).to_dense(), keyed_dropout(x.to_dense(), key, ids, rate)
    )


def test_sparse_rows_at_rate_0_are_handed_on():
    x = SparseRows.from_csr(toy.house().adjacency)
    assert x.dropped(Mask(KEY, torch.arange(5), 0.0)) is x


def test_dropping_sparse_rows_leaves_them_as_they_were():
    x = SparseRows.from_csr(toy.house().adjacency)
    x.dropped(Mask(KEY, torch.arange(5), 0.5))
    assert x.values.eq(1).all()


@given(matrices())
def test_sparse_rows_hold_what_the_matrix_holds(csr):
    assert torch.equal(SparseRows.from_csr(csr).to(torch.float64).to_dense(), dense(csr))
    assert SparseRows.from_csr(csr).shape == (csr.num_rows, csr.num_cols)


@given(sparse_rows(), st.integers(0, 4), seeds())
def test_the_product_of_sparse_rows_is_the_dense_one(x, width, seed):
    weight = normal(seed, x.shape[1], width)
    torch.testing.assert_close(x.times(weight), x.to_dense() @ weight, **TIGHT)


@given(sparse_rows(), seeds())
def test_a_weight_may_be_a_transposed_view(x, seed):
    weight = normal(seed, 3, x.shape[1]).T
    torch.testing.assert_close(x.times(weight), x.to_dense() @ weight, **TIGHT)


@given(sparse_rows(), seeds())
def test_the_gradient_of_a_sparse_product_is_the_dense_one(x, seed):
    weight = normal(seed, x.shape[1], 3).requires_grad_()
    y = normal(seed + 1, x.shape[0], 3)
    x.times(weight).backward(y)
    torch.testing.assert_close(weight.grad, x.to_dense().T @ y, **TIGHT)


@given(sparse_rows(), keys, rates, seeds())
def test_the_gradient_after_dropout_is_that_of_the_entries_kept(x, key, rate, seed):
    weight = normal(seed, x.shape[1], 3).requires_grad_()
    y, kept = normal(seed + 1, x.shape[0], 3), x.dropped(Mask(key, torch.arange(x.shape[0]), rate))
    kept.times(weight).backward(y)
    torch.testing.assert_close(weight.grad, kept.to_dense().T @ y, **TIGHT)


def test_a_sparse_product_passes_gradcheck():
    x = SparseRows.from_csr(toy.loner().adjacency).to(torch.float64)
    assert gradcheck(x.times, (normal(0, 5, 2).requires_grad_(),))


def test_sparse_rows_take_the_precision_of_the_weight():
    x = SparseRows.from_csr(toy.house().adjacency)
    assert x.times(torch.eye(5, dtype=torch.float64)).dtype == torch.float64


def test_equal_places_of_sparse_rows_add_up_everywhere():
    twice = CSR(torch.tensor([0, 2]), torch.tensor([1, 1]), 3, torch.tensor([2.0, 5.0]))
    x = SparseRows.from_csr(twice)
    assert x.to_dense().tolist() == x.times(torch.eye(3)).tolist() == [[0, 7, 0]]


@pytest.mark.parametrize("operation", ["sum", "mean", "gcn"])
def test_rows_that_are_one_and_the_same_are_aggregated_as_well(operation):
    graph = Graph.from_edge_index(torch.randint(30, (2, 200), generator=torch.Generator().manual_seed(0)),
                                  num_nodes=30)  # fmt: skip
    row = torch.randn(1, 24, requires_grad=True)
    block = LocalBlock.from_graph(graph)
    found = getattr(block, operation)(row.expand(30, 24))
    torch.testing.assert_close(found, getattr(block, operation)(row.repeat(30, 1)))
    (gradient,) = torch.autograd.grad(found.mean(0).sum(), row)  # whose gradient is one row, expanded
    copied = row.detach().repeat(30, 1).requires_grad_()
    getattr(block, operation)(copied).mul(1 / 30).sum().backward()
    torch.testing.assert_close(gradient[0], copied.grad.sum(0))
