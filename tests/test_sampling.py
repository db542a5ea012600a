"""Samplers: their promises, the probabilities of what they draw, and sums that are right on average."""

import math
from collections import Counter
from functools import partial
from itertools import combinations, permutations

import pytest
import torch
from scipy.stats import chi2

from gcnsys.errors import InputError
from gcnsys.graph import CSR, Graph
from gcnsys.kernels import LocalBlock
from gcnsys.kernels import neighbours as kernels
from gcnsys.kernels.backend import core
from gcnsys.kernels.dropout import DropoutKey, row_words
from gcnsys.kernels.ids import most_named, renumbered
from gcnsys.kernels.neighbours import EdgeWeights, Neighbours
from gcnsys.sampling import (
    LaborSampler,
    Moment,
    NeighbourSampler,
    Standard,
    WholeGraph,
)
from gcnsys.sampling.api import samplers
from gcnsys.testing.minibatch import check_sampler

DRAWS = 2000


def random_graph(nodes=50, edges=400, seed=0, **more):
    generator = torch.Generator().manual_seed(seed)
    return Graph.from_edge_index(
        torch.randint(nodes, (2, edges), generator=generator), num_nodes=nodes, **more
    )


def weighted(graph, standard, *, zeros=False):
    """A sampler by weights that differ."""
    edges = torch.arange(graph.graph.num_edges)
    weight = 1 + (edges * 7 % 5).double()
    if zeros:
        weight[edges % 3 == 0] = 0
    return NeighbourSampler(graph, standard, EdgeWeights(graph.graph.adjacency, weight))


MADE = {
    "neighbour": NeighbourSampler, "labor": LaborSampler, "weighted": weighted,
    "with zeros": partial(weighted, zeros=True),
}  # fmt: skip


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("name", MADE)
def test_a_sampler_keeps_its_promises(name, layers):
    check_sampler(MADE[name], layers=layers)


def test_names_are_known():
    assert {"neighbour", "labor"} <= set(samplers.names())
    assert samplers.get("labor") is LaborSampler


class Broken(NeighbourSampler):
    """Draws another sample whenever it is asked."""

    calls = 0

    def sample(self, seeds, moment):
        Broken.calls += 1
        return super().sample(seeds, Moment(moment.seed, Broken.calls))


class Forgetful(NeighbourSampler):
    def sample(self, seeds, moment):
        return super().sample(seeds[1:], moment)


