"""Islands and shared sums of real graphs: what is found, what it saves, how long it takes.

python -m experiments.islands.run count [NAME ...] [--out FILE]      operations, by rule, on all real graphs
python -m experiments.islands.run locate [SPEC ...] [--out FILE]     seconds of the search on three sizes
python -m experiments.islands.run aggregate [NAME ...] [--threads 1] products by shared sums, and plain ones
"""

import argparse
import math
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from experiments import runfile
from experiments.machine import report
from gcnsys.datasets import load
from gcnsys.graph import Graph
from gcnsys.islands import ReusePlan, Rounds, SharedMatrix, locate, looped, shared_sums, windows
from gcnsys.islands.locate import plain as undirected
from gcnsys.islands.plan import check
from gcnsys.kernels import Matrix
from gcnsys.kernels.memory import as_training_has_it

GRAPHS = ("cora", "citeseer", "dblp_full", "coauthor_cs", "facebook_pages", "amazon_photo", "tolokers",
          "blogcatalog_attr")  # fmt: skip
SIZES = tuple(f"synthetic:reddit,nodes={nodes},degree=100,features=4" for nodes in (60_000, 200_000, 600_000))
LEAST = (2, 4, 8, 16)
FEATURES, ROUNDS = 256, 40
SECONDS = 20e-3
"""That a run of plain products takes at least."""


def graph_of(name: str) -> Graph:
    """A graph of the data folder, without directions and self-loops."""
    return undirected(load(f"npz:{runfile.data_folder() / name}.npz").graph)


def counts(names: Sequence[str]) -> dict[str, Any]:
    """What each rule saves, every plan checked entry by entry."""
    found = {}
    for name in names:
        graph = graph_of(name)
        islands, matrix = locate(graph), looped(graph)
        rules: dict[str, Callable[[], ReusePlan]] = {
            "published": partial(windows.published, islands),
            "exact-windows": partial(windows.exact, islands),
            "shared": partial(shared_sums, matrix),
        }
        row: dict[str, Any] = {"islands": islands.summary()}
        for rule, make in rules.items():
            began = time.process_time()
            plan = make()
            seconds = time.process_time() - began
            count = check(plan, matrix).count(matrix.num_edges)
            row[rule] = {
                "before": count.before, "after": count.after, "pruned": count.pruned,
                "pruned_true_additions": count.pruned_true_additions, "sums": plan.num_shared,
                "seconds": seconds, "seconds_a_million_edges": 1e6 * seconds / matrix.num_edges,
            }  # fmt: skip
        said = "  ".join(f"{rule} {100 * row[rule]['pruned']:+6.2f} %" for rule in rules)
        print(f"{name:18}{said}  ({row['shared']['seconds_a_million_edges']:.1f} s a million)", flush=True)
        found[name] = row
    return found


def located(specs: Sequence[str]) -> dict[str, Any]:
    """The search alone, best of three."""
    found = {}
    for spec in specs:
        graph = undirected(load(spec).graph)
        seconds = min(_timed(partial(locate, graph, Rounds())) for _ in range(3))
        rate = 1e6 * seconds / graph.num_edges
        print(f"{graph.num_edges:12,} edges: {seconds:.3f} s, {rate:.4f} s a million", flush=True)
        found[spec] = {"edges": graph.num_edges, "seconds": seconds, "seconds_a_million_edges": rate}
    return found


def aggregated(names: Sequence[str]) -> dict[str, Any]:
    """Products of 256 features, plain and by sums that at least so many rows share, in turn."""
    # On one thread its own time counts, whatever else the machine does.
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    as_training_has_it()
    found: dict[str, Any] = {}
    for name in names:
        graph = graph_of(name)
        x = torch.randn(graph.num_nodes, FEATURES)
        ways: dict[str, Callable[[], object]] = {}
        making = {}
        for least in LEAST[1:]:
            began = time.perf_counter()
            matrix = SharedMatrix(graph.adjacency, shared_sums(graph.adjacency, least=least))
            making[str(least)] = time.perf_counter() - began
            if least == LEAST[2]:
                # Both find out together how the plain product is fastest.
                ways["plain"], ways["default"] = partial(Matrix.times, matrix, x), partial(matrix.times, x)
                plain = matrix
            for tile in (16, 32, 64):
                for ahead, words in ((False, ""), (True, ", fetched ahead")):
                    ways[f"{least} rows, {tile} features{words}"] = partial(
                        matrix.shared_times, x, tile=tile, ahead=ahead
                    )
        ways["default"]()
        plain.find_way(x)
        products = math.ceil(SECONDS / min(_timed(ways["plain"], clock) for _ in range(3)))
        taken: dict[str, list[float]] = {way: [] for way in ways}
        order, chance = list(ways.items()), random.Random(0)
        for number in range(-20, ROUNDS):
            chance.shuffle(order)  # what ran before leaves a cache behind
            for way, run in order:
                seconds = _timed(run, clock, products)
                if number >= 0:
                    taken[way].append(seconds)
        shared = [way for way in ways if way not in ("plain", "default")]
        best = min(shared, key=lambda way: median(taken[way]))
        plain_ms, best_ms = (1e3 * median(taken[way]) for way in ("plain", best))
        least_ratio = min(taken["plain"]) / min(taken[best])
        usual = median(taken["plain"]) / median(taken["default"])
        cost = making[best.split()[0]]
        gained = (plain_ms - best_ms) / 1e3
        after = round(cost / gained) if gained > 0 else None
        print(
            f"{name:18} plain {plain_ms:7.2f} ms, best ({best}) {best_ms:7.2f} ms: "
            f"{plain_ms / best_ms:.2f} times as fast (of the fastest runs {least_ratio:.2f}), "
            f"as it chooses by itself {usual:.2f}; paid for after {after}", flush=True,
        )  # fmt: skip
        found[name] = {
            "milliseconds": {way: 1e3 * median(each) for way, each in taken.items()},
            "fastest_milliseconds": {way: 1e3 * min(each) for way, each in taken.items()},
            "products_a_run": products, "plan_seconds": making, "best": best,
            "times_as_fast": plain_ms / best_ms,
            "times_as_fast_by_minimum": least_ratio, "default_times_as_fast": usual,
            "default_times_as_fast_by_minimum": min(taken["plain"]) / min(taken["default"]),
            "paid_for_after": after,
        }  # fmt: skip
    return found


def _timed(
    run: Callable[[], object], clock: Callable[[], float] = time.perf_counter, times: int = 1
) -> float:
    began = clock()
    for _ in range(times):
        run()
    return (clock() - began) / times


def main() -> None:
    """Measure and print."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("what", choices=["count", "locate", "aggregate"])
    cli.add_argument("graphs", nargs="*", help="names of the data folder; SPECs for locate")
    cli.add_argument("--threads", type=int, default=1)
    cli.add_argument("--out", type=Path, help="write the result here, too")
    options = cli.parse_args()
    torch.set_num_threads(options.threads)
    run = {"count": counts, "locate": located, "aggregate": aggregated}[options.what]
    found = run(options.graphs or (SIZES if options.what == "locate" else GRAPHS))
    report({"threads": options.threads, options.what: found}, options.out, show=False)


if __name__ == "__main__":
    main()
