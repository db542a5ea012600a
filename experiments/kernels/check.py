"""Sums beside their peers: not behind them, and about as far ahead as recorded where that says most."""

import time
import warnings
from collections.abc import Iterator
from functools import partial

import torch

from experiments.bench import Bench
from experiments.figures import Figure, at_least, at_most, best_of, same
from experiments.kernels.attention import compared, dgl_layer, pyg_layer
from experiments.kernels.graphs import named
from experiments.kernels.spmm import measured
from gcnsys.graph import Graph
from gcnsys.kernels.memory import as_training_has_it

SMALL, WIDTHS, LARGE = ("cora", "amazon_photo", "facebook_pages"), [64, 256], "reddit60k"


def check(at: Bench) -> Iterator[Figure]:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of the other libraries' imports
    as_training_has_it()
    yield from at.parts(sums, a_large_graph, attention)


def sums(at: Bench) -> Iterator[Figure]:
    """The fastest of torch, DGL and PyG over ours, forward and backward."""
    for name in SMALL:
        graph = named(name)
        then = next(each for each in at.record("spmm.json")["records"] if each["graph"] == name)
        sizes = [then["nodes"], then["edges"]]
        yield same(f"{name}: nodes and edges", [graph.num_nodes, graph.num_edges], sizes)
        bounds = {
            _lead(name, width, direction): at.within("bar")
            for width in WIDTHS for direction in ("forward", "backward")
        }  # fmt: skip
        yield from best_of(partial(leads, name, graph, WIDTHS, 0.3), bounds)


def leads(name: str, graph: Graph, widths: list[int], seconds: float) -> dict[str, float]:
    """The fastest peer's time over ours."""
    found = {}
    for each in measured(name, graph, widths, [1], seconds, time.thread_time):
        ratios = [ratio for peer, ratio in each["times_ours"].items() if not peer.startswith("ours")]
        found[_lead(name, each["width"], each["direction"])] = min(ratios)
    return found


def _lead(name: str, width: int, direction: str) -> str:
    return f"{name}, {width} features, {direction}: fastest peer's time over ours"


def a_large_graph(at: Bench) -> Iterator[Figure]:
    """Beside torch and DGL, as recorded on the same processor."""
    at.need(f"{LARGE}.npz", "dgl")
    recorded = at.record(f"spmm_{LARGE}.json")
    at.same_processor(recorded)
    graph = named(at.spec(LARGE))
    of_width = [each for each in recorded["records"] if each["threads"] == 1 and each["width"] == 256]
    bounds = {
        f"{LARGE}, 256 features, {each['direction']}: time of {peer} over ours":
            at.within("lead") * each["times_ours"][peer]
        for each in of_width for peer in ("torch", "dgl")
    }  # fmt: skip

    def measure() -> dict[str, float]:
        return {
            f"{LARGE}, 256 features, {each['direction']}: time of {peer} over ours": each["times_ours"][peer]
            for each in measured(LARGE, graph, [256], [1], 1.0, time.thread_time)
            for peer in ("torch", "dgl")
        }

    yield same(f"{LARGE}: edges", graph.num_edges, of_width[0]["edges"])
    yield from best_of(measure, bounds, why="a share of the recorded lead,")


def attention(at: Bench) -> Iterator[Figure]:
    """A GAT layer with the same weights computes the same, and is not slower."""
    at.need("dgl", "pyg")
    graph = named("facebook_pages").with_self_loops()
    x = torch.randn(graph.num_nodes, 128, generator=torch.Generator().manual_seed(0))
    found = compared(graph, x, 4, 64, 3, {"dgl": dgl_layer, "pyg": pyg_layer})
    for peer in ("dgl", "pyg"):
        yield at_most(f"attention: deviation from {peer}", found[peer]["deviation"], at.within("deviation"))
        yield at_least(f"attention: time of {peer} over ours", found[peer]["ratio"], at.within("bar"))
