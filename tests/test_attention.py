"""Attention and numbers on edges, native and by torch, against dense oracles in float64."""

import math
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from gcnsys.errors import InputError
from gcnsys.graph import CSR, Graph
from gcnsys.kernels import backend
from gcnsys.kernels.attention import EdgeDropout, gat_attention
from gcnsys.kernels.dropout import DropoutKey
from gcnsys.kernels.edges import Edges, edge_add, edge_dot, edge_softmax, weighted_sum
from gcnsys.kernels.leaky import leaky_dot

TOLERANCE = {torch.float32: 3e-5, torch.float64: 1e-11, torch.bfloat16: 4e-2}
NATIVE = backend.core() is not None
SIDES = ["native", "torch"] if NATIVE else ["torch"]
needs_core = pytest.mark.skipif(not NATIVE, reason="the native core was not built, or is switched off")


def run(side, function, *arguments, **options):
    """Call a function with the native core at work, or torch."""
    with pytest.MonkeyPatch.context() as patch:
        if side == "torch":
            for module in ("attention", "edges", "leaky", "matrix"):
                patch.setattr(f"gcnsys.kernels.{module}.native_for", lambda *_: None)
        return function(*arguments, **options)


@pytest.fixture(autouse=True)
def threads():
    """Tests may set the number of threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def normal(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def some_edges(rows, cols, count, seed, index=torch.int32):
    """Edges in any order of columns, some of them several times; a row in three has none."""
    rng = np.random.default_rng(seed)
    row = rng.integers(0, max(rows, 1), count)
    row = np.sort(row - (row % 3 == 2))
    indptr = np.concatenate([[0], np.bincount(row, minlength=rows).cumsum()])
    columns = torch.from_numpy(rng.integers(0, cols, count)).to(index)
    return Edges(CSR(torch.from_numpy(indptr), columns, cols))


def row_of(edges):
    return np.repeat(np.arange(edges.csr.num_rows), edges.csr.indptr.diff().numpy())


def counts(edges):
    """How often each pair is an edge, ``[R, K]`` float64."""
    dense = np.zeros((edges.csr.num_rows, edges.csr.num_cols))
    np.add.at(dense, (row_of(edges), edges.csr.indices.numpy()), 1)
    return torch.from_numpy(dense)


def dense_attention(edges, x, destination, source, slope, mask):
    """Attention over all pairs; those that are no edge count 0 times, others as often as they are there."""
    times, heads = counts(edges)[:, :, None], source.shape[1]
    score = destination[:, None] + source[None]
    logit = torch.where(score > 0, score, slope * score)
    top = torch.where(times > 0, logit.detach(), -1e300).amax(1, keepdim=True)
    power = times * (logit - top).clamp(max=1).exp()
    alpha = power / power.sum(1, keepdim=True).clamp(min=1e-300)
    rows = x.view(x.shape[0], heads, x.shape[1] // heads)
    return torch.einsum("rkh,khd->rhd", alpha * mask, rows).flatten(1)


def scrambled(word):
    """The finalizer of SplitMix64."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def dense_mask(dropout, heads):
    """The documented hash of every pair and head, ``[R, K, H]``, times the scale."""
    words = []
    with np.errstate(over="ignore"):
        for ids in (dropout.destination_ids, dropout.source_ids):
            word = ids.numpy().astype(np.uint64)
            for part in (dropout.key.site, dropout.key.epoch, dropout.key.seed):
                word = scrambled(word + np.uint64((part + 1) * 0x9E3779B97F4A7C15 % 2**64))
            words.append(word)
        a = (words[0] & np.uint64(2**32 - 1)).astype(np.uint32)[:, None, None]
        b = (words[0] >> np.uint64(32)).astype(np.uint32)[:, None, None]
        source = (words[1] & np.uint64(2**32 - 1)).astype(np.uint32)[None, :, None]
        h = ((source + np.arange(heads, dtype=np.uint32)) * np.uint32(0x9E3779B1)) ^ a
        h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
        h = (h ^ (h >> np.uint32(13)) ^ b) * np.uint32(0xC2B2AE35)
        h = h ^ (h >> np.uint32(16))
    kept = (h.astype(np.int64) + 2**31) % 2**32 >= int(dropout.rate * 2**32)
    return torch.from_numpy(kept).double() / (1 - dropout.rate)


def some_dropout(edges, rate, seed=3):
    ids = np.random.default_rng(seed).permutation(10**6) + 2**33
    own, other = ids[: edges.csr.num_rows].copy(), ids[-edges.csr.num_cols :].copy()
    return EdgeDropout(DropoutKey(seed, 5, 2), rate, torch.from_numpy(own), torch.from_numpy(other))


