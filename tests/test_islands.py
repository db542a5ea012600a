"""Islands between hubs: what the published rounds give, for any numbering, and after a change."""

from itertools import pairwise, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gcnsys.islands.matrix as shared_matrix
import gcnsys.kernels.islands as kernel
from gcnsys.datasets import load
from gcnsys.errors import InputError
from gcnsys.graph import CSR, Graph
from gcnsys.islands import Islands, Rounds, locate, windows
from gcnsys.islands.matrix import SharedMatrix, shared_block
from gcnsys.islands.plan import check as check_plan
from gcnsys.islands.plan import looped
from gcnsys.islands.share import shared_sums
from gcnsys.kernels import LocalBlock, Matrix, sharing
from gcnsys.kernels.backend import core
from gcnsys.kernels.sharing import shared


def graph_of(num_nodes, pairs):
    ends = torch.tensor(sorted(pairs), dtype=torch.int64).reshape(-1, 2).T
    return Graph.from_edge_index(ends, num_nodes=num_nodes)


@st.composite
def graphs(draw):
    """Directed, with self-loops, hubs and lone nodes."""
    count = draw(st.integers(1, 24))
    node = st.integers(0, count - 1)
    hub = draw(node)
    pairs = draw(st.sets(st.tuples(node, st.one_of(node, st.just(hub))), max_size=60))
    return graph_of(count, pairs)


ROUNDS = st.builds(
    Rounds,
    cap=st.integers(1, 12),
    decay=st.sampled_from([0.0, 0.5, 0.9]),
    first=st.one_of(st.none(), st.integers(1, 8)),
)


def by_hand(graph, rounds):
    """Round by round, one breadth-first search after the other."""
    neighbours = [set() for _ in range(graph.num_nodes)]
    for source, end in graph.edge_index().T.tolist():
        if source != end:
            neighbours[source].add(end)
            neighbours[end].add(source)
    degree = [len(each) for each in neighbours]
    left, hubs, islands = set(range(graph.num_nodes)), set(), set()
    for threshold in [max(degree) + 1, *rounds.thresholds(max(degree))]:
        hubs |= {node for node in left if degree[node] >= threshold}
        left -= hubs
        seen = set()
        for start in sorted(left):
            if start in seen:
                continue
            island, query = [start], 0
            seen.add(start)
            while query < len(island):
                fresh = sorted(neighbours[island[query]] - hubs - seen)
                seen.update(fresh)
                island += fresh
                query += 1
            if len(island) <= rounds.cap:
                islands.add(frozenset(island))
        left -= set().union(*islands)
    assert not left
    return hubs, islands


def sets_of(found):
    islands = [torch.nonzero(found.island_of == number).flatten() for number in range(found.num_islands)]
    return set(found.hubs.tolist()), {frozenset(island.tolist()) for island in islands}


def check(found, rounds):
    """Islands and hubs part the nodes; no edge joins two islands; none is too large or in two pieces."""
    first, then = found.island_of[found.graph.edge_index().long()]
    assert bool(((first == then) | (first < 0) | (then < 0)).all())
    assert bool((found.sizes >= 1).all())
    assert bool((found.sizes <= rounds.cap).all())
    assert int(found.sizes.sum()) + found.hubs.numel() == found.graph.num_nodes
    inside, beside = first == then, (first < 0) != (then < 0)
    covered = int((inside & (first >= 0)).sum()) + int(beside.sum()) + found.inter_hub.shape[1]
    assert covered == found.graph.num_edges
    layout = found.layout()
    hubs, *islands = layout.order.split(layout.group_ptr.diff().tolist())
    assert sorted(hubs.tolist()) == found.hubs.tolist()
    assert {frozenset(island.tolist()) for island in islands} == sets_of(found)[1]


@given(graphs(), ROUNDS)
def test_tasks_and_edges_between_hubs_are_the_graph(graph, rounds):
    found = locate(graph, rounds)
    entries = torch.zeros(graph.num_nodes, graph.num_nodes, dtype=torch.int64)
    for island in range(found.num_islands):
        nodes, bits = found.bitmap(island)
        entries[nodes[:, None], nodes] += bits.long()
    entries[found.inter_hub[1].long(), found.inter_hub[0].long()] += 1
    entries[found.hubs, found.hubs] += 1
    assert entries.tolist() == looped(found.graph).to_scipy().toarray().tolist()


@given(graphs(), ROUNDS)
def test_islands_are_those_of_the_published_rounds(graph, rounds):
    found = locate(graph, rounds)
    assert sets_of(found) == by_hand(graph, rounds)
    check(found, rounds)


