"""Neighbours that lie on other ranks: the same answers as from the whole graph, whoever asks."""

from collections import Counter

import pytest
import torch
from scipy.stats import norm
from small import NUM_NODES, assigned, small
from test_sampling import chi_square

from gcnsys.kernels import LocalBlock
from gcnsys.kernels.neighbours import EdgeWeights
from gcnsys.partition import cut
from gcnsys.runtime.neighbourhood import PartNeighbourhood
from gcnsys.sampling import Moment, Standard, WholeGraph, samplers
from gcnsys.testing.ranks import run_ranks

KINDS = ("undirected", "directed", "weighted")


def over_ranks(kind, num_parts, body, assignment="random"):
    """What each rank makes of its neighbourhood; ``body(comm, neighbourhood, ids)``, ids by place."""
    made = small(kind)
    parts = cut(made.dataset.graph, assigned(made, assignment, num_parts), num_parts)
    ids = torch.cat([part.inner_ids for part in parts])
    return run_ranks(num_parts, lambda comm: body(comm, PartNeighbourhood(parts[comm.rank], comm), ids))


def edges_of(found, ids, nodes):
    """Edges by global ids, with weights and how they count."""
    csr = found.csr
    weight = [1.0] * csr.num_edges if csr.weight is None else csr.weight.tolist()
    ends = ids[nodes][csr.rows().long()].tolist()
    return Counter(zip(ids[csr.indices.long()].tolist(), ends, weight, strict=True))


def some_nodes(rank):
    """Places all over the graph, others on every rank, one of them nobody."""
    return torch.randperm(NUM_NODES, generator=torch.Generator().manual_seed(rank))[: 9 * rank]