def deviation(found, expected):
    scale = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    return float((found.double() - expected).abs().max()) / scale if expected.numel() else 0.0


def with_gradients(function, inputs, grad):
    """The result and the gradients by the inputs."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    out = function(*leaves)
    out.backward(grad.to(out.dtype))
    return [out.detach(), *(leaf.grad for leaf in leaves)]


# Fused attention.


@settings(max_examples=60)
@given(
    rows=st.integers(0, 9),
    halo=st.integers(0, 5),
    count=st.integers(0, 60),
    heads=st.integers(1, 8),
    width=st.integers(1, 70),
    stored=st.sampled_from(list(TOLERANCE)),
    index=st.sampled_from([torch.int32, torch.int64]),
    slope=st.sampled_from([0.2, 0.0, 1.0]),
    rate=st.sampled_from([None, 0.0, 0.4]),
    threads=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_attention_and_its_gradients_are_the_dense_ones(
    rows, halo, count, heads, width, stored, index, slope, rate, threads, seed
):
    torch.set_num_threads(threads)
    edges = some_edges(rows, max(rows + halo, 1), count if rows else 0, seed, index)
    assert_dense_attention(edges, heads, width, stored, slope, rate, seed)


@pytest.mark.parametrize("rate", [None, 0.4])
@pytest.mark.parametrize(("rows", "cols"), [(4, 900), (900, 3), (5, 5)])
def test_rows_and_columns_of_a_thousand_edges_are_attended_to(rows, cols, rate):
    edges = some_edges(rows, cols, 6000, 1)
    for stored in (torch.float32, torch.float64):
        assert_dense_attention(edges, 2, 5, stored, 0.2, rate, 1)


def assert_dense_attention(edges, heads, width, stored, slope, rate, seed):
    rows, cols, wide = edges.csr.num_rows, edges.csr.num_cols, backend.summed(stored)
    x, grad = (normal(seed + i, n, heads * width).to(stored) for i, n in enumerate((cols, rows)))
    scores = [normal(seed + 2 + i, n, heads).to(wide) for i, n in enumerate((rows, cols))]
    dropout = None if rate is None else some_dropout(edges, rate)
    mask = 1.0 if dropout is None else dense_mask(dropout, heads)
    expected = with_gradients(
        lambda *inputs: dense_attention(edges, *inputs, slope, mask),
        [tensor.double() for tensor in (x, *scores)],
        grad,
    )
    for side in SIDES:
        found = run(
            side,
            with_gradients,
            lambda *inputs: gat_attention(edges, *inputs, slope=slope, dropout=dropout),
            (x, *scores),
            grad,
        )
        assert [tensor.dtype for tensor in found] == [stored, stored, wide, wide]
        for one, other in zip(found, expected, strict=True):
            assert deviation(one, other) <= TOLERANCE[stored]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_attention_is_differentiated_as_it_is_computed(side, rate):
    edges = some_edges(5, 7, 25, 1)
    inputs = [normal(i, *shape).requires_grad_() for i, shape in enumerate([(7, 6), (5, 2), (7, 2)])]
    dropout = some_dropout(edges, rate)
    assert run(side, gradcheck, lambda *t: gat_attention(edges, *t, dropout=dropout), inputs)


@pytest.mark.parametrize("side", SIDES)
def test_a_hub_of_a_hundred_thousand_edges_is_attended_to(side):
    size = 100_000
    indptr = torch.tensor([0, 0, size, size + 2])
    indices = torch.cat([torch.arange(size), torch.tensor([5, 5])]).int()
    edges = Edges(CSR(indptr, indices, size))
    x, source = normal(0, size, 6), normal(1, size, 2) * 3
    destination, grad = normal(2, 3, 2), normal(3, 3, 6)
    weight = torch.nn.functional.leaky_relu(destination[1] + source, 0.2).softmax(0)
    average = torch.einsum("kh,khd->hd", weight, x.view(size, 2, 3)).flatten()
    expected = torch.stack([torch.zeros(6).double(), average, x[5]])
    single = [tensor.float() for tensor in (x, destination, source)]
    found = run(side, with_gradients, lambda *t: gat_attention(edges, *t), single, grad)
    assert deviation(found[0], expected) < 1e-5
    by_source = weight * (torch.einsum("khd,hd->kh", x.view(size, 2, 3), grad[1].view(2, 3))
                          - (average * grad[1]).view(2, 3).sum(1))  # fmt: skip
    by_source *= torch.where(destination[1] + source > 0, 1.0, 0.2)
    assert deviation(found[3] * size, by_source * size) < 1e-4


@needs_core
def test_the_bits_do_not_depend_on_the_number_of_threads():
    edges = some_edges(300, 400, 20_000, 0)
    inputs = [normal(i, *shape).float() for i, shape in enumerate([(400, 3 * 40), (300, 3), (400, 3)])]
    grad, y = normal(5, 300, 120), normal(6, 300, 120).float()
    dropout = some_dropout(edges, 0.3)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found = with_gradients(lambda *t: gat_attention(edges, *t, dropout=dropout), inputs, grad)
        weight = edge_softmax(edges, edge_add(edges, *inputs[1:]))
        found += with_gradients(lambda w, x: weighted_sum(edges, w, x), (weight, inputs[0]), grad)
        found.append(edge_dot(edges, y, inputs[0], 3))
        found += with_gradients(lambda w: edge_softmax(edges, w), (weight,), found[-1])
        results.append(found)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@needs_core
def test_without_gradients_the_result_has_the_same_bits_and_less_is_computed():
    edges = some_edges(50, 60, 900, 4)
    x, destination, source = normal(0, 60, 24).float(), normal(1, 50, 2).float(), normal(2, 60, 2).float()
    learnt = gat_attention(edges, x.requires_grad_(), destination, source)
    with torch.no_grad():
        plain = gat_attention(edges, x, destination, source)
    assert plain.grad_fn is None
    assert torch.equal(plain, learnt)


@needs_core
def test_nothing_is_kept_for_each_edge():
    edges = some_edges(20, 30, 5000, 4)
    inputs = [normal(i, *shape).requires_grad_() for i, shape in enumerate([(30, 8), (20, 4), (30, 4)])]
    out = gat_attention(edges, *inputs, dropout=some_dropout(edges, 0.5))
    assert sum(saved.numel() for saved in out.grad_fn.saved_tensors) < edges.csr.num_edges


@pytest.mark.parametrize("side", SIDES)
def test_logits_of_any_size_give_finite_weights(side):
    edges = Edges(CSR(torch.tensor([0, 2, 4, 5]), torch.tensor([0, 1, 1, 2, 2]), 3))
    x, source = torch.eye(3), torch.tensor([[1e30], [-1e30], [3e4]])
    found = run(side, gat_attention, edges, x, torch.tensor([[5e3], [-1e30], [-1e38]]), source)
    assert torch.equal(found, torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, 0, 1]]))


@pytest.mark.parametrize("side", SIDES)
def test_a_logit_that_is_no_number_spoils_its_own_row_and_head_only(side):
    edges = some_edges(6, 8, 40, 2)
    x, destination, source = normal(0, 8, 6).float(), normal(1, 6, 2).float(), normal(2, 8, 2).float()
    destination[3, 1] = torch.nan
    spoilt = run(side, gat_attention, edges, x, destination, source).isnan()
    assert spoilt[3, 3:].all()
    assert int(spoilt.sum()) == 3


@needs_core
def test_rows_that_lie_apart_and_gradients_that_repeat_are_read():
    edges = some_edges(9, 12, 70, 6)
    wide, destination, source = normal(0, 12, 50).float(), normal(1, 9, 4).float(), normal(2, 12, 4).float()
    x = wide[:, 3:23]
    apart = x.detach().requires_grad_()
    gat_attention(edges, apart, destination[:, ::2], source[:, 1::2]).sum().backward()
    together = x.contiguous().requires_grad_()
    out = gat_attention(edges, together, destination[:, ::2].contiguous(), source[:, 1::2].contiguous())
    out.backward(torch.ones(9, 20))
    assert torch.equal(apart.grad, together.grad)


@pytest.mark.parametrize("side", SIDES)
def test_a_symmetric_pattern_needs_no_transpose(side):
    pairs = torch.from_numpy(np.random.default_rng(0).integers(0, 20, (2, 80)))
    graph = Graph.from_edge_index(torch.cat([pairs, pairs.flip(0)], 1), num_nodes=20)
    inputs = [normal(i, 20, width) for i, width in enumerate((6, 3, 3))]
    results = []
    for symmetric in (False, True):
        edges = Edges(graph.adjacency, symmetric=symmetric)
        found = with_gradients(lambda *t, e=edges: gat_attention(e, *t), inputs, normal(9, 20, 6))
        results.append(found)
        assert (edges.transposed is edges.csr) == symmetric
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


# Dropout of weights.


def masks(edges, dropout, heads):
    """Which weights survive: every edge alone in its row, its source's features a one for each head."""
    x, zeros = torch.ones(edges.csr.num_cols, heads), torch.zeros(edges.csr.num_cols, heads)
    return gat_attention(edges, x, torch.zeros(edges.csr.num_rows, heads), zeros, dropout=dropout) > 0