@given(graphs(), ROUNDS)
def test_torch_finds_the_same_islands(graph, rounds):
    native = locate(graph, rounds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "core", lambda: None)
        assert torch.equal(locate(graph, rounds).island_of, native.island_of)


@given(graphs(), ROUNDS, st.randoms(use_true_random=False))
def test_islands_do_not_depend_on_numbers(graph, rounds, random):
    order = torch.tensor(random.sample(range(graph.num_nodes), graph.num_nodes))
    hubs, islands = sets_of(locate(graph.induced(order), rounds))
    back = order.tolist()
    renamed = {back[node] for node in hubs}, {frozenset(back[node] for node in island) for island in islands}
    assert renamed == sets_of(locate(graph, rounds))


@given(graphs(), ROUNDS, st.data())
def test_a_changed_graph_keeps_its_islands_apart(graph, rounds, data):
    node = st.integers(0, graph.num_nodes - 1)
    pairs = set(map(tuple, graph.edge_index().T.tolist()))
    gone = data.draw(st.sets(st.sampled_from(sorted(pairs)), max_size=5)) if pairs else set()
    changed = graph_of(graph.num_nodes, pairs - gone | data.draw(st.sets(st.tuples(node, node), max_size=5)))
    before = locate(graph, rounds)
    after = before.updated(changed, rounds)
    check(after, rounds)
    assert set(before.hubs.tolist()) <= set(after.hubs.tolist())
    for island in sets_of(after)[1]:
        assert all(sets_connected(after.graph, island))
    assert torch.equal(before.updated(graph, rounds).island_of, before.island_of)


def sets_connected(graph, island):
    """Of each member whether the first one reaches it."""
    first, *_ = island
    reached, edges = {first}, graph.edge_index().T.tolist()
    for _ in island:
        reached |= {end for source, end in edges if source in reached and end in island}
    return [node in reached for node in island]


def test_numbers_of_64_bits_do():
    graph = graph_of(6, {(0, 1), (1, 2), (3, 4)})
    csr = graph.adjacency
    wide = Graph(CSR(csr.indptr, csr.indices.long(), csr.num_cols), False)
    assert sets_of(locate(wide)) == sets_of(locate(graph))


def test_nothing_at_all_has_no_islands():
    found = locate(graph_of(0, set()))
    assert found.num_islands == 0
    assert found.summary()["largest_island"] == 0
    assert locate(graph_of(3, set())).num_islands == 3


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"cap": 0}, "cap must be at least 1 node, got 0"),
        ({"decay": 1.0}, r"decay must be in \[0, 1\), got 1.0"),
        ({"first": 0}, "first threshold must be at least 1, got 0"),
    ],
)
def test_rounds_are_checked(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        Rounds(**settings)


def test_a_change_keeps_the_nodes():
    with pytest.raises(InputError, match="islands of 3 nodes got a graph of 4"):
        locate(graph_of(3, {(0, 1)})).updated(graph_of(4, set()), Rounds())


@given(graphs(), ROUNDS, st.integers(2, 5))
def test_windows_stand_for_the_graph_and_never_lose(graph, rounds, k):
    found = locate(graph, rounds)
    before = looped(found.graph).num_edges
    for plan in (windows.published(found, k), windows.exact(found, k)):
        assert operations(plan) == check_plan(plan, looped(found.graph)).count(before).after
    assert windows.exact(found, k).count(before).after <= before


def operations(plan):
    """Accumulations, entry by entry."""
    terms = [len(set(row)) for row in rows_of(plan.rows)]
    sums = [len(set(row)) for level in plan.levels for row in rows_of(level)]
    return sum(terms) + sum(size - 1 for size in sums)


def rows_of(csr):
    bounds = csr.indptr.tolist()
    return [csr.indices[low:high].tolist() for low, high in pairwise(bounds)]


def test_the_sum_of_twins_is_made_once():
    graph = graph_of(7, {(twin, hub) for twin in (0, 1) for hub in range(2, 7)} | {(0, 1)})
    found = Islands(locate(graph).graph, torch.tensor([0, 0, -1, -1, -1, -1, -1]))
    plan = check_plan(windows.exact(found), looped(found.graph))
    assert rows_of(plan.levels[0]) == [[0, 1], [2, 3], [4, 5]]
    # All seven rows hold both twins, two hold each pair of hubs; a sum takes one operation to make.
    assert looped(found.graph).num_edges - plan.count(0).after == (7 - 1) + (2 - 1) + (2 - 1)


def test_a_plan_that_is_wrong_is_refused():
    found = locate(graph_of(4, {(0, 1), (1, 2), (2, 3)}))
    plan = windows.exact(found)
    other = locate(graph_of(4, {(0, 1), (1, 2)}))
    with pytest.raises(InputError, match="wrong for row 2 of 4"):
        check_plan(plan, looped(other.graph))
    with pytest.raises(InputError, match="at least 2 nodes, got 1"):
        windows.exact(found, 1)


@pytest.mark.parametrize(("name", "least"), [("cora", 0.09), ("citeseer", 0.08), ("dblp_full", 0.0)])
def test_windows_on_real_graphs(data_folder, name, least):
    found = locate(load(f"npz:{data_folder / name}.npz").graph)
    check(found, Rounds())
    plan = check_plan(windows.exact(found), looped(found.graph))
    assert plan.count(looped(found.graph).num_edges).pruned >= least


@given(graphs(), st.integers(2, 4), st.integers(2, 9))
def test_shared_sums_stand_for_the_graph_and_never_lose(graph, least, reach):
    csr = looped(locate(graph).graph)
    plan = check_plan(shared_sums(csr, least=least, reach=reach), csr)
    assert operations(plan) == plan.count(csr.num_edges).after <= csr.num_edges
    reads = torch.zeros(plan.rows.num_cols, dtype=torch.int64)
    for part in (*plan.levels, plan.rows):
        reads += torch.bincount(part.indices.long(), minlength=reads.numel())
    assert bool((reads[graph.num_nodes :] >= 2).all()), "a sum that one reads is not shared"


@given(graphs(), st.integers(2, 4), st.integers(2, 9), st.sampled_from([0.0, 0.5, 0.9]))
def test_torch_shares_the_same_sums(graph, least, reach, decay):
    csr = looped(locate(graph).graph)
    sums, rows = shared(csr, least=least, reach=reach, decay=decay)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharing, "core", lambda: None)
        other_sums, other_rows = shared(csr, least=least, reach=reach, decay=decay)
    assert torch.equal(sums, other_sums)
    assert torch.equal(rows.indptr, other_rows.indptr)
    assert torch.equal(rows.indices, other_rows.indices)


