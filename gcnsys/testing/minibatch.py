"""What training relies on in a sampler, as a check that authors of one can run."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.graph import Graph
from gcnsys.kernels.block import Block
from gcnsys.sampling import Moment, Neighbourhood, Sample, Sampler, Standard, WholeGraph


def graphs() -> list[Graph]:
    """Graphs that a sampler must cope with: directed, with hubs, weights, loops, and nodes without edges."""
    generator = torch.Generator().manual_seed(0)
    pairs = torch.randint(40, (2, 300), generator=generator)
    hub = torch.stack([torch.arange(1, 40), torch.zeros(39, dtype=torch.int64)])
    weight = torch.rand(300, generator=generator) + 0.1
    return [
        Graph.from_edge_index(pairs, num_nodes=45),
        Graph.from_edge_index(torch.cat([hub, hub.flip(0)], 1), num_nodes=41),
        Graph.from_edge_index(pairs, num_nodes=45, weight=weight),
        Graph.from_edge_index(pairs[:, :0], num_nodes=5),
    ]


def check_sampler(make: Callable[[Neighbourhood, Standard], Sampler], *, layers: int = 2) -> None:
    """Raise unless a sampler keeps the promises of :class:`gcnsys.sampling.Sample`.

    Blocks that fit together and hold edges of the graph alone; seeds that come out; the same sample whenever
    it is asked for at the same moment, another one later; a graph that is left as it was; batches that hold
    every node once; one sentence for seeds that are no nodes or come twice.

    Args:
        make: of the sampler.
        layers: of the model that it samples for.

    Raises:
        AssertionError: it does not; the message says what was expected.
    """
    for number, graph in enumerate(graphs()):
        groups = torch.arange(graph.num_nodes) // 6
        where, standard = f"graph {number}", Standard(layers, (3,) * layers, budget=20, groups=groups)
        before = graph.edge_index().clone()
        sampler = make(WholeGraph(graph), standard)
        nodes = torch.arange(graph.num_nodes)
        batches = [batch.tolist() for batch in sampler.batches(nodes, 7, Moment(1))]
        flat = sorted(node for batch in batches for node in batch)
        known = set(flat) <= set(nodes.tolist()) and all(len(set(batch)) == len(batch) for batch in batches)
        assert known, f"{where}: a batch must hold nodes, each once"
        assert flat == nodes.tolist() or not sampler.covers, f"{where}: batches must hold every node once"
        others = [batch.tolist() for batch in sampler.batches(nodes, 7, Moment(1, 1))]
        differed = others != batches
        for batch in batches:
            seeds = torch.tensor(batch, dtype=torch.int64)
            sample = sampler.sample(seeds, Moment(3, 1))
            _check_sample(sample, seeds, graph if sampler.follows_edges else None, layers, where)
            again = make(WholeGraph(graph), standard).sample(seeds, Moment(3, 1))
            assert _same(sample, again), f"{where}: the same moment must give the same sample"
            differed |= not _same(sample, sampler.sample(seeds, Moment(3, 2)))
        assert torch.equal(graph.edge_index(), before), f"{where}: the sampler changed the graph"
        assert differed or number, f"{where}: another moment must give other batches or samples"
        for wrong in ([0, 0], [graph.num_nodes], [-1]):
            try:
                sampler.sample(torch.tensor(wrong), Moment(0))
            except InputError:
                continue
            raise AssertionError(f"{where}: seeds {wrong} must be refused with an InputError")


def _check_sample(sample: Sample, seeds: Tensor, graph: Graph | None, layers: int, where: str) -> None:
    assert len(sample.blocks) == layers, f"{where}: there must be a block a layer"
    for first, then in pairwise(sample.blocks):
        assert torch.equal(first.output_ids, then.input_ids), (
            f"{where}: the rows that come out of a block must be those that go into the next"
        )
    out = set(sample.output_ids.tolist())
    assert set(seeds.tolist()) <= out, f"{where}: every seed must come out"
    assert len(out) == sample.output_ids.numel(), f"{where}: a node must come out once"
    if sample.weight is not None:
        assert sample.weight.shape == sample.output_ids.shape, (
            f"{where}: a weight for every row that comes out"
        )
        assert bool((sample.weight >= 0).all() & sample.weight.isfinite().all()), f"{where}: weights from 0"
    there = None if graph is None else set(map(tuple, graph.edge_index().T.tolist()))
    for block in sample.blocks:
        assert torch.equal(block.input_ids[: block.output_ids.numel()], block.output_ids), (
            f"{where}: the first rows that go into a block must be those that come out"
        )
        edges = block.edges()
        sources, ends = block.input_ids[edges.sources], block.output_ids[edges.destinations]
        found = set(zip(sources.tolist(), ends.tolist(), strict=True))
        if there is not None:
            assert found <= there, f"{where}: a block holds {min(found - there)}, which is no edge"


def _same(first: Sample, other: Sample) -> bool:
    if len(first.blocks) != len(other.blocks):
        return False
    return all(_equal(a, b) for a, b in zip(first.blocks, other.blocks, strict=True))


def _equal(first: Block, other: Block) -> bool:
    pairs = zip((first.input_ids, *first.edges().pairs), (other.input_ids, *other.edges().pairs), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)