@pytest.mark.parametrize("assignment", ["random", "empty-rank"])
@pytest.mark.parametrize("num_parts", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_the_whole_graph(kind, num_parts, assignment):
    graph = small(kind).dataset.graph
    whole = WholeGraph(graph)
    x = torch.randn(NUM_NODES, 3, generator=torch.Generator().manual_seed(0))

    def body(comm, found, ids):
        assert found.num_nodes == NUM_NODES
        nodes = some_nodes(comm.rank)
        key = Moment(3, 4).key(1)
        theirs = whole.all_of(ids[nodes])
        mine = found.all_of(nodes)
        assert edges_of(mine, ids, nodes) == edges_of(theirs, torch.arange(NUM_NODES), ids[nodes])
        assert torch.allclose(mine.in_weight, theirs.in_weight)
        mine, theirs = found.poisson(nodes, 2, key), whole.poisson(ids[nodes], 2, key)
        assert edges_of(mine, ids, nodes) == edges_of(theirs, torch.arange(NUM_NODES), ids[nodes])
        assert torch.equal(mine.factor, theirs.factor)
        mine, theirs = found.induced(nodes), whole.induced(ids[nodes])
        own = torch.arange(nodes.numel())
        assert edges_of(mine, own, own) == edges_of(theirs, own, own)
        degrees, exact = found.degrees(nodes), whole.degrees(ids[nodes])
        for name in ("into", "out_of", "added_loop"):
            assert torch.allclose(getattr(degrees, name), getattr(exact, name))
        assert torch.equal(found.rows(nodes, x[found.part.inner_ids]), x[ids[nodes]])
        few = found.uniform(nodes, 2, key, repeated=False)
        assert torch.equal(few.csr.indptr.diff(), theirs_counts(whole, ids[nodes], 2))
        assert edges_of(few, ids, nodes) <= edges_of(found.all_of(nodes), ids, nodes)

    over_ranks(kind, num_parts, body, assignment)


def theirs_counts(whole, nodes, count):
    return whole.neighbours.degree[nodes].clamp(max=count)


def test_every_set_is_equally_likely_over_ranks_as_on_one():
    graph = small("undirected").dataset.graph
    degree = graph.adjacency.indptr.diff()
    node = int(torch.nonzero(degree == 4)[0])
    neighbours = sorted(graph.adjacency.take_rows(torch.tensor([node])).indices.tolist())

    def body(comm, found, ids):
        asked = torch.nonzero(ids == node).flatten() if comm.rank else torch.zeros(0, dtype=torch.int64)
        drawn = []
        for step in range(600):
            answer = found.uniform(asked, 1, Moment(0, step).key(0), repeated=False)
            drawn += ids[answer.csr.indices.long()].tolist()
        return drawn

    counts = Counter(over_ranks("undirected", 2, body)[1])
    assert chi_square(counts, dict.fromkeys(neighbours, 0.25)) > 1e-3


def test_weights_are_those_of_the_owner():
    def body(comm, found, ids):
        weights = EdgeWeights(found.csr, (found.places[found.csr.indices.long()] % 3).double())
        nodes = some_nodes(comm.rank)
        drawn = found.weighted(nodes, 2, Moment(1).key(0), weights)
        assert bool((drawn.csr.indices % 3 > 0).all())
        assert drawn.inverse.numel() == drawn.csr.num_edges
        assert bool((drawn.inverse >= 1).all())

    over_ranks("directed", 3, body)


def test_a_step_goes_to_a_neighbour():
    graph = small("directed").dataset.graph
    there = set(map(tuple, graph.edge_index().T.tolist()))

    def body(comm, found, ids):
        nodes = some_nodes(comm.rank).repeat(5)
        unit = torch.rand(nodes.numel(), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        for source, node in zip(found.step(nodes, unit).tolist(), nodes.tolist(), strict=True):
            if source < 0:
                assert int(graph.adjacency.indptr.diff()[ids[node]]) == 0
            else:
                assert (int(ids[source]), int(ids[node])) in there

    over_ranks("directed", 3, body)


@pytest.mark.parametrize("name", ["neighbour", "labor", "shadow", "ladies", "pinsage"])
def test_samplers_work_over_ranks(name):
    made = small("undirected")
    x = torch.randn(NUM_NODES, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exact = LocalBlock.from_graph(made.dataset.graph)
    rows = exact.mean(exact.gcn(x))

    def body(comm, found, ids):
        sampler = samplers.get(name)(found, Standard(2, (-1, -1), budget=5000, walks=3))
        seeds = some_nodes(comm.rank)
        sample = sampler.sample(seeds, Moment(0))
        inputs = found.rows(sample.input_ids, x[found.part.inner_ids])
        for block in sample.blocks:
            inputs = block.gcn(inputs) if block is sample.blocks[0] else block.mean(inputs)
        place = {int(node): number for number, node in enumerate(sample.output_ids)}
        mine = inputs[[place[int(seed)] for seed in seeds]]
        if name in ("neighbour", "labor"):
            assert torch.allclose(mine, rows[ids[seeds]])
        assert bool(mine.isfinite().all())

    over_ranks("undirected", 3, body)


def times_drawn(graph, ids, name, seeds, draws, run, **standard):
    """How many of ``draws`` samples each edge was in, by global ids."""
    settings = {"layers": 1, "fanouts": (2,), "budget": 8, "walk": 2, "walks": 3, **standard}
    sampler, counts = samplers.get(name)(graph, Standard(**settings)), Counter()
    for step in range(draws):
        moment = Moment(run, step)
        block = sampler.sample(seeds if sampler.covers else sampler.roots(moment), moment).blocks[0]
        edges, nodes = block.edges(), ids[block.input_ids]
        counts.update(
            set(zip(nodes[edges.sources].tolist(), nodes[edges.destinations].tolist(), strict=True))
        )
    return counts


def furthest_apart(first, second, draws):
    """The largest z-score between two sets of counts, and the one that chance exceeds in one of 1000 sets."""
    edges = list(first | second)
    one, two = (torch.tensor([counts[edge] for edge in edges]).double() / draws for counts in (first, second))
    share = (one + two) / 2
    z = (one - two).abs() / (2 * share * (1 - share) / draws).sqrt().clamp(min=1e-12)
    return float(z.max()), float(norm.isf(0.5e-3 / len(edges)))


DRAWING = [
    "neighbour",
    "labor",
    "ladies",
    "fastgcn",
    "shadow",
    "pinsage",
    "saint-node",
    "saint-edge",
    "saint-walk",
]


@pytest.mark.parametrize("name", DRAWING)
def test_a_sample_over_two_ranks_is_as_likely_as_on_one(name, request):
    draws = 2000 if request.config.getoption("--all") else 150
    graph, nodes = small("directed").dataset.graph, torch.arange(2, NUM_NODES, 5)

    def body(comm, found, ids):
        seeds = torch.nonzero(torch.isin(ids, nodes)).flatten()
        return times_drawn(found, ids, name, seeds, draws, comm.rank + 1)

    alone = times_drawn(WholeGraph(graph), torch.arange(NUM_NODES), name, nodes, draws, 0)
    for counts in over_ranks("directed", 2, body):
        furthest, limit = furthest_apart(alone, counts, draws)
        assert furthest < limit
    other = times_drawn(
        WholeGraph(graph), torch.arange(NUM_NODES), name, nodes, draws, 0, fanouts=(5,), budget=24
    )
    furthest, limit = furthest_apart(alone, other, draws)
    assert furthest > limit