@pytest.mark.parametrize("settings", [{"least": 1}, {"reach": 1}])
def test_sharing_takes_two(settings):
    with pytest.raises(InputError, match="at least 2 rows"):
        shared_sums(graph_of(2, {(0, 1), (1, 0)}).adjacency, **settings)


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("cora", 0.25), ("citeseer", 0.24), ("dblp_full", 0.27), ("coauthor_cs", 0.37),
        pytest.param("facebook_pages", 0.46, marks=pytest.mark.full),
        pytest.param("amazon_photo", 0.5, marks=pytest.mark.full),
        pytest.param("tolokers", 0.5, marks=pytest.mark.full),
    ],
)  # fmt: skip
def test_sums_shared_on_real_graphs(data_folder, name, least):
    csr = looped(locate(load(f"npz:{data_folder / name}.npz").graph).graph)
    plan = check_plan(shared_sums(csr), csr)
    assert plan.count(csr.num_edges).pruned >= least


@given(graphs(), st.integers(1, 70), st.sampled_from([torch.float32, torch.float64]), st.booleans())
def test_products_by_shared_sums_are_products(graph, width, dtype, by_windows):
    found = locate(graph)
    csr = looped(found.graph)
    plan = windows.exact(found) if by_windows else shared_sums(csr)
    matrix = SharedMatrix(csr, plan)
    numbers = torch.Generator().manual_seed(width)
    x, start = torch.randn(2, graph.num_nodes, width, dtype=dtype, generator=numbers)
    scales = torch.rand(2, graph.num_nodes, dtype=torch.float64, generator=numbers)
    dense = torch.from_numpy(csr.to_scipy().toarray()).double() * scales[0][:, None] * scales[1]
    exact, near = dense @ x.double(), 1e-4 if dtype == torch.float32 else 1e-12
    settings = {"row_scale": scales[0], "column_scale": scales[1]}
    for tile, ahead in product((4, 16, 32, 64), (False, True)):
        made = matrix.shared_times(x, tile=tile, ahead=ahead, **settings)
        assert torch.allclose(made.double(), exact, rtol=near, atol=near)
        added = matrix.shared_times(x, start.clone(), tile=tile, ahead=ahead, **settings)
        assert torch.allclose(added.double(), exact + start.double(), rtol=near, atol=near)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_matrix, "native_for", lambda *_: None)
        assert torch.allclose(matrix.shared_times(x, **settings).double(), exact, rtol=near, atol=near)
    assert torch.allclose(matrix.times(x, **settings).double(), exact, rtol=near, atol=near)


