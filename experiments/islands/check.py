"""Counts of operations as recorded; products by shared sums no slower than the record lets expect."""

import time
from collections.abc import Callable, Iterator
from functools import partial

import torch

from experiments.bench import Bench
from experiments.figures import Figure, at_most, best_of, left_out, same
from experiments.islands.run import FEATURES, SIZES, counts, graph_of
from experiments.kernels.timing import side_by_side
from gcnsys.datasets import load
from gcnsys.islands import SharedMatrix, locate, shared_sums
from gcnsys.islands.locate import plain
from gcnsys.kernels import Matrix
from gcnsys.kernels.memory import as_training_has_it

COUNTED = ("cora", "citeseer", "dblp_full", "coauthor_cs", "facebook_pages", "amazon_photo")
MULTIPLIED = ("facebook_pages", "amazon_photo")


def check(at: Bench) -> Iterator[Figure]:
    yield from at.parts(operations, search, products)


def operations(at: Bench) -> Iterator[Figure]:
    """All of it is integers."""
    recorded = at.record("count.json")["count"]
    for name, row in counts([name for name in COUNTED if name in recorded]).items():
        then = recorded[name]
        yield same(f"{name}: islands", row["islands"], then["islands"])
        for rule in ("published", "exact-windows", "shared"):
            kept = ("before", "after", "sums")
            now, was = ([each[rule][key] for key in kept] for each in (row, then))
            yield same(f"{name}, {rule}: operations before and after, sums", now, was)


def search(at: Bench) -> Iterator[Figure]:
    """That every node has its place, on the smallest of the graphs of the record, and how long that takes."""
    recorded = at.record("locate.json")["locate"]
    graph = plain(load(SIZES[0]).graph)
    placed = locate(graph).layout().order
    yield same("edges of the smallest graph that is searched", graph.num_edges, recorded[SIZES[0]]["edges"])
    yield same("nodes that the search places", placed.unique().numel(), graph.num_nodes)
    slowest = max(each["seconds"] / each["edges"] * 1e6 for each in recorded.values())
    yield at_most("seconds of the search, for a million edges, at most on record", slowest, 0.1)


def products(at: Bench) -> Iterator[Figure]:
    """The best way on record and the default, beside the plain product."""
    torch.set_num_threads(1)
    as_training_has_it()
    recorded = at.record("aggregate.json")
    for name in MULTIPLIED:
        if name not in recorded["aggregate"]:
            yield left_out(f"{name}: products", f"no record of {name}")
            continue
        then = recorded["aggregate"][name]
        rows, tile = (int(words.split()[0]) for words in then["best"].split(", ")[:2])
        ahead = "ahead" in then["best"]
        graph = graph_of(name)
        x, own = torch.randn(graph.num_nodes, FEATURES), Matrix(graph.adjacency, symmetric=True)
        shared = SharedMatrix(graph.adjacency, shared_sums(graph.adjacency, least=rows))
        usual = SharedMatrix(graph.adjacency, shared_sums(graph.adjacency, least=8))
        ways = {
            "plain": partial(own.times, x), "default": partial(usual.times, x),
            "best": partial(shared.shared_times, x, tile=tile, ahead=ahead),
        }  # fmt: skip
        said = {
            "default": f"{name}: plain product's time over the default's",
            "best": f"{name}: plain product's time over shared sums'",
        }
        bounds = {said["default"]: at.within("default")}
        bounds[said["best"]] = at.within("shared") * then["times_as_fast"]
        yield from best_of(partial(gains, ways, said), bounds, why="bound:")


def gains(ways: dict[str, Callable[[], object]], said: dict[str, str]) -> dict[str, float]:
    """The plain product's time over others'."""
    best = side_by_side(ways, seconds=2, clock=time.thread_time)
    return {said[way]: best["plain"] / best[way] for way in said}
