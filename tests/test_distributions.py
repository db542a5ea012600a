"""What samplers draw, beside the probabilities of the papers, which are worked out here by dense algebra."""

import sys
from collections import Counter
from itertools import product

import pytest
import torch
from test_sampling import chi_square, random_graph

from gcnsys.graph import Graph
from gcnsys.kernels import backend
from gcnsys.sampling import Moment, Standard, WholeGraph
from gcnsys.sampling.api import samplers

DRAWS = 2000
LEAST = 1e-3
"""The chance below which counts do not come from the probabilities."""


def graph_of(pairs, nodes, *, both=False):
    ends = torch.tensor(pairs).T
    graph = Graph.from_edge_index(ends, num_nodes=nodes)
    return graph.symmetrized() if both else graph


DIRECTED = graph_of([(0, 1), (0, 2), (1, 2), (3, 2), (2, 3), (4, 3), (1, 3), (4, 0), (2, 4)], 5)
SYMMETRIC = graph_of([(0, 1), (0, 2), (1, 2), (2, 3), (3, 4), (2, 4)], 5, both=True)


def dense(graph):
    """``A[v, u]``: whether u sends to v."""
    found = torch.zeros(graph.num_nodes, graph.num_nodes, dtype=torch.float64)
    sources, ends = graph.edge_index()
    found[ends, sources] = 1.0
    return found


def mean_of(graph):
    """The rows of a mean over neighbours."""
    adjacency = dense(graph)
    return adjacency / adjacency.sum(1, keepdim=True).clamp(min=1)


def shares(weight):
    """Shares of those that have one."""
    return {place: float(each / weight.sum()) for place, each in enumerate(weight) if each > 0}


def made(name, graph, **standard):
    return samplers.get(name)(WholeGraph(graph), Standard(**{"layers": 1, "fanouts": (1,)} | standard))


def sources(sample):
    """Whose edges a sample's first block holds."""
    block = sample.blocks[0]
    return tuple(sorted(set(block.input_ids[block.matrix.csr.indices.long()].tolist())))


@pytest.mark.parametrize("seeds", [[2], [2, 3], [0, 1, 2, 3, 4]])
def test_ladies_draws_by_the_squares_of_the_frontiers_rows(seeds):
    """Zou et al. 2019, equation 6: q(u) by the squared norm of column u of the frontier's rows."""
    sampler, frontier = made("ladies", DIRECTED, budget=1), torch.tensor(seeds)
    counts = Counter()
    for step in range(DRAWS):
        (drawn,) = sources(sampler.sample(frontier, Moment(3, step)))
        counts[drawn] += 1
    assert chi_square(counts, shares(mean_of(DIRECTED)[frontier].square().sum(0))) > LEAST


def test_fastgcn_draws_by_the_squares_of_all_rows():
    """Chen et al. 2018, theorem 3: q(u) by the squared norm of column u, whoever asks."""
    sampler, everybody = made("fastgcn", DIRECTED, budget=1), torch.arange(5)
    counts = Counter(sources(sampler.sample(everybody, Moment(4, step)))[0] for step in range(DRAWS))
    assert chi_square(counts, shares(mean_of(DIRECTED).square().sum(0))) > LEAST


def roots(sampler, step):
    (found,) = sampler.batches(torch.arange(1), 1, Moment(5, step))
    return tuple(found.tolist())


def test_saint_draws_nodes_by_their_out_degrees():
    sampler = made("saint-node", DIRECTED, budget=1)
    counts = Counter(roots(sampler, step)[0] for step in range(DRAWS))
    expected = shares(dense(DIRECTED).sum(0).clamp(min=1))
    assert chi_square(counts, expected) > LEAST
    assert torch.allclose(sampler.chance, torch.tensor(list(expected.values()), dtype=torch.float64))


@pytest.mark.parametrize("graph", [DIRECTED, SYMMETRIC], ids=["directed", "symmetric"])
def test_saint_draws_edges_by_the_inverse_degrees_of_their_ends(graph):
    """Zeng et al. 2020, section 3.3: p(u, v) by 1 / d(u) + 1 / d(v)."""
    adjacency = dense(graph)
    degree = adjacency.sum(0) + adjacency.sum(1)
    weight = Counter()
    for source, end in graph.edge_index().T.tolist():
        weight[tuple(sorted((source, end)))] += float(1 / degree[source] + 1 / degree[end])
    expected = {pair: each / sum(weight.values()) for pair, each in weight.items()}
    sampler = made("saint-edge", graph, budget=1)
    assert chi_square(Counter(roots(sampler, step) for step in range(DRAWS)), expected) > LEAST