def lonely_edges(rows, cols, seed=0):
    columns = torch.from_numpy(np.random.default_rng(seed).integers(0, cols, rows)).int()
    return Edges(CSR(torch.arange(rows + 1), columns, cols))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("rate", [0.1, 0.6])
def test_the_mask_of_an_edge_is_the_documented_hash(side, rate):
    edges = lonely_edges(200, 90)
    dropout = some_dropout(edges, rate)
    expected = dense_mask(dropout, 3)[torch.arange(200), edges.csr.indices.long()] > 0
    assert torch.equal(run(side, masks, edges, dropout, 3), expected)
    assert torch.equal(dropout.mask(edges, 3), expected)


def test_weights_are_dropped_at_the_rate_and_independently_of_head_and_direction():
    edges = lonely_edges(20_000, 20_000)
    ids = torch.arange(20_000)
    mask = masks(edges, EdgeDropout(DropoutKey(1, 2, 3), 0.3, ids, ids), 4)
    assert abs(float(mask.double().mean()) - 0.7) < 4 * (0.21 / mask.numel()) ** 0.5
    columns = edges.csr.indices.long()
    there = Edges(CSR(torch.arange(20_001), torch.arange(20_000), 20_000))
    back = masks(there, EdgeDropout(DropoutKey(1, 2, 3), 0.3, ids[columns], ids), 4)
    pairs = [(mask[:, 0], mask[:, 1]), (mask[:, 1], mask[:, 3]), (mask[:, 0], back[:, 0])]
    for one, other in pairs:
        correlation = torch.corrcoef(torch.stack([one, other]).double())[0, 1]
        assert abs(float(correlation)) < 4 * 20_000**-0.5


