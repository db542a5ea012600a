"""The halo exchange is a linear map: its forward, its transpose, and the bytes it sends.

Hypothesis draws a graph, an assignment and a seed; values come from that seed's normal generator.
"""

from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import NUM_CLASSES, NUM_FEATURES, assigned, both_views, small
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.graph import Graph, toy
from gcnsys.kernels import LocalBlock
from gcnsys.nn import ModelSettings, build_model
from gcnsys.partition import cut, cut_dataset
from gcnsys.runtime import PartBlock
from gcnsys.runtime.choices import Choices
from gcnsys.runtime.exchange import Exchange
from gcnsys.testing.ranks import run_ranks
from gcnsys.train import Task, Trainer

WIDTH = 3


@dataclass(frozen=True)
class Drawn:
    """A graph, its dense adjacency (rows receive), an assignment, and where values come from."""

    graph: Graph
    dense: Tensor
    assignment: Tensor
    num_parts: int
    seed: int

    def normal(self, number: int, *shape: int) -> Tensor:
        generator = torch.Generator().manual_seed(1000 * self.seed + number)
        return torch.randn(*shape, generator=generator, dtype=torch.float64)


@st.composite
def cuts(draw, max_parts=4):
    nodes = draw(st.integers(1, 12))
    ends = st.integers(0, nodes - 1)
    pairs = draw(st.lists(st.tuples(ends, ends), max_size=40, unique=True))
    seed = draw(st.integers(0, 999))
    dense = torch.zeros(nodes, nodes, dtype=torch.float64)
    for source, destination in pairs:
        dense[destination, source] = 1
    if draw(st.booleans()):
        dense = ((dense + dense.T) > 0).double()
    weighted = draw(st.booleans())
    if weighted:
        values = torch.rand(nodes, nodes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        dense = dense * (0.2 + (values + values.T))
    receiver, sender = dense.nonzero(as_tuple=True)
    weight = dense[receiver, sender] if weighted else None
    graph = Graph.from_edge_index(torch.stack([sender, receiver]), num_nodes=nodes, weight=weight)
    num_parts = draw(st.integers(1, max_parts))
    part = st.integers(0, num_parts - 1)
    assignment = torch.tensor(draw(st.lists(part, min_size=nodes, max_size=nodes)))
    return Drawn(graph, dense, assignment, num_parts, seed)


def matrix(dense: Tensor, kind: str) -> Tensor:
    """What an aggregation multiplies by, from its definition."""
    if kind == "sum":
        return dense
    if kind == "mean":
        return torch.nan_to_num(dense / dense.sum(1, keepdim=True), nan=0.0)
    looped = dense + torch.diag((dense.diag() == 0).double())
    receiver = looped.sum(1)
    sender = receiver if kind == "gcn:symmetric" else looped.sum(0)
    return looped / (receiver[:, None] * sender[None, :]).sqrt()


def aggregate(block, kind: str, x: Tensor) -> Tensor:
    name, _, norm = kind.partition(":")
    return getattr(block, name)(x, *([norm] if norm else []))


KINDS = ["sum", "mean", "gcn:symmetric", "gcn:out-in"]


def on_ranks(drawn: Drawn, body, schedule="sync"):
    """Run ``body(block, ids of its inner nodes)`` on every rank's block."""
    parts = cut(drawn.graph, drawn.assignment, drawn.num_parts)

    def on_rank(comm):
        part = parts[comm.rank]
        exchange = Exchange(part, comm, Choices(schedule=schedule))
        return body(PartBlock(part, comm).through(exchange), part.inner_ids)

    return run_ranks(drawn.num_parts, on_rank, timeout=10)


def relative(a: Tensor, b: Tensor) -> float:
    scale = max(1.0, float(b.abs().max())) if b.numel() else 1.0
    return float((a - b).abs().max()) / scale if b.numel() else 0.0


@given(cuts())
def test_an_exchanged_aggregation_is_the_dense_product_and_its_gradient_the_transposed_one(drawn):
    size = len(drawn.dense)
    x, g = drawn.normal(0, size, WIDTH), drawn.normal(1, size, WIDTH)

    def body(block, ids):
        found = {}
        for kind in KINDS:
            mine = x[ids].requires_grad_()
            y = aggregate(block, kind, mine)
            y.backward(g[ids])
            found[kind] = ids, y.detach(), mine.grad
        return found

    ranks = on_ranks(drawn, body)
    for kind in KINDS:
        y, grad = torch.full_like(x, torch.nan), torch.full_like(x, torch.nan)
        for rank in ranks:
            ids, rows, rank_grad = rank[kind]
            y[ids], grad[ids] = rows, rank_grad
        dense = matrix(drawn.dense, kind)
        assert relative(y, dense @ x) < 1e-12
        assert relative(grad, dense.T @ g) < 1e-12


@pytest.mark.parametrize("schedule", ["sync", "overlap"])
@given(cuts())
def test_the_backward_of_every_exchange_is_the_adjoint_of_its_forward(schedule, drawn):
    size = len(drawn.dense)

    def body(block, ids):
        found = {}
        for number, kind in enumerate([*KINDS, "gather"]):
            x = drawn.normal(number, size, WIDTH)[ids].requires_grad_()
            forward = aggregate(block, kind, x)
            y = drawn.normal(100 + 10 * number + block.comm.rank, *forward.shape)
            forward.backward(y)
            found[kind] = torch.stack([(forward * y).sum(), (x * x.grad).sum()]).detach()
        return found

    ranks = on_ranks(drawn, body, schedule)
    for kind in ranks[0]:
        forward, backward = torch.stack([rank[kind] for rank in ranks]).sum(0).tolist()
        assert abs(forward - backward) <= 1e-11 * (1 + abs(forward)), kind


@given(cuts())
def test_waiting_for_the_halo_later_changes_no_bit(drawn):
    size = len(drawn.dense)

    def body(block, ids):
        found = []
        for kind in [*KINDS, "gather"]:
            x = drawn.normal(0, size, WIDTH)[ids].requires_grad_()
            y = aggregate(block, kind, x)
            y.backward(torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y))
            found += [y.detach(), x.grad]
        return found

    at_once, later = (on_ranks(drawn, body, schedule) for schedule in ("sync", "overlap"))
    for ours, theirs in zip(at_once, later, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@given(cuts())
def test_gather_brings_the_halo_rows_in_the_order_of_their_ids_and_gradients_add_up(drawn):
    size = len(drawn.dense)
    x, parts = drawn.normal(0, size, WIDTH), cut(drawn.graph, drawn.assignment, drawn.num_parts)

    def body(comm):
        part = parts[comm.rank]
        mine = x[part.inner_ids].requires_grad_()
        rows = PartBlock(part, comm).gather(mine)
        rows.backward(torch.ones_like(rows))
        assert torch.equal(rows, torch.cat([x[part.inner_ids], x[part.halo_ids]]))
        return part.inner_ids, part.halo_ids, mine.grad

    ranks = run_ranks(drawn.num_parts, body)
    copies = torch.ones(size, dtype=torch.float64)
    for _, halo, _ in ranks:
        copies[halo] += 1
    for inner, _, grad in ranks:
        assert torch.equal(grad, copies[inner, None].expand(-1, WIDTH))


@given(cuts(max_parts=1))
def test_gradients_on_one_rank_are_those_of_finite_differences(drawn):
    x = drawn.normal(0, len(drawn.dense), 2).requires_grad_()

    def body(block, ids):
        for kind in [*KINDS, "gather", "total"]:
            assert torch.autograd.gradcheck(lambda x, kind=kind: aggregate(block, kind, x), x)

    on_ranks(drawn, body)


@given(cuts(max_parts=1))
def test_one_part_is_the_whole_graph(drawn):
    x = drawn.normal(0, len(drawn.dense), WIDTH)
    local = LocalBlock.from_graph(drawn.graph)

    def body(block, ids):
        for kind in [*KINDS, "gather", "total", "own"]:
            assert torch.equal(aggregate(block, kind, x), aggregate(local, kind, x))

    on_ranks(drawn, body)


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_a_total_is_the_sum_over_ranks_and_so_is_its_gradient(num_ranks):
    generator = torch.Generator().manual_seed(0)
    x, g = (torch.randn(num_ranks, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    graph = toy.house()

    def body(comm):
        part = cut(graph, torch.arange(5) % num_ranks, num_ranks)[comm.rank]
        mine = x[comm.rank].clone().requires_grad_()
        total = PartBlock(part, comm).total(mine)
        total.backward(g[comm.rank])
        return total.detach(), mine.grad

    for total, grad in run_ranks(num_ranks, body):
        torch.testing.assert_close(total, x.sum(0))
        torch.testing.assert_close(grad, g.sum(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(cuts())
def test_the_bytes_sent_are_rows_times_width_times_itemsize(dtype, drawn):
    def body(block, ids):
        x = drawn.normal(0, ids.numel(), WIDTH).to(dtype).requires_grad_()
        y, sent = block.sum(x), block.comm.traffic.sent_bytes
        forth = sent["halo"]
        y.sum().backward()
        return forth, sent["halo"] - forth, block.plan.send_rows.numel(), block.plan.num_halo

    ranks = on_ranks(drawn, body)
    for forth, back, num_sent, num_halo in ranks:
        assert forth == num_sent * WIDTH * dtype.itemsize
        assert back == num_halo * WIDTH * dtype.itemsize
    crossing = {
        (int(drawn.assignment[v]), int(u))
        for v, u in drawn.dense.nonzero()
        if drawn.assignment[u] != drawn.assignment[v]
    }
    assert sum(rank[2] for rank in ranks) == sum(rank[3] for rank in ranks) == len(crossing)


def bytes_per_epoch(settings: ModelSettings, first_hop: str, *, sparse: bool = False):
    """A rank's halo bytes in its second epoch, boundary rows and halo rows; rank by rank."""
    made = small("directed", sparse=sparse)
    parts = cut_dataset(made.dataset, assigned(made, "random", 3), 3)

    def body(comm):
        part = parts[comm.rank]
        model = build_model(settings, NUM_FEATURES, NUM_CLASSES, seed=0)
        training, evaluation = both_views(
            part, model, comm, first_hop=first_hop, prune=False, dtype=torch.float32
        )
        optimizer = torch.optim.Adam(model.parameters())
        trainer = Trainer(model, training, evaluation, Task(False), optimizer, comm)
        *_, epoch = trainer.epochs(2)
        return epoch.halo_bytes, part.whole.plan.send_rows.numel(), part.whole.num_halo

    return run_ranks(3, body)


@pytest.mark.parametrize("model", ["gcn", "sage", "gin"])
@pytest.mark.parametrize(
    ("hidden", "side", "first_hop", "sparse", "widths_forth", "widths_back"),
    [
        # Layer 0 is 10 -> hidden, layer 1 hidden -> 4. Inputs have no gradient to send back.
        (6, "narrower", "off", False, [6, 4], [6, 4]),  # both shrink
        (3, "narrower", "off", False, [3, 3], [3, 3]),  # then it grows
        (14, "narrower", "off", False, [10, 4], [4]),  # grows, then shrinks
        (6, "input", "off", False, [10, 6], [6]),
        (14, "input", "off", False, [10, 14], [14]),
        (6, "narrower", "off", True, [6, 4], [6, 4]),
        (14, "input", "off", True, [14, 14], [14, 14]),  # sparse rows are projected before they leave
        (6, "narrower", "on", False, [4], [4]),  # a precomputed first hop sends nothing
        (14, "input", "on", False, [14], [14]),
    ],
)
def test_rows_cross_in_the_narrower_of_a_layers_two_widths(
    model, hidden, side, first_hop, sparse, widths_forth, widths_back
):
    settings = ModelSettings(model, 2, hidden, exchange_side=side)
    for sent, num_sent, num_halo in bytes_per_epoch(settings, first_hop, sparse=sparse):
        assert num_sent > 0
        assert num_halo > 0
        assert sent == 4 * (num_sent * sum(widths_forth) + num_halo * sum(widths_back))


def test_a_model_whose_only_hop_is_precomputed_sends_no_rows():
    settings = ModelSettings("sage", 2, 6, linear_layers=1)
    assert [sent for sent, *_ in bytes_per_epoch(settings, "on")] == [0, 0, 0]


def test_a_boundary_row_sent_to_two_peers_gets_both_their_gradients():
    graph = toy.star(2)  # the hub lies in the halo of both leaves

    def body(comm):
        block = PartBlock(cut(graph, torch.tensor([0, 1, 2]))[comm.rank], comm)
        x = torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
        block.sum(x).backward(torch.full((1, 1), 10.0**comm.rank, dtype=torch.float64))
        return float(x.grad)

    assert run_ranks(3, body) == [10 + 100, 1, 1]


@pytest.mark.parametrize("first_hop", ["on", "off"])
@pytest.mark.parametrize("inductive", [False, True])
def test_a_degree_that_is_not_positive_is_refused_by_every_rank_at_once(first_hop, inductive):
    made = small("weighted")
    graph = made.dataset.graph
    weight = graph.weight.clone()
    weight[graph.adjacency.rows() == 17] = -20.0  # lies on one rank only
    graph = Graph.from_edge_index(graph.edge_index(), num_nodes=graph.num_nodes, weight=weight)
    negative = replace(made.dataset, graph=graph)
    parts = cut_dataset(negative, assigned(made, "random", 3), 3, inductive=inductive)

    def body(comm):
        model = build_model(ModelSettings("gcn"), NUM_FEATURES, NUM_CLASSES, seed=0)
        try:
            both_views(parts[comm.rank], model, comm, first_hop=first_hop)
        except InputError as error:
            return str(error)

    told = run_ranks(3, body, timeout=10)
    assert len(set(told)) == 1
    assert "needs positive weighted degrees, but node 17 has -" in told[0]


def test_the_node_whose_degree_is_refused_is_the_graphs_where_it_lies_in_a_halo():
    pairs, weight = torch.tensor([[2, 1], [1, 2]]), torch.tensor([1.0, -9.0])
    graph = Graph.from_edge_index(pairs, num_nodes=3, weight=weight)

    def body(comm):
        block = PartBlock(cut(graph, torch.tensor([1, 1, 0]), 2)[comm.rank], comm)
        with pytest.raises(InputError, match="node 2 has -"):
            block.prepare("gcn:symmetric", torch.ones(1))

    run_ranks(2, body)