@pytest.mark.parametrize(
    ("made", "sentence"),
    [(Broken, "same moment must give the same sample"), (Forgetful, "every seed must come")],
)
def test_the_check_notices_what_is_broken(made, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_sampler(made)


def sides(csr):
    """Draws by the core and by torch."""
    native, plain = Neighbours(csr), Neighbours(csr)
    plain.__dict__["_pattern"] = None
    return native, plain


@pytest.mark.skipif(core() is None, reason="the native core was not built, or is switched off")
@pytest.mark.parametrize("count", [0, 1, 3, 60, 200])
@pytest.mark.parametrize(("nodes", "edges"), [(50, 400), (200, 30_000), (7, 0)])
def test_the_core_and_torch_draw_the_same_with_any_number_of_threads(nodes, edges, count):
    csr, key = random_graph(nodes, edges).adjacency, DropoutKey(1, 2, 3)
    weight = (torch.arange(csr.num_edges) % 4).double()
    weights = EdgeWeights(csr, weight)
    some = torch.randperm(nodes, generator=torch.Generator().manual_seed(1))[: nodes * 2 // 3]
    rate = torch.linspace(0, 1, some.numel(), dtype=torch.float64)
    draws = {
        "uniform": lambda side: side.uniform(some, count, key),
        "repeated": lambda side: side.uniform(some, count, key, repeated=True),
        "weighted": lambda side: side.weighted(some, count, key, weights),
        "poisson": lambda side: side.poisson(some, rate, key),
        "between": lambda side: side.between(some, some.flip(0)[: nodes // 3]),
    }
    native, plain = sides(csr)
    before = torch.get_num_threads()
    for name, draw in draws.items():
        exact = draw(plain)
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found = draw(native)
            for part in ("indptr", "columns", "edges"):
                assert torch.equal(getattr(found, part), getattr(exact, part)), name
            for part in ("factor", "inverse"):
                if getattr(exact, part) is not None:
                    assert torch.allclose(getattr(found, part), getattr(exact, part), rtol=1e-12, atol=0)
    torch.set_num_threads(before)


@pytest.mark.skipif(core() is None, reason="the native core was not built, or is switched off")
@pytest.mark.parametrize("count", [1, 15, 16, 17, 48, 49, 1024, 1500])
@pytest.mark.parametrize("repeated", [False, True])
def test_rows_of_any_length_are_drawn_alike(count, repeated):
    lengths = [0, 5, 60, 1023, 1024, 1025, 4000] * 5
    indptr = torch.tensor([0, *lengths]).cumsum(0)
    csr = CSR(indptr, torch.arange(int(indptr[-1]), dtype=torch.int32), int(indptr[-1]))
    nodes, key = torch.arange(len(lengths)).flip(0), DropoutKey(3, 1, 4)
    native, plain = (side.uniform(nodes, count, key, repeated=repeated) for side in sides(csr))
    assert torch.equal(native.indptr, plain.indptr)
    assert torch.equal(native.edges, plain.edges)
    assert torch.equal(native.columns, plain.edges.to(torch.int32))


@pytest.mark.parametrize(("nodes", "edges"), [(50, 400), (9, 6), (7, 0)])
def test_a_step_leads_to_the_neighbour_that_its_number_names(nodes, edges):
    csr = random_graph(nodes, edges).adjacency
    units = (0.0, 0.3, 0.5, 1 - 2.0**-53)
    there = torch.arange(nodes).repeat_interleave(len(units)).flip(0)
    unit = torch.tensor(units, dtype=torch.float64).repeat(nodes).flip(0)
    expected = []
    for node, number in zip(there.tolist(), unit.tolist(), strict=True):
        known = csr.indices[csr.indptr[node] : csr.indptr[node + 1]].tolist()
        expected.append(known[int(number * len(known))] if known else -1)
    for side in sides(csr):
        assert side.step(there, unit).tolist() == expected
    with pytest.raises((ValueError, RuntimeError, IndexError)):
        sides(csr)[0].step(there + 1, unit)


@pytest.mark.parametrize("count", [-1, 0, 1, 3, 50])
@pytest.mark.parametrize(
    ("rows", "pairs", "step"), [(7, 300, 1), (40, 2000, 2**33 + 1), (3, 0, 1), (0, 0, 1)]
)
def test_those_that_are_named_most_are_kept(count, rows, pairs, step, monkeypatch):
    generator = torch.Generator().manual_seed(pairs)
    row = torch.randint(max(1, rows), (pairs,), generator=generator)
    ids = torch.randint(12, (pairs,), generator=generator) * step
    own, key = torch.arange(rows) * step, DropoutKey(1, 2, 3)
    words = row_words(key, own)
    found = []
    for module in (core(), None):
        monkeypatch.setattr(kernels, "core", lambda module=module: module)
        found.append(most_named(row, ids, own, count, words))
    for mine, theirs in zip(*found, strict=True):
        assert torch.equal(mine, theirs)
    indptr, named, times = (each.tolist() for each in found[0])
    for place in range(rows):
        counted = Counter(ids[row == place].tolist())
        del counted[own[place].item()]
        here = slice(indptr[place], indptr[place + 1])
        assert named[here] == sorted(named[here])
        assert [counted[name] for name in named[here]] == times[here]
        wanted = len(counted) if count == -1 else min(count, len(counted))
        assert sorted(times[here]) == sorted(counted.values())[len(counted) - wanted :]


@pytest.mark.parametrize("native", [False, True])
def test_chance_decides_among_those_named_equally_often(native, monkeypatch):
    if native and core() is None:
        pytest.skip("the native core was not built, or is switched off")
    if not native:
        monkeypatch.setattr(kernels, "core", lambda: None)
    rows, own = torch.arange(3000).repeat_interleave(6), torch.arange(10, 3010)
    ids = torch.tensor([0, 1, 2, 3, 4, 4]).repeat(3000)
    indptr, named, _ = most_named(rows, ids, own, 2, row_words(DropoutKey(0, 0, 0), own))
    assert indptr.diff().eq(2).all()
    counts = named.bincount().tolist()
    assert counts[4] == 3000
    assert all(abs(count - 750) < 5 * (750 * 0.75) ** 0.5 for count in counts[:4])


@pytest.mark.parametrize("universe", [60, 10**6])
def test_numbers_are_given_in_the_order_of_names(universe, monkeypatch):
    nodes, columns = torch.tensor([9, 3, 50]), torch.tensor([3, 7, 7, 50, 1, 9], dtype=torch.int32)
    for module in (core(), None):
        monkeypatch.setattr(kernels, "core", lambda module=module: module)
        ids, local = renumbered(nodes, columns, universe)
        assert ids.tolist() == [9, 3, 50, 7, 1]
        assert local.tolist() == [1, 3, 3, 2, 4, 0]


def test_numbers_of_many_ids_fit(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    nodes = torch.randperm(5000, generator=generator)[:100] * 1_000_003
    columns = torch.randint(5000, (20_000,), generator=generator) * 1_000_003
    native = renumbered(nodes, columns, 2**40)
    monkeypatch.setattr(kernels, "core", lambda: None)
    for mine, theirs in zip(native, renumbered(nodes, columns, 2**40), strict=True):
        assert torch.equal(mine, theirs)
    assert torch.equal(native[0][native[1].long()], columns)


def chi_square(counts, expected):
    """The chance of counts at least as far from those that are expected."""
    total = sum(counts.values())
    off = sum(
        (counts.get(what, 0) - total * share) ** 2 / (total * share) for what, share in expected.items()
    )
    assert set(counts) <= set(expected)
    return chi2.sf(off, len(expected) - 1)


def star(leaves):
    """Every leaf sends to node 0."""
    pairs = torch.stack([torch.arange(1, leaves + 1), torch.zeros(leaves, dtype=torch.int64)])
    return Graph.from_edge_index(pairs, num_nodes=leaves + 1)


def drawn_sets(draw, draws):
    return Counter(tuple(draw(DropoutKey(5, step, 0)).columns.tolist()) for step in range(draws))


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(("leaves", "count"), [(6, 2), (7, 4), (5, 1)])
def test_every_set_is_equally_likely(leaves, count, side):
    picked, node = sides(star(leaves).adjacency)[side], torch.tensor([0])
    sets = list(combinations(range(1, leaves + 1), count))
    counts = drawn_sets(lambda key: picked.uniform(node, count, key), DRAWS)
    assert chi_square(counts, dict.fromkeys(sets, 1 / len(sets))) > 1e-3


def test_large_sets_hold_every_neighbour_equally_often():
    picked, node = Neighbours(star(300).adjacency), torch.tensor([0])
    counts = Counter()
    for step in range(400):
        found = picked.uniform(node, 100, DropoutKey(2, step, 0)).columns.tolist()
        assert len(set(found)) == 100
        counts.update(found)
    assert max(abs(times - 400 / 3) for times in counts.values()) < 5 * math.sqrt(400 * 2 / 9)


def test_draws_with_repetition_are_independent():
    picked, node = Neighbours(star(4).adjacency), torch.tensor([0])
    counts = drawn_sets(lambda key: picked.uniform(node, 2, key, repeated=True), DRAWS)
    expected = {(a, b): (1 if a == b else 2) / 16 for a in range(1, 5) for b in range(a, 5)}
    assert chi_square(counts, expected) > 1e-3


def test_weighted_draws_are_successive_draws_by_weight():
    weight = torch.tensor([1.0, 2.0, 4.0, 0.0, 1.0])
    csr, node = star(5).adjacency, torch.tensor([0])
    picked, weights = Neighbours(csr), EdgeWeights(csr, weight)
    expected = Counter()
    for order in permutations([0, 1, 2, 4], 2):
        rest, chance = float(weight.sum()), 1.0
        for place in order:
            chance *= float(weight[place]) / rest
            rest -= float(weight[place])
        expected[tuple(sorted(place + 1 for place in order))] += chance
    counts = drawn_sets(lambda key: picked.weighted(node, 2, key, weights), DRAWS)
    assert chi_square(counts, expected) > 1e-3


def test_labor_takes_each_edge_as_often_as_its_degree_says_and_shares_sources():
    graph = random_graph(30, 300)
    picked, nodes = Neighbours(graph.adjacency), torch.arange(30)
    rate = (3 / picked.degree.double()).clamp(max=1)
    times, draws = torch.zeros(graph.num_edges), 3000
    together, apart = 0, 0
    for step in range(draws):
        drawn = picked.poisson(nodes, rate, DropoutKey(0, step, 1))
        times[drawn.edges] += 1
        together += drawn.columns.unique().numel()
        apart += picked.uniform(nodes, 3, DropoutKey(0, step, 1)).columns.unique().numel()
    chance = rate[graph.adjacency.rows().long()]
    deviation = (times / draws - chance).abs() / (chance * (1 - chance) / draws).sqrt().clamp(min=1e-12)
    assert float(deviation[chance < 1].max()) < 4.5
    assert torch.equal(times[chance == 1], torch.full_like(times[chance == 1], draws))
    assert together < 0.8 * apart


def check_sums(make, standard, *, known):
    """Sums over many samples of one layer are on average those over all edges, by 4.8 standard errors."""
    weight = torch.rand(400, generator=torch.Generator().manual_seed(3)) + 0.2 if known else None
    graph = random_graph(weight=weight)
    sampler, seeds = make(WholeGraph(graph), standard), torch.arange(0, 50, 2)
    x = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    exact = [getattr(LocalBlock.from_graph(graph), name)(x)[seeds] for name in ("sum", "mean", "gcn")]
    drawn = []
    for step in range(DRAWS):
        block = sampler.sample(seeds, Moment(7, step)).blocks[0]
        rows = x[block.input_ids]
        drawn.append(torch.stack([block.sum(rows), block.mean(rows), block.gcn(rows)]))
    found = torch.stack(drawn)
    error = found.std(0) / math.sqrt(DRAWS)
    assert float(((found.mean(0) - torch.stack(exact)).abs() / error.clamp(min=1e-9)).max()) < 4.8
    assert float(found.std(0).amax((1, 2)).min()) > 0.05
    assert sampler.unbiased


@pytest.mark.parametrize("case", ["neighbour", "repeated", "labor", "weighted"])
@pytest.mark.parametrize("known", [False, True])
def test_sums_are_right_on_average(case, known):
    make = MADE.get(case, NeighbourSampler)
    check_sums(make, Standard(1, (3,), repeated=case == "repeated"), known=known)


def test_weights_of_zero_are_marked_biased():
    assert not weighted(WholeGraph(random_graph()), Standard(), zeros=True).unbiased


@pytest.mark.parametrize("name", ["neighbour", "labor"])
def test_all_neighbours_give_exact_rows(name):
    graph, seeds = random_graph(), torch.tensor([4, 9, 30])
    sampler = samplers.get(name)(WholeGraph(graph), Standard(2, (-1, -1)))
    sample = sampler.sample(seeds, Moment(0))
    x = torch.randn(50, 4, dtype=torch.float64)
    block = LocalBlock.from_graph(graph)
    exact = block.mean(block.gcn(x))[seeds]
    rows = sample.blocks[1].mean(sample.blocks[0].gcn(x[sample.input_ids]))
    assert torch.allclose(rows, exact)


def test_what_is_known_of_edges_comes_along():
    columns = {"edge_attr": torch.arange(400.0)[:, None], "edge_type": torch.arange(400) % 3}
    graph = random_graph(columns=columns)
    for name in ("neighbour", "labor"):
        sampler = samplers.get(name)(WholeGraph(graph), Standard(1, (2,)))
        block = sampler.sample(torch.arange(10), Moment(0)).blocks[0]
        edges = block.edges()
        there = {
            (*pair, kind): number
            for *pair, kind, number in zip(
                *graph.edge_index().tolist(), graph.adjacency.columns["edge_type"].tolist(),
                graph.adjacency.columns["edge_attr"][:, 0].tolist(), strict=True,
            )
        }  # fmt: skip
        sources, ends = block.input_ids[edges.sources], block.output_ids[edges.destinations]
        for source, end, kind, number in zip(
            sources.tolist(), ends.tolist(), edges.columns["edge_type"].tolist(),
            edges.columns["edge_attr"][:, 0].tolist(), strict=True,
        ):  # fmt: skip
            assert there[source, end, kind] == number


THREE = star(3).adjacency
REFUSED = {
    "a fan-out of 0": (lambda: Standard(2, (5, 0)), "must be at least 1, or -1 for all neighbours, got 0"),
    "a negative one": (lambda: Standard(1, (-2,)), "got -2"),
    "too few": (lambda: Standard(3, (5, 5)), "3 layers need as many fan-outs, got 2: 5,5"),
    "no layer": (lambda: Standard(0, ()), "at least one layer, got 0"),
    "no budget": (lambda: Standard(budget=0), "budget must be at least 1, got 0"),
    "negative weights": (lambda: EdgeWeights(THREE, torch.tensor([1, -1, 2])), "finite and at least 0"),
    "too few weights": (lambda: EdgeWeights(THREE, torch.ones(2)), "3 edges need as many weights"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(case):
    make, sentence = REFUSED[case]
    with pytest.raises(InputError, match=sentence):
        make()


@pytest.mark.parametrize(
    ("seeds", "sentence"),
    [([1, 1], "seeds names node 1 twice"), ([50], r"seeds names node 50, outside 0..49"), ([-1], "node -1"),
     ([[1]], "must be a row of integers"), ([0.5], "must be a row of integers")],
)  # fmt: skip
def test_seeds_that_are_none_are_refused(seeds, sentence):
    sampler = NeighbourSampler(WholeGraph(random_graph()), Standard())
    with pytest.raises(InputError, match=sentence):
        sampler.sample(torch.tensor(seeds), Moment(0))


def test_what_a_threshold_says_is_what_counts():
    graph = Graph.from_edge_index(torch.stack([torch.arange(1, 4000), torch.zeros(3999, dtype=torch.int64)]),
                                  num_nodes=4000)  # fmt: skip
    neighbours, nodes = Neighbours(graph.adjacency), torch.tensor([0])
    rate = torch.tensor([1.5 / 2**32], dtype=torch.float64)
    drawn = neighbours.poisson(nodes, rate, DropoutKey(0, 0, 0))
    assert drawn.factor.tolist() == [2.0**31]