@pytest.mark.parametrize("side", SIDES)
def test_a_part_draws_the_masks_that_the_whole_draws(side):
    whole = some_edges(30, 30, 300, 5, torch.int64)
    ids = torch.arange(30)
    x, destination, source = normal(0, 30, 6), normal(1, 30, 2), normal(2, 30, 2)
    key = DropoutKey(9, 1, 0)
    expected = run(
        side, gat_attention, whole, x, destination, source, dropout=EdgeDropout(key, 0.4, ids, ids)
    )
    own = torch.tensor([3, 9, 0, 27])
    rows = whole.csr.take_rows(own)
    halo = torch.tensor(sorted(set(rows.indices.tolist()) - set(own.tolist())))
    held = torch.cat([own, halo])
    place = torch.full((30,), -1)
    place[held] = torch.arange(held.numel())
    part = Edges(CSR(rows.indptr, place[rows.indices], held.numel()))
    dropout = EdgeDropout(key, 0.4, own, held)
    found = run(side, gat_attention, part, x[held], destination[own], source[held], dropout=dropout)
    torch.testing.assert_close(found, expected[own], rtol=1e-12, atol=1e-12)


# Numbers on edges.


@settings(max_examples=60)
@given(
    rows=st.integers(0, 9),
    cols=st.integers(1, 9),
    count=st.integers(0, 60),
    heads=st.integers(1, 8),
    width=st.integers(1, 70),
    stored=st.sampled_from(list(TOLERANCE)),
    index=st.sampled_from([torch.int32, torch.int64]),
    seed=st.integers(0, 2**32 - 1),
)
def test_numbers_on_edges_are_those_of_loops_over_edges(rows, cols, count, heads, width, stored, index, seed):
    edges = some_edges(rows, cols, count if rows else 0, seed, index)
    at, to = row_of(edges), edges.csr.indices.numpy()
    total, wide = len(at), backend.summed(stored)
    y, x = (normal(seed + i, n, heads * width).to(stored) for i, n in enumerate((rows, cols)))
    weight, a, b = (normal(seed + 2 + i, n, heads).to(wide) for i, n in enumerate((total, rows, cols)))
    left, right = y.double().view(-1, heads, width), x.double().view(-1, heads, width)
    summed, softmax = torch.zeros(rows, heads, width).double(), torch.zeros(total, heads).double()
    for edge in range(total):
        summed[at[edge]] += weight[edge].double()[:, None] * right[to[edge]]
    for row in set(at):
        softmax[at == row] = weight[at == row].double().softmax(0)
    expected = [
        a.double()[at] + b.double()[to],
        (left[at] * right[to]).sum(2),
        softmax,
        summed.flatten(1),
    ]
    for side in SIDES:
        found = [
            run(side, edge_add, edges, a, b),
            run(side, edge_dot, edges, y, x, heads),
            run(side, edge_softmax, edges, weight),
            run(side, weighted_sum, edges, weight, x),
        ]
        assert [tensor.dtype for tensor in found] == [wide, wide, wide, stored]
        for one, other in zip(found, expected, strict=True):
            assert one.shape == other.shape
            assert deviation(one, other) <= TOLERANCE[stored]


