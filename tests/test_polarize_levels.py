"""Aggregation on two levels: the same sums as by one, forward and backward, whatever is dense."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gcnsys.polarize.levels as two
from gcnsys.datasets import load
from gcnsys.errors import InputError
from gcnsys.graph import Graph, Layout
from gcnsys.kernels import LocalBlock, Matrix
from gcnsys.polarize.dense import dense_blocks
from gcnsys.polarize.levels import Levels, TwoLevelMatrix, density_threshold, two_level_block
from gcnsys.testing.graphs import graphs, normal, seeds


@st.composite
def laid_out_graphs(draw):
    graph = draw(graphs(max_nodes=12, max_edges=40))
    groups = draw(st.lists(st.integers(0, 2), min_size=graph.num_nodes, max_size=graph.num_nodes))
    layout = Layout.from_groups(torch.tensor(groups), 3)
    return layout.applied(graph), Layout(torch.arange(graph.num_nodes), layout.group_ptr)


@given(laid_out_graphs(), st.sampled_from([0.0, 0.2, 0.5, 2.0]), seeds())
def test_both_levels_add_up_to_the_plain_product(made, threshold, seed):
    graph, layout = made
    plain = LocalBlock.from_graph(graph)
    block = two_level_block(graph, layout, threshold=threshold)
    x = normal(seed, graph.num_nodes, 3).requires_grad_()
    upstream = normal(seed + 1, graph.num_nodes, 3)
    for name in ("sum", "mean", "gcn"):
        found, exact = (getattr(each, name)(x) for each in (block, plain))
        assert torch.allclose(found, exact, rtol=1e-10, atol=1e-12), name
        ours, theirs = (torch.autograd.grad((out * upstream).sum(), x)[0] for out in (found, exact))
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-12), name
    dense = [each for each in dense_blocks(graph.adjacency, layout) if each.density >= threshold]
    levels = block.matrix.levels(x)
    assert (levels is None) == (not dense)
    if levels is not None:
        inside = sum(each.edges for each in dense)
        assert levels.remainder.csr.num_edges == graph.num_edges - inside
        entries = sum(each.size**2 for each in dense)
        assert levels.products_per_nonzero == pytest.approx(entries / max(1, inside))


@given(laid_out_graphs(), st.booleans(), st.booleans(), st.booleans(), seeds())
def test_batches_of_padded_blocks_multiply_as_slices_do(made, rows, columns, added, seed):
    graph, layout = made
    count, x = graph.num_nodes, normal(seed, graph.num_nodes, 3)
    scales = [normal(seed + place, count) if given else None for place, given in ((1, rows), (2, columns))]
    whole = Matrix(graph.adjacency).times(x, row_scale=scales[0], column_scale=scales[1])
    start = normal(seed + 3, count, 3) if added else None
    for batched in (False, True):
        levels = Levels.of(graph.adjacency, dense_blocks(graph.adjacency, layout), x.dtype, batched=batched)
        found = levels.times(x, None if start is None else start.clone(), *scales)
        exact = whole if start is None else whole + start
        assert torch.allclose(found, exact, rtol=1e-10, atol=1e-12)


def test_the_faster_way_is_kept(monkeypatch):
    graph = load("digits").graph
    layout = Layout(torch.arange(graph.num_nodes), torch.tensor([0, 400, 900, graph.num_nodes]))
    monkeypatch.setattr(two, "density_threshold", lambda *_: 0.0)
    x = torch.randn(graph.num_nodes, 16)
    exact = Matrix(graph.adjacency).times(x)
    for seconds, faster in (((1.0, 2.0), False), ((2.0, 1.0), True)):
        monkeypatch.setattr(two, "_in_turn", lambda *_, taken=seconds: taken)
        matrix = TwoLevelMatrix(graph.adjacency, layout)
        assert (matrix.levels(x) is not None) == faster
        assert matrix.seconds == {(16, torch.float32, torch.get_num_threads()): seconds}
        assert torch.allclose(matrix.times(x), exact, rtol=1e-4, atol=1e-4)


def test_the_threshold_is_measured_and_no_block_may_reach_it():
    found = density_threshold(64, torch.float32, torch.device("cpu"), torch.get_num_threads())
    assert 0 < found <= 2
    graph = Graph.from_edge_index(torch.tensor([[0, 1], [1, 0]]), num_nodes=400)
    layout = Layout(torch.arange(400), torch.tensor([0, 200, 400]))
    assert TwoLevelMatrix(graph.adjacency, layout).levels(torch.randn(400, 64)) is None


def test_a_layout_of_another_graph_is_refused():
    graph = load("digits").graph
    with pytest.raises(InputError, match="a layout of 5 nodes"):
        two_level_block(graph, Layout(torch.arange(5), torch.tensor([0, 5])))
