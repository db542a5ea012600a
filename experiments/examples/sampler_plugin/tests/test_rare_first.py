"""That the sampler keeps the promises of its kind, and prefers what it says it does."""

import torch
from rare_first import RareFirst

from gcnsys.graph import Graph
from gcnsys.sampling import Moment, Standard, WholeGraph
from gcnsys.testing.minibatch import check_sampler


def test_it_is_a_sampler():
    check_sampler(RareFirst)


def test_hubs_are_drawn_less_often():
    # Node 0 hears a hub, 1, and nodes 2 to 4, which nobody else hears.
    hears = [[1, 0], [2, 0], [3, 0], [4, 0], *([1, node] for node in range(5, 45))]
    graph = Graph.from_edge_index(torch.tensor(hears).T, num_nodes=45)
    sampler = RareFirst(WholeGraph(graph), Standard(1, (2,)))
    samples = [sampler.sample(torch.tensor([0]), Moment(0, step)) for step in range(200)]
    drawn = torch.cat([sample.input_ids for sample in samples])
    assert int((drawn == 1).sum()) < 0.2 * int((drawn == 2).sum())