FUNCTIONS = {
    "add": (edge_add, [(5, 3), (7, 3)]),
    "dot": (lambda edges, y, x: edge_dot(edges, y, x, 3), [(5, 12), (7, 12)]),
    "softmax": (edge_softmax, [(25, 3)]),
    "weighted sum": (weighted_sum, [(25, 3), (7, 12)]),
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("function", "shapes"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_numbers_on_edges_are_differentiated_as_they_are_computed(side, function, shapes):
    edges = some_edges(5, 7, 25, 1)
    inputs = [normal(i, *shape).requires_grad_() for i, shape in enumerate(shapes)]
    assert run(side, gradcheck, lambda *tensors: function(edges, *tensors), inputs)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_gradients_on_edges_have_the_types_of_what_they_are_of(side, stored):
    edges = some_edges(9, 8, 50, 3)
    weight, x = normal(0, 50, 2).float(), normal(1, 8, 10).to(stored)
    found = run(side, with_gradients, lambda w, x: weighted_sum(edges, w, x), (weight, x), normal(2, 9, 10))
    assert [tensor.dtype for tensor in found] == [stored, torch.float32, stored]


@pytest.mark.parametrize("side", SIDES)
def test_the_softmax_of_a_hub_is_torchs(side):
    edges = Edges(CSR(torch.tensor([0, 100_000, 100_000]), torch.zeros(100_000, dtype=torch.int32), 1))
    logits, grad = normal(0, 100_000, 2) * 5, normal(1, 100_000, 2)
    expected = with_gradients(lambda z: z.softmax(0), (logits,), grad)
    found = run(side, with_gradients, lambda z: edge_softmax(edges, z), (logits.float(),), grad)
    for one, other in zip(found, expected, strict=True):
        assert deviation(one * 1e5, other * 1e5) < 4e-4


def test_exponentials_are_right_to_three_units_in_the_last_place():
    below = torch.linspace(-86, 0, 200_001)
    logits = torch.stack([torch.zeros_like(below), below], 1).reshape(-1, 1)
    pairs = Edges(CSR(torch.arange(0, logits.numel() + 1, 2), torch.zeros(logits.numel()).int(), 1))
    found = edge_softmax(pairs, logits)[1::2, 0].double()
    expected = torch.sigmoid(below.double())
    assert float(((found - expected) / expected).abs().max()) < 3 * 2**-23


# Beside other libraries.


@pytest.fixture(scope="module")
def dgl():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("dgl", reason="DGL is not installed")


@pytest.fixture(scope="module")
def pyg_conv():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("torch_geometric.nn", reason="PyG is not installed").GATConv


def looped_graph():
    pairs = torch.from_numpy(np.random.default_rng(3).integers(0, 40, (2, 300)))
    return Graph.from_edge_index(pairs, num_nodes=40).with_self_loops()


def our_layer(graph, weight, own, other, bias):
    """The published layer, straight: project, score, attend, add the bias."""
    edges, heads = Edges(graph.adjacency), own.shape[-2]

    def layer(x):
        z = x @ weight.t()
        by_head = z.view(len(z), heads, -1)
        scores = [(by_head * a.view(1, heads, -1)).sum(2) for a in (own, other)]
        return gat_attention(edges, z, *scores) + bias

    return layer


def assert_same_layer(graph, theirs, parameters, side):
    x, grad = normal(1, 40, 9), normal(2, 40, 20)
    torch.nn.init.normal_(parameters[3])
    expected = [out := theirs(x), *torch.autograd.grad(out, parameters, grad)]
    copies = [parameter.detach().clone().requires_grad_() for parameter in parameters]

    def ours():
        found = our_layer(graph, *copies)(x)
        return [found, *torch.autograd.grad(found, copies, grad)]

    torch.testing.assert_close(run(side, ours), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("side", SIDES)
def test_a_layer_is_that_of_dgl(side, dgl):
    graph = looped_graph()
    src, dst = graph.edge_index().long()
    torch.manual_seed(0)
    conv = dgl.nn.pytorch.GATConv(9, 5, 4).double()
    theirs = dgl.graph((src, dst), num_nodes=40)
    parameters = [conv.fc.weight, conv.attn_r, conv.attn_l, conv.bias]
    assert_same_layer(graph, lambda x: conv(theirs, x).flatten(1), parameters, side)


@pytest.mark.parametrize("side", SIDES)
def test_a_layer_is_that_of_pyg(side, pyg_conv):
    graph = looped_graph()
    torch.manual_seed(0)
    conv = pyg_conv(9, 5, heads=4, add_self_loops=False).double()
    parameters = [conv.lin.weight, conv.att_dst, conv.att_src, conv.bias]
    pairs = graph.edge_index().long()
    assert_same_layer(graph, lambda x: conv(x, pairs), parameters, side)


@pytest.mark.parametrize("side", SIDES)
def test_the_softmax_over_edges_is_that_of_dgl(side, dgl):
    graph = looped_graph()
    edges = Edges(graph.adjacency)
    theirs = dgl.graph((edges.sources, edges.destinations), num_nodes=40)
    logits = normal(0, graph.num_edges, 3)
    expected = dgl.nn.functional.edge_softmax(theirs, logits)
    torch.testing.assert_close(run(side, edge_softmax, edges, logits), expected, rtol=1e-12, atol=0)


def test_the_layers_that_are_timed_are_one_layer(dgl, pyg_conv, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[1])  # experiments/ is not installed
    from experiments.kernels import attention as timed

    makers = {"dgl": timed.dgl_layer, "pyg": timed.pyg_layer}
    result = timed.compared(looped_graph(), normal(0, 40, 9).float(), 3, 8, 1, makers)
    assert max(result[side]["deviation"] for side in makers) < 1e-4
    assert all(result[side]["seconds"] > 0 for side in ("gcnsys", *makers))
    assert timed.table({"whole": result, "share": result}).count("dgl") == 2


# What does not fit.


EDGES = Edges(CSR(torch.tensor([0, 2, 3]), torch.tensor([0, 2, 1], dtype=torch.int32), 3))
X, OWN, OTHER, ON_EDGES = torch.ones(3, 4), torch.ones(2, 2), torch.ones(3, 2), torch.ones(3, 2)
IDS = torch.arange(3)
KEY = DropoutKey(0, 0, 0)

MISFITS = {
    "features of integers": (gat_attention, (X.long(), OWN, OTHER), "x must be float32, float64 or bfloat16"),
    "half features": (gat_attention, (X.half(), OWN, OTHER), "x must be float32, float64 or bfloat16"),
    "too few sources": (gat_attention, (X[:2], OWN, OTHER), r"x must have shape \[3, .*, got \[2, 4\]"),
    "a width that heads cannot share": (gat_attention, (X[:, :3], OWN, OTHER), "multiple of 2 columns"),
    "one dimension": (gat_attention, (X[0], OWN, OTHER), r"x must have shape .*, got \[4\]"),
    "scores of another type": (gat_attention, (X, OWN.double(), OTHER), "destination must be torch.float32"),
    "narrow scores": (gat_attention, (X.bfloat16(), OWN, OTHER.bfloat16()), "source must be torch.float32"),
    "other heads": (gat_attention, (X, OWN[:, :1], OTHER), "destination must have 2 columns as source has"),
    "too many destinations": (gat_attention, (X, OTHER, OTHER), r"destination must have shape \[2, "),
    "no heads": (gat_attention, (X, OWN[:, :0], OTHER[:, :0]), r"source must have shape \[3, at least 1\]"),
    "another device": (gat_attention, (X.to("meta"), OWN, OTHER), "x lies on meta, the edges on cpu"),
    "shares of edges": (edge_add, (OWN, OTHER.long()), "source must be torch.float32, got torch.int64"),
    "shares of other heads": (edge_add, (OWN[:, :1], OTHER), "destination must have 2 columns"),
    "rows of another width": (lambda e, y, x: edge_dot(e, y, x, 2), (X[:2, :2], X), "y must have 4 columns"),
    "no heads of a product": (lambda e, y, x: edge_dot(e, y, x, 0), (X[:2], X), "at least one head, got 0"),
    "too few logits": (edge_softmax, (ON_EDGES[:2],), r"logits must have shape \[3, at least 1\]"),
    "narrow logits": (edge_softmax, (ON_EDGES.bfloat16(),), "logits must be torch.float32"),
    "too few weights": (weighted_sum, (ON_EDGES[:1], X), r"weight must have shape \[3, at least 1\]"),
    "weights of another type": (weighted_sum, (ON_EDGES.double(), X), "weight must be torch.float32"),
    "weights on another device": (weighted_sum, (ON_EDGES.to("meta"), X), "weight lies on meta"),
}  # fmt: skip


@pytest.mark.parametrize(("function", "arguments", "told"), MISFITS.values(), ids=MISFITS)
def test_what_does_not_fit_is_refused(function, arguments, told):
    with pytest.raises(InputError, match=told):
        function(EDGES, *arguments)


def test_dropout_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"dropout must be in \[0, 1\), got 1"):
        EdgeDropout(KEY, 1.0, IDS, IDS)
    for ids in ((IDS, IDS), (IDS[:2], IDS[:2]), (IDS[:2], IDS.to("meta"))):
        with pytest.raises(InputError, match=r"dropout needs (source|destination) ids \[[23]\] on cpu, got"):
            gat_attention(EDGES, X, OWN, OTHER, dropout=EdgeDropout(KEY, 0.5, *ids))


def test_edges_that_are_none_are_refused():
    with pytest.raises(InputError, match="edges: an entry names column 2"):
        Edges(CSR(torch.tensor([0, 1]), torch.tensor([2]), 2))
    with pytest.raises(InputError, match="a symmetric pattern is square, got 2 x 3"):
        Edges(EDGES.csr, symmetric=True)


CALLS = {
    "attention": {"x": X, "destination": OWN, "source": OTHER, "slope": 0.2, "out": X[:2].clone(),
                  "normalizer": OWN.clone(), "derivative": X[:2].clone()},
    "attention_gradient": {"x": X[:2], "grad": X, "destination": OTHER, "source": OWN, "normalizer": OTHER,
                           "slope": 0.2, "out": X, "derivative": X, "grad_x": X[:2].clone(),
                           "grad_destination": OTHER.clone(), "grad_source": OWN.clone()},
    "weighted_sum": {"weight": ON_EDGES, "x": X, "out": X[:2].clone()},
    "edge_dot": {"y": X[:2], "x": X, "out": ON_EDGES.clone()},
    "edge_add": {"destination": OWN, "source": OTHER, "out": ON_EDGES.clone()},
    "edge_softmax": {"logits": ON_EDGES, "out": ON_EDGES.clone()},
    "edge_softmax_gradient": {"alpha": ON_EDGES, "grad": ON_EDGES, "out": ON_EDGES.clone()},
}  # fmt: skip


@needs_core
@pytest.mark.parametrize("name", CALLS)
def test_the_core_refuses_every_array_that_does_not_fit(name):
    call = getattr(EDGES.pattern, name)
    call(**CALLS[name])
    for key, array in CALLS[name].items():
        if key == "slope":
            continue
        wide = torch.ones(array.shape[0], 2 * array.shape[1] + 1)
        wrong = [array.long(), array[:1], array[0], wide, array.t().contiguous().t()]
        if key not in ("x", "y", "grad"):
            wrong.append(wide[:, : array.shape[1]])
        for other in wrong:
            with pytest.raises(ValueError, match=r"must (be|have)|wrong dtype"):
                call(**(CALLS[name] | {key: other}))


@needs_core
def test_the_core_refuses_half_a_mask():
    words = torch.zeros(3, dtype=torch.int32)
    for given_words in ({"a": words[:2]}, {"a": words[:2], "b": words[:2], "words": words[:1]}):
        with pytest.raises(ValueError, match="words"):
            EDGES.pattern.attention(**CALLS["attention"], **given_words)


@needs_core
@pytest.mark.parametrize("vector", ["baseline", "avx2"])
def test_every_vector_width_that_runs_here_computes_the_same(vector):
    script = (
        "import torch\n"
        "from gcnsys.graph import CSR\n"
        "from gcnsys.kernels.attention import gat_attention\n"
        "from gcnsys.kernels.edges import Edges\n"
        "torch.manual_seed(0)\n"
        "edges = Edges(CSR(torch.arange(0, 2001, 20), torch.randint(0, 90, (2000,)), 90))\n"
        "for dtype, close in ((torch.float32, 1e-5), (torch.float64, 1e-12)):\n"
        "    x, a, b = (torch.randn(n, w, dtype=dtype, requires_grad=True)\n"
        "               for n, w in ((90, 2 * 37), (100, 2), (90, 2)))\n"
        "    rows = torch.arange(100).repeat_interleave(20)\n"
        "    logits = torch.nn.functional.leaky_relu(a[rows] + b[edges.sources], 0.2)\n"
        "    p = logits.view(100, 20, 2).softmax(1)\n"
        "    y = torch.einsum('reh,rehd->rhd', p, x[edges.sources].view(100, 20, 2, 37)).flatten(1)\n"
        "    z = gat_attention(edges, x, a, b)\n"
        "    g = torch.randn_like(y)\n"
        "    pairs = zip(torch.autograd.grad(y, (x, a, b), g), torch.autograd.grad(z, (x, a, b), g))\n"
        "    assert max(float((one - other).abs().max()) for one, other in [(y, z), *pairs]) < 10 * close\n"
        "import gcnsys.kernels._core as core; print(core.VECTOR)"
    )
    environment = os.environ | {"GCNSYS_VECTOR": vector}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in (vector, "baseline")


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("stored", list(TOLERANCE))
@pytest.mark.parametrize(("heads", "width"), [(1, 1), (2, 3), (3, 16), (2, 33), (1, 130)])
def test_leaky_dot_and_its_gradients_equal_dense_float64(side, stored, heads, width):
    edges, wide = some_edges(23, 17, 120, 3), backend.summed(stored)
    y, x = (normal(n, rows, heads * width).to(stored) for n, rows in ((0, 23), (1, 17)))
    vector, grad = normal(2, heads, width).to(wide), normal(4, edges.csr.num_edges, heads).to(wide)
    mine = [tensor.clone().requires_grad_() for tensor in (y, x, vector)]
    out = run(side, leaky_dot, edges, *mine, slope=0.3)
    run(side, out.backward, grad)
    exact = [tensor.double().clone().requires_grad_() for tensor in (y, x, vector)]
    sums = (exact[0][edges.destinations] + exact[1][edges.sources]).view(-1, heads, width)
    dense = (torch.where(sums < 0, 0.3 * sums, sums) * exact[2]).sum(2)
    dense.backward(grad.double())
    for found, wanted in (
        (out.detach(), dense.detach()),
        *((a.grad, b.grad) for a, b in zip(mine, exact, strict=True)),
    ):
        scale = float(wanted.abs().max()) or 1.0
        assert float((found.double() - wanted).abs().max()) / scale < TOLERANCE[stored] * 4


@needs_core
@pytest.mark.parametrize("threads", [2, 3])
def test_leaky_dot_gives_the_same_bits_with_any_number_of_threads(threads):
    edges, found = some_edges(200, 150, 3000, 5), []
    for count in (1, threads):
        torch.set_num_threads(count)
        tensors = [
            normal(n, *shape).float().requires_grad_()
            for n, shape in enumerate(((200, 40), (150, 40), (2, 20)))
        ]
        out = leaky_dot(edges, *tensors)
        out.square().sum().backward()
        found.append([out.detach(), *(tensor.grad for tensor in tensors)])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


BAD_LEAKY = {
    "too few heads' features": (lambda y, x, v: (y, x, v[:, :2]), "y and x must have 4 columns"),
    "another type": (lambda y, x, v: (y, x, v.double()), "vector must be"),
    "too few rows": (lambda y, x, v: (y[:-1], x, v), "y must have shape"),
    "one dimension": (lambda y, x, v: (y, x, v[0]), "vector must be"),
}


@pytest.mark.parametrize("case", BAD_LEAKY)
def test_what_does_not_fit_a_leaky_dot_is_refused(case):
    change, sentence = BAD_LEAKY[case]
    tensors = change(torch.ones(23, 6), torch.ones(17, 6), torch.ones(2, 3))
    with pytest.raises(InputError, match=sentence):
        leaky_dot(some_edges(23, 17, 50, 1), *tensors)


def test_a_factor_of_zero_beside_which_all_others_vanish_leaves_them_a_softmax():
    csr = CSR(torch.tensor([0, 3]), torch.tensor([0, 1, 2], dtype=torch.int32), 3)
    edges = Edges(csr)
    logits = torch.tensor([[500.0], [1.0], [0.0]])
    factors = torch.tensor([0.0, 1.0, 0.5], requires_grad=True)
    edges.factors = factors
    shares = edge_softmax(edges, logits)
    wanted = torch.tensor([0.0, math.e, 0.5]) / (math.e + 0.5)
    torch.testing.assert_close(shares[:, 0].detach(), wanted)
    (gradient,) = torch.autograd.grad((shares[:, 0] * torch.tensor([1.0, 2.0, 3.0])).sum(), factors)
    assert bool(gradient.isfinite().all())
    # That of the last one is the quotient rule's.
    expected = (3 * (math.e + 0.5) - (2 * math.e + 1.5)) / (math.e + 0.5) ** 2
    assert float(gradient[2]) == pytest.approx(expected, rel=1e-5)
