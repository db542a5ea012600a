"""Sums beside their peers: not behind them, and about as far ahead as recorded where that says most."""

import warnings
from collections.abc import Iterator

import torch

from experiments.bench import Bench
from experiments.figures import Figure, at_least, at_most, same
from experiments.kernels.attention import compared, dgl_layer, pyg_layer
from experiments.kernels.graphs import named
from experiments.kernels.spmm import measured
from gcnsys.kernels.memory import keep_freed_memory

SMALL, WIDTHS, LARGE = ("cora", "amazon_photo", "facebook_pages"), [64, 256], "reddit60k"


def check(at: Bench) -> Iterator[Figure]:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of the other libraries' imports
    keep_freed_memory()
    yield from at.parts(sums, a_large_graph, attention)


def sums(at: Bench) -> Iterator[Figure]:
    """The fastest of torch, DGL and PyG over ours, forward and backward."""
    for name in SMALL:
        graph = named(name)
        then = next(each for each in at.record("spmm.json")["records"] if each["graph"] == name)
        sizes = [then["nodes"], then["edges"]]
        yield same(f"{name}: nodes and edges", [graph.num_nodes, graph.num_edges], sizes)
        for each in measured(name, graph, WIDTHS, [1], 0.3):
            lead = min(ratio for peer, ratio in each["times_ours"].items() if not peer.startswith("ours"))
            what = f"{name}, {each['width']} features, {each['direction']}: fastest peer's time over ours"
            yield at_least(what, lead, at.within("bar"))


def a_large_graph(at: Bench) -> Iterator[Figure]:
    """Beside torch and DGL, as recorded on the same processor."""
    at.need(f"{LARGE}.npz", "dgl")
    recorded = at.record(f"spmm_{LARGE}.json")
    graph = named(at.spec(LARGE))
    then = {
        each["direction"]: each
        for each in recorded["records"]
        if each["threads"] == 1 and each["width"] == 256
    }
    yield same(f"{LARGE}: edges", graph.num_edges, then["forward"]["edges"])
    at.same_processor(recorded)
    for each in measured(LARGE, graph, [256], [1], 1.0):
        for peer in ("torch", "dgl"):
            what = f"{LARGE}, 256 features, {each['direction']}: time of {peer} over ours"
            bound = at.within("lead") * then[each["direction"]]["times_ours"][peer]
            yield at_least(what, each["times_ours"][peer], bound, why="a share of the recorded lead,")


def attention(at: Bench) -> Iterator[Figure]:
    """A GAT layer with the same weights computes the same, and is not slower."""
    at.need("dgl", "pyg")
    graph = named("facebook_pages").with_self_loops()
    x = torch.randn(graph.num_nodes, 128, generator=torch.Generator().manual_seed(0))
    found = compared(graph, x, 4, 64, 3, {"dgl": dgl_layer, "pyg": pyg_layer})
    for peer in ("dgl", "pyg"):
        yield at_most(f"attention: deviation from {peer}", found[peer]["deviation"], at.within("deviation"))
        yield at_least(f"attention: time of {peer} over ours", found[peer]["ratio"], at.within("bar"))
