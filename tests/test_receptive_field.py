"""What the wanted rows depend on, and the pruned blocks that compute just that, cut in any way."""

from itertools import pairwise

import torch
from hops import Case
from hypothesis import given
from hypothesis import strategies as st
from oracle import Recipe, aggregation

from gcnsys.graph import toy
from gcnsys.testing.graphs import assignments, graphs, normal

WIDTH = 3
AGGREGATIONS = {
    "gcn:symmetric": Recipe("gcn"),
    "gcn:out-in": Recipe("gcn", gcn_norm="out-in"),
    "mean": Recipe("sage"),
    "sum": Recipe("gin"),
}


@st.composite
def cases(draw, max_parts=4):
    graph = draw(graphs(max_nodes=12, max_edges=25))
    num_parts = draw(st.integers(1, max_parts))
    assignment = draw(assignments(graph.num_nodes, num_parts))
    wanted = draw(st.lists(st.booleans(), min_size=graph.num_nodes, max_size=graph.num_nodes))
    return Case(graph, assignment, num_parts, torch.tensor(wanted), draw(st.integers(1, 3)))


@given(cases())
def test_a_receptive_field_is_what_growing_it_hop_by_hop_finds(case):
    def body(field, blocks):
        ids = [block.input_ids.tolist() for block in blocks] + [blocks[-1].output_ids.tolist()]
        sent = [block.plan.send_rows.numel() for block in blocks]
        fed = [(int(block.plan.send_edges.sum()), block.graph.halo.num_edges) for block in blocks]
        for before, after in pairwise(blocks):
            assert torch.equal(before.output_ids, after.input_ids)
        return field, ids, sent, fed

    ranks, expected = case.on_ranks(body), case.sets()
    for field, *_ in ranks:
        assert field.computed == tuple(len(rows) for rows in expected[1:])
        assert field.total == case.graph.num_nodes
    for layer, rows in enumerate(expected):
        found = [node for _, ids, *_ in ranks for node in ids[layer]]
        assert len(found) == len(set(found))
        assert set(found) == rows
    for layer, rows in enumerate(expected[1:]):
        assert sum(sent[layer] for *_, sent, _ in ranks) == len(case.crossing(rows))
        feeding = [fed[layer] for *_, fed in ranks]
        assert sum(told for told, _ in feeding) == sum(there for _, there in feeding)


@given(cases())
def test_a_pruned_layer_is_rows_and_columns_of_the_dense_product_and_so_is_its_gradient(case):
    size, seed = case.graph.num_nodes, 5
    x, g = normal(seed, size, WIDTH), normal(seed + 1, size, WIDTH)

    def body(field, blocks):
        found = []
        for block in blocks:
            for kind in AGGREGATIONS:
                name, _, norm = kind.partition(":")
                mine = x[block.input_ids].requires_grad_()
                y = getattr(block, name)(mine, *([norm] if norm else []))
                y.backward(g[block.output_ids])
                found.append((block.input_ids, block.output_ids, y.detach(), mine.grad))
                assert torch.equal(block.own(mine), x[block.output_ids])
        return found

    ranks, sets = case.on_ranks(body), case.sets()
    products = [(layer, kind) for layer in range(case.depth) for kind in AGGREGATIONS]
    for number, (layer, kind) in enumerate(products):
        inputs, outputs = (sorted(sets[layer + step]) for step in (0, 1))
        y, grad = torch.full_like(x, torch.nan), torch.full_like(x, torch.nan)
        for rank in ranks:
            input_ids, output_ids, rows, rank_grad = rank[number]
            y[output_ids], grad[input_ids] = rows, rank_grad
        matrix = aggregation(AGGREGATIONS[kind], case.dense)[outputs]
        torch.testing.assert_close(y[outputs], matrix @ x, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(grad[inputs], (matrix.T @ g[outputs])[inputs], rtol=1e-12, atol=1e-12)


@given(cases())
def test_the_backward_of_a_pruned_exchange_is_the_adjoint_of_its_forward(case):
    def body(field, blocks):
        found = []
        for layer, block in enumerate(blocks):
            for number, kind in enumerate(("sum", "mean", "gcn", "gather")):
                seed = 100 * block.comm.rank + 10 * layer + number
                x = normal(seed, block.input_ids.numel(), WIDTH).requires_grad_()
                forward = getattr(block, kind)(x)
                y = normal(1000 + seed, *forward.shape)
                forward.backward(y)
                found.append(torch.stack([(forward * y).sum(), (x * x.grad).sum()]).detach())
        return torch.stack(found)

    for forward, backward in torch.stack(case.on_ranks(body)).sum(0).tolist():
        assert abs(forward - backward) <= 1e-11 * (1 + abs(forward))


def test_ranks_far_from_every_training_node_compute_nothing():
    graph = toy.grid(6, 1)  # a path; node 0 is trained on
    case = Case(graph, torch.tensor([0, 0, 1, 1, 2, 2]), 3, torch.arange(6) == 0, 2)

    def body(field, blocks):
        return [(b.output_ids.numel(), b.input_ids.numel(), b.plan.send_rows.numel()) for b in blocks]

    assert case.on_ranks(body) == [[(2, 2, 0), (1, 2, 0)], [(0, 1, 1), (0, 0, 0)], [(0, 0, 0), (0, 0, 0)]]


def test_layers_that_need_the_same_rows_share_a_graph():
    graph = toy.loner()  # a triangle and two nodes apart
    case = Case(graph, torch.tensor([0, 0, 0, 0, 1]), 2, torch.arange(5) == 0, 3)
    layers, nothing = case.on_ranks(lambda field, blocks: [block.graph for block in blocks])
    assert [layer.inner.num_rows for layer in layers] == [3, 3, 1]
    assert [layer.inner.num_rows for layer in nothing] == [0, 0, 0]
    assert [layer.is_symmetric for layer in layers] == [True, True, False]
    assert layers[0] is layers[1]
    assert layers[2].inner.indices.data_ptr() == layers[0].inner.indices.data_ptr()
