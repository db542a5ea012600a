"""Aggregation on two levels beside one sparse product, on polarized graphs of the data folder.

python -m experiments.polarize.levels [GRAPH...] [--features 64] [--out FILE]
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from experiments import runfile
from experiments.machine import report
from gcnsys.datasets import load
from gcnsys.graph import CSR, Layout
from gcnsys.kernels import Matrix
from gcnsys.polarize import SplitSettings, laid_out, split
from gcnsys.polarize.dense import dense_blocks
from gcnsys.polarize.levels import Levels, TwoLevelMatrix, density_threshold
from gcnsys.polarize.prune import by_rule, kept_graph

GRAPHS = ("cora", "citeseer", "amazon_photo", "blogcatalog_attr", "tolokers")
ROUNDS = 60
LOOK = 2e-3
"""Seconds that a way is run for at a time, about."""


def measured(name: str, features: int) -> dict[str, Any]:
    """One graph, its edges pruned at random between subgraphs, which the products do not mind."""
    dataset = load(f"npz:{runfile.data_folder() / name}.npz")
    found = split(dataset.graph, SplitSettings(subgraphs=24), name=name)
    graph = laid_out(dataset, found.layout).graph
    csr = kept_graph(graph, by_rule(graph, found, "random-off-diagonal", 0.1)).adjacency
    x = torch.randn(csr.num_rows, features)
    threshold = density_threshold(features, x.dtype, x.device, torch.get_num_threads())
    every = dense_blocks(csr, found.layout)
    chosen = [block for block in every if block.density >= threshold]
    default = TwoLevelMatrix(csr, found.layout, symmetric=True)
    ways = plain_and_default(default, x)
    levels = {
        "all blocks dense": Levels.of(csr, every, x.dtype, batched=False),
        "all blocks dense, in batches": Levels.of(csr, every, x.dtype, batched=True),
    }
    if chosen:
        levels["blocks above the threshold"] = Levels.of(csr, chosen, x.dtype)
    seconds = in_turn(ways)
    # Apart from those: a product of all blocks leaves nothing of the others' rows in the caches.
    seconds |= in_turn({way: partial(made.times, x, None, None, None) for way, made in levels.items()})
    row = {
        "edges": csr.num_edges, "density_threshold": threshold,
        "densest_block": max(block.density for block in every), "blocks": len(every),
        "dense_blocks": len(chosen), "default_uses_dense_blocks": default.levels(x) is not None,
        "milliseconds": {way: 1e3 * each for way, each in seconds.items()},
        "default_over_plain": seconds["default"] / seconds["plain"],
        "bytes": {"plain": csr.indptr.nbytes + csr.indices.nbytes}
        | {way: made.nbytes for way, made in levels.items()},
        "dense_products_per_nonzero": {way: made.products_per_nonzero for way, made in levels.items()},
    }  # fmt: skip
    told = ", ".join(f"{way} {1e3 * each:.3f} ms" for way, each in seconds.items())
    print(
        f"{name:18} threshold {threshold:.2f}, densest block {row['densest_block']:.2f}, "
        f"{len(chosen)} of {len(every)} dense: {told}", flush=True,
    )  # fmt: skip
    return row


def plain_and_default(matrix: TwoLevelMatrix, x: torch.Tensor) -> dict[str, Callable[[], object]]:
    """The product without levels, and as the matrix has it, once it is known how each is fastest."""
    plain = partial(Matrix.times, matrix, x)
    matrix.levels(x)
    matrix.find_way(x)
    return {"plain": plain, "default": partial(matrix.times, x)}


def in_turn(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each, run in turn, every other time in the opposite order.

    Short ones run several times in a row: the first call after another way is slower than those that follow.
    """
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(-10, ROUNDS):
        for way in sorted(ways, reverse=bool(number % 2)):
            calls = max(1, round(LOOK / min(taken[way]))) if taken[way] else 1
            began = time.perf_counter()
            for _ in range(calls):
                ways[way]()
            taken[way].append((time.perf_counter() - began) / calls)
    return {way: median(each[10:]) for way, each in taken.items()}


def planted(features: int) -> dict[str, Any]:
    """Blocks of known density on the diagonal and a thin remainder: where dense products begin to pay."""
    found = {}
    for density in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8):
        generator = torch.Generator().manual_seed(0)
        side, number = 256, 16
        inside = torch.rand(number, side, side, generator=generator) < density
        block, row, col = inside.nonzero().unbind(1)
        rows, cols = block * side + row, block * side + col
        thin = torch.randint(side * number, (2, 4 * side * number), generator=generator)
        csr = CSR.from_pairs(
            torch.cat([rows, thin[0]]), torch.cat([cols, thin[1]]), side * number, side * number
        )
        layout = Layout(torch.arange(side * number), torch.arange(number + 1) * side)
        x = torch.randn(side * number, features)
        made = {
            way: Levels.of(csr, dense_blocks(csr, layout), x.dtype, batched=way != "dense")
            for way in ("dense", "dense, in batches")
        }
        seconds = in_turn(plain_and_default(TwoLevelMatrix(csr, layout), x))
        seconds |= in_turn({way: partial(each.times, x, None, None, None) for way, each in made.items()})
        found[str(density)] = {way: 1e3 * each for way, each in seconds.items()} | {
            "default_over_plain": seconds["default"] / seconds["plain"]
        }
        print(f"density {density:.2f}: {found[str(density)]}", flush=True)
    return found


def main() -> None:
    """Measure and print."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("graphs", nargs="*", default=GRAPHS)
    cli.add_argument("--features", type=int, default=64)
    cli.add_argument("--out", type=Path, help="write the result here, too")
    options = cli.parse_args()
    torch.set_num_threads(1)
    found = {name: measured(name, options.features) for name in options.graphs}
    both = {"features": options.features, "graphs": found, "planted": planted(options.features)}
    report(both, options.out, show=False)


if __name__ == "__main__":
    main()