def step_from(graph):
    """``S[v, u]``: how likely a step from v leads to its neighbour u."""
    return mean_of(graph)


def test_saint_walks_from_any_node_to_any_neighbour():
    step, expected = step_from(SYMMETRIC), Counter()
    for root, first, second in product(range(5), repeat=3):
        expected[tuple(sorted({root, first, second}))] += float(step[root, first] * step[first, second]) / 5
    sampler = made("saint-walk", SYMMETRIC, budget=1, walk=2)
    counts = Counter()
    for number in range(DRAWS):
        root = torch.tensor(roots(sampler, number))
        counts[tuple(sorted(sampler.sample(root, Moment(5, number)).input_ids.tolist()))] += 1
    assert chi_square(counts, {nodes: chance for nodes, chance in expected.items() if chance}) > LEAST


def test_pinsage_takes_whom_its_walks_visit_most():
    """One walk of two steps that ends after the first with a chance of 0.4; of two visits, either counts.

    Those of the node itself do not.
    """
    step, expected = step_from(SYMMETRIC), torch.zeros(5, dtype=torch.float64)
    for first, second in product(range(5), repeat=2):
        for visited in (first, first if second == 2 else second):
            expected[visited] += 0.6 * step[2, first] * step[first, second] / 2
    expected += 0.4 * step[2]
    sampler = made("pinsage", SYMMETRIC, walk=2, walks=1, restart=0.4)
    counts = Counter(
        sources(sampler.sample(torch.tensor([2]), Moment(6, number)))[0] for number in range(DRAWS)
    )
    assert chi_square(counts, shares(expected)) > LEAST


def test_shadow_draws_a_neighbour_of_each_node_it_has_in_each_hop():
    step, expected = step_from(DIRECTED), Counter()
    for first, other, second in product(range(5), repeat=3):
        # The second hop draws for the seed anew, and for the node that the first one found.
        chance = float(step[3, first] * step[3, other] * step[first, second])
        expected[tuple(sorted({3, first, other, second}))] += chance
    sampler = made("shadow", DIRECTED, layers=2, fanouts=(1, 1))
    counts = Counter(
        tuple(sorted(sampler.sample(torch.tensor([3]), Moment(7, number)).input_ids.tolist()))
        for number in range(DRAWS)
    )
    assert chi_square(counts, {nodes: chance for nodes, chance in expected.items() if chance}) > LEAST


def test_clusters_come_in_any_order():
    sampler = made("cluster", random_graph(6, 20), groups=torch.tensor([0, 0, 1, 1, 2, 2]))
    counts = Counter(
        tuple(int(batch[0]) // 2 for batch in sampler.batches(torch.arange(6), 2, Moment(8, number)))
        for number in range(DRAWS)
    )
    orders = [order for order in product(range(3), repeat=3) if len(set(order)) == 3]
    assert chi_square(counts, dict.fromkeys(orders, 1 / 6)) > LEAST


EVERY = ["neighbour", "labor", "ladies", "fastgcn", "cluster", "shadow", "saint-node", "saint-edge",
         "saint-walk", "pinsage"]  # fmt: skip


def samples(name, graph):
    """Some samples of a sampler that is made anew, as plain numbers."""
    standard = {"layers": 2, "fanouts": (4, 3), "budget": 400, "groups": torch.arange(graph.num_nodes) % 9}
    sampler, found = made(name, graph, **standard), []
    for step in range(2):
        seeds = sampler.batches(torch.arange(graph.num_nodes), 700, Moment(9, step))[0]
        sample = sampler.sample(seeds, Moment(9, step))
        for block in sample.blocks:
            csr = block.matrix.csr
            found += [csr.indptr, csr.indices, block.input_ids]
        found += [] if sample.weight is None else [sample.weight]
    return found


@pytest.mark.skipif(backend.core() is None, reason="the native core was not built, or is switched off")
@pytest.mark.parametrize("name", EVERY)
def test_a_whole_sampler_draws_the_same_on_any_number_of_threads_and_without_the_core(name, monkeypatch):
    graph, before = random_graph(3000, 40_000).symmetrized(), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(samples(name, graph))
    finally:
        torch.set_num_threads(before)
    for module in list(sys.modules.values()):
        if module.__name__.startswith("gcnsys.") and getattr(module, "core", None) is backend.core:
            monkeypatch.setattr(module, "core", lambda: None)
    found.append(samples(name, graph))
    for other in found[1:]:
        assert len(other) == len(found[0])
        for mine, theirs in zip(found[0], other, strict=True):
            assert mine.shape == theirs.shape
            if mine.dtype.is_floating_point:
                torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=0)
            else:
                assert torch.equal(mine, theirs)
