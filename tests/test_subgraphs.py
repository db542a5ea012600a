"""Layer-wise, subgraph and walking samplers: probabilities, sums on average, what a subgraph is."""

import math
from collections import Counter
from functools import partial

import pytest
import torch
from test_sampling import check_sums, chi_square, random_graph, star

from gcnsys.errors import InputError
from gcnsys.graph import Graph
from gcnsys.kernels import LocalBlock
from gcnsys.sampling import Moment, Standard, WholeGraph
from gcnsys.sampling.api import samplers
from gcnsys.sampling.layer_wise import Shares
from gcnsys.testing.minibatch import check_sampler

NAMES = ["ladies", "fastgcn", "cluster", "shadow", "saint-node", "saint-edge", "saint-walk", "pinsage"]
DRAWS = 2000


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_a_sampler_keeps_its_promises(name, layers):
    check_sampler(samplers.get(name), layers=layers)


def test_draws_with_repetition_come_in_proportion():
    share = torch.tensor([1.0, 0.0, 3.0, 4.0])
    counts = Counter()
    for step in range(200):
        places, times = Shares(share).draw(10, Moment(0, step).generator())
        assert 1 not in places.tolist()
        times = (times * 10 * share[places].double() / 8).round().long()
        counts.update(dict(zip(places.tolist(), times.tolist(), strict=True)))
    assert sum(counts.values()) == 2000
    assert chi_square(counts, {0: 1 / 8, 2: 3 / 8, 3: 4 / 8}) > 1e-3
    for nothing in (torch.zeros(3), torch.zeros(0)):
        assert Shares(nothing).draw(5, Moment(0).generator())[0].numel() == 0


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("name", ["ladies", "fastgcn"])
def test_sums_of_layers_drawn_together_are_right_on_average(name, known):
    check_sums(samplers.get(name), Standard(1, (3,), budget=12), known=known)