@pytest.mark.skipif(core() is None, reason="the native core was not built, or is switched off")
@pytest.mark.parametrize("width", [16, 70, 200])
def test_products_by_shared_sums_are_the_same_on_any_number_of_threads(width):
    numbers = torch.Generator().manual_seed(1)
    graph = Graph.from_edge_index(torch.randint(500, (2, 20_000), generator=numbers), num_nodes=500)
    csr = looped(locate(graph).graph)
    matrix, x = SharedMatrix(csr, shared_sums(csr)), torch.randn(500, width, generator=numbers)
    assert matrix.plan.num_shared
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(matrix.shared_times(x, tile=16))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize("aggregation", ["sum", "mean", "gcn"])
def test_a_block_shares_sums_forward_and_backward(aggregation, monkeypatch):
    pairs = torch.randint(40, (2, 900), generator=torch.Generator().manual_seed(1))
    graph = Graph.from_edge_index(pairs, num_nodes=40).symmetrized()
    block = shared_block(graph, shared_sums(graph.adjacency))
    monkeypatch.setattr(block.matrix, "_way", lambda x: (8, True))
    exact = LocalBlock.from_graph(graph)
    x = torch.randn(40, 33, dtype=torch.float64, requires_grad=True)
    other = x.detach().clone().requires_grad_()
    found, expected = getattr(block, aggregation)(x), getattr(exact, aggregation)(other)
    assert torch.allclose(found, expected, rtol=1e-12)
    grad = torch.randn_like(found)
    found.backward(grad)
    expected.backward(grad)
    assert torch.allclose(x.grad, other.grad, rtol=1e-12)


def test_sums_are_shared_where_that_is_faster(monkeypatch):
    graph = Graph.from_edge_index(torch.randint(40, (2, 900)), num_nodes=40).symmetrized()
    matrix = SharedMatrix(graph.adjacency, shared_sums(graph.adjacency))
    taken = [[2.0, 3.0, 3.0, 3.0, 1.0, 4.0, 4.0], [1.0, 3.0, 3.0, 2.0, 2.0, 4.0, 4.0]]  # plain, then six ways
    seconds = iter(taken)
    monkeypatch.setattr(shared_matrix, "_compared", lambda plain, x, shared: next(seconds))
    monkeypatch.setattr(matrix, "_fits", lambda x: True)
    found = [matrix._way(torch.ones(40, width)) for width in (32, 64, 32)]
    assert found == [(32, True), (0, False), (32, True)]
    assert list(matrix.seconds.values()) == [(2.0, 1.0), (1.0, 2.0)]


@pytest.mark.skipif(core() is None, reason="without the native core")
@pytest.mark.parametrize("patience", [1e9, -1.0])
@pytest.mark.parametrize("true", [(2.0, 1.6, 1.0, 3.0), (1.0, 1.2, 1.5, 1.1)])
def test_ways_are_compared_in_turn_and_in_seconds(true, patience, monkeypatch):
    graph = Graph.from_edge_index(torch.randint(40, (2, 900)), num_nodes=40).symmetrized()
    plain, clock, gone = Matrix(graph.adjacency, symmetric=True), [0.0], []

    def way(place):
        def run(*_):
            cold = 5.0 if place not in gone else 0.0
            gone.append(place)
            clock[0] += true[place] + cold

        return run

    monkeypatch.setattr(plain, "times", way(0))
    monkeypatch.setattr(shared_matrix, "_PATIENCE", patience)
    for name in ("thread_time", "perf_counter"):
        monkeypatch.setattr(shared_matrix.time, name, lambda: clock[0])
    found = shared_matrix._compared(plain, torch.ones(40, 1), [way(place) for place in (1, 2, 3)])
    assert set(gone) == {0, 1, 2, 3}
    assert found == pytest.approx(list(true))  # what is run for the first time is not counted
    if patience > 0:
        assert len(gone) < 60
    else:
        assert len(gone) == 2 * len(true)


def test_sums_are_not_shared_where_edges_differ():
    graph = graph_of(3, {(0, 1), (1, 0)})
    plan = shared_sums(graph.adjacency)
    weighted = CSR(graph.adjacency.indptr, graph.adjacency.indices, 3, torch.ones(2))
    with pytest.raises(InputError, match="edges without weights"):
        SharedMatrix(weighted, plan)
    with pytest.raises(InputError, match="a plan for 3 nodes cannot be used for 4"):
        SharedMatrix(graph_of(4, set()).adjacency, plan)
    with pytest.raises(InputError, match="make the graph symmetric first"):
        shared_block(graph_of(3, {(0, 1)}), plan)