def test_a_layer_has_no_more_rows_than_its_budget():
    seeds = torch.arange(0, 50, 2)
    for name in ("ladies", "fastgcn"):
        sampler = samplers.get(name)(WholeGraph(random_graph()), Standard(1, (3,), budget=12))
        rows = max(sampler.sample(seeds, Moment(7, step)).input_ids.numel() for step in range(40))
        assert seeds.numel() < rows <= seeds.numel() + 12


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("name", ["saint-node", "saint-edge"])
def test_saint_knows_how_likely_nodes_and_edges_are(name, directed):
    graph = random_graph(30, 90)
    graph = graph if directed else graph.symmetrized()
    sampler = samplers.get(name)(WholeGraph(graph), Standard(1, (1,), budget=14))
    rows, columns = graph.adjacency.rows().long(), graph.adjacency.indices.long()
    x = torch.randn(30, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exact = LocalBlock.from_graph(graph).mean(x)
    nodes, pairs = torch.zeros(30), torch.zeros(graph.num_edges)
    sums, off = [], []
    for step in range(DRAWS):
        (seeds,) = sampler.batches(torch.arange(14), 1, Moment(5, step))
        there = torch.zeros(30, dtype=torch.bool)
        there[seeds] = True
        nodes += there
        pairs += there[rows] & there[columns]
        sample = sampler.sample(seeds, Moment(5, step))
        assert torch.equal(sample.output_ids, seeds)
        sums.append((sample.weight.double()[:, None] * x[seeds]).sum(0))
        deviation = torch.zeros(30, 2, dtype=torch.float64)
        deviation[seeds] = sample.blocks[0].mean(x[seeds]) - exact[seeds]
        off.append(deviation)
    for times, chance in (
        (nodes, sampler.chance), (pairs, sampler.both()),
    ):  # fmt: skip
        error = (chance * (1 - chance) / DRAWS).sqrt().clamp(min=1e-6)
        assert float(((times / DRAWS - chance).abs() / error)[chance > 1e-9].max()) < 4.5
    drawable = sampler.chance > 1e-9
    for found, wanted in (
        (torch.stack(sums), x[drawable].sum(0)), (torch.stack(off), torch.zeros(30, 2, dtype=torch.float64)),
    ):  # fmt: skip
        error = found.std(0) / math.sqrt(DRAWS)
        assert float(((found.mean(0) - wanted).abs() / error.clamp(min=1e-4)).max()) < 4.8
    assert sampler.unbiased


def test_walks_count_how_likely_nodes_are():
    graph = random_graph(60, 400).symmetrized()
    sampler = samplers.get("saint-walk")(WholeGraph(graph), Standard(2, (1, 1), budget=10, walk=3))
    times = torch.zeros(60)
    for step in range(300):
        seeds = sampler.batches(torch.arange(10), 1, Moment(9, step))[0]
        assert seeds.numel() <= 10
        times[sampler.sample(seeds, Moment(9, step)).output_ids] += 1
    chance = sampler.chance
    assert float((times / 300 - chance).abs().mean()) < 0.08
    assert not sampler.unbiased


def test_a_cluster_comes_with_all_its_edges():
    graph, groups = random_graph(50, 500), torch.arange(50) % 6
    sampler = samplers.get("cluster")(WholeGraph(graph), Standard(2, (1, 1), groups=groups))
    batches = sampler.batches(torch.arange(50), 17, Moment(0))
    assert len(batches) == 3
    for batch in batches:
        others = set(torch.cat([other for other in batches if other is not batch]).tolist())
        assert not {int(groups[node]) for node in batch} & {int(groups[node]) for node in others}
    sample = sampler.sample(batches[0], Moment(0))
    nodes = sample.input_ids
    assert set(groups[nodes].tolist()) == set(groups[batches[0]].tolist())
    assert sorted(nodes.tolist()) == torch.nonzero(torch.isin(groups, groups[batches[0]])).flatten().tolist()
    x = torch.randn(50, 3, dtype=torch.float64)
    inside = LocalBlock.from_graph(graph.induced(nodes))
    assert torch.allclose(sample.blocks[0].gcn(x[nodes]), inside.gcn(x[nodes]))
    assert torch.allclose(sample.blocks[1].mean(x[nodes]), inside.mean(x[nodes])[: batches[0].numel()])


def test_clusters_need_groups():
    for groups in (None, torch.zeros(3, dtype=torch.int64)):
        with pytest.raises(InputError, match="clusters need the group of each of 50 nodes, got"):
            samplers.get("cluster")(WholeGraph(random_graph()), Standard(groups=groups))


def test_shadows_of_all_neighbours_give_exact_sums():
    graph, seeds = random_graph(60, 120), torch.tensor([7, 3, 50])
    sampler = samplers.get("shadow")(WholeGraph(graph), Standard(2, (-1, -1)))
    sample = sampler.sample(seeds, Moment(0))
    x = torch.randn(60, 3, dtype=torch.float64)
    block = LocalBlock.from_graph(graph)
    rows = sample.blocks[1].sum(sample.blocks[0].sum(x[sample.input_ids]))
    assert torch.equal(sample.output_ids, seeds)
    assert torch.allclose(rows, block.sum(block.sum(x))[seeds])
    few = samplers.get("shadow")(WholeGraph(graph), Standard(2, (1, 1))).sample(seeds, Moment(0))
    assert few.input_ids.numel() <= 12


def test_a_walk_visits_each_neighbour_equally_often():
    sampler = samplers.get("pinsage")(WholeGraph(star(5)), Standard(1, (1,), walk=1, walks=1, restart=0.0))
    counts = Counter(
        int(sampler.sample(torch.tensor([0]), Moment(0, step)).input_ids[1]) for step in range(1000)
    )
    assert chi_square(counts, dict.fromkeys(range(1, 6), 0.2)) > 1e-3


def test_what_is_visited_most_weighs_most():
    # From 0 a walk goes to 1 or 2, and from either to 3.
    pairs = torch.tensor([[1, 2, 3, 3], [0, 0, 1, 2]])
    graph = Graph.from_edge_index(pairs, num_nodes=5)
    made = partial(samplers.get("pinsage"), WholeGraph(graph))
    sample = made(Standard(1, (-1,), walk=3, walks=400, restart=0.0)).sample(torch.tensor([0, 4]), Moment(0))
    block = sample.blocks[0]
    x = torch.zeros(sample.input_ids.numel(), 1, dtype=torch.float64)
    x[sample.input_ids == 3] = 1.0
    assert float(block.mean(x)[0]) == pytest.approx(0.5)  # half of the 800 visits
    assert float(block.mean(x)[1]) == 0.0
    most = made(Standard(1, (1,), walk=3, walks=400, restart=0.0)).sample(torch.tensor([0]), Moment(0))
    assert most.input_ids.tolist() == [0, 3]
    short = made(Standard(1, (-1,), walk=3, walks=4000, restart=0.9)).sample(torch.tensor([0]), Moment(0))
    x = (short.input_ids == 3).double()[:, None]
    assert float(short.blocks[0].mean(x)[0]) == pytest.approx(0.1 / 1.1, abs=0.02)


@pytest.mark.parametrize("name", ["neighbour", "labor", *NAMES])
def test_isolated_seeds_come_out_alone(name):
    graph = Graph.from_edge_index(torch.tensor([[0, 1], [1, 0]]), num_nodes=4)
    standard = Standard(1, (2,), budget=3, groups=torch.arange(4))
    sample = samplers.get(name)(WholeGraph(graph), standard).sample(torch.tensor([3, 2]), Moment(0))
    assert {2, 3} <= set(sample.output_ids.tolist())
    rows = sample.blocks[0].mean(torch.ones(sample.input_ids.numel(), 1))
    assert bool((rows[:2] == 0).all())
