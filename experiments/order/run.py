"""Sums over neighbours with a part's nodes in each order, what of them misses the cache, what an order costs.

python -m experiments.order.run [NAME|SPEC ...] [--parts P] [--widths 64,256] [--out FILE]
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from experiments.cache import Cache
from experiments.kernels.graphs import data_folder
from experiments.kernels.timing import side_by_side
from experiments.machine import report
from gcnsys.datasets import load
from gcnsys.graph import CSR
from gcnsys.kernels import Matrix
from gcnsys.kernels.memory import as_training_has_it
from gcnsys.partition import assign, cut
from gcnsys.partition.assign import Request
from gcnsys.partition.order import Ordered, ordered

GRAPHS = {
    "cora": ("npz:{data}/cora.npz", 1),
    "amazon_photo": ("npz:{data}/amazon_photo.npz", 1),
    "coauthor_cs": ("npz:{data}/coauthor_cs.npz", 1),
    "dblp_full": ("npz:{data}/dblp_full.npz", 1),
    "facebook_pages": ("npz:{data}/facebook_pages.npz", 1),
    "reddit60k": ("npz:{data}/reddit60k.npz", 2),
    "communities": ("synthetic:sbm,nodes=200000,degree=20,classes=1000,features=2", 2),
    "reddit-like": ("synthetic:reddit,nodes=233000,edges=22000000,features=2", 2),
}
"""By name: a SPEC and the number of parts. Ids of synthetic graphs say nothing of their communities."""

ORDERS: tuple[Ordered | Literal["random"], ...] = (*get_args(Ordered), "random")
STRAIGHT = 1 << 20
"""A tile wider than any row: x is gathered in place, not copied in slabs first."""


def renumbered(inner: CSR, order: Tensor) -> CSR:
    """The inner matrix with its nodes in another order."""
    place = torch.empty(inner.num_rows, dtype=inner.indices.dtype)
    place[order] = torch.arange(inner.num_rows, dtype=place.dtype)
    return inner.take_rows(order).renumbered(place, inner.num_cols)


def times_straight(matrix: Matrix, x: Tensor) -> Tensor:
    """A x without slabs, whatever the kernel would choose."""
    out = x.new_empty(matrix.csr.num_rows, x.shape[1])
    matrix.native().product(x, out, False, None, None, None, None, 1, STRAIGHT)
    return out


def found(inner: CSR, order: Ordered | Literal["random"], *, is_symmetric: bool) -> Tensor:
    """A part's nodes in an order; ``random`` is what none can be worse than."""
    if order == "random":
        return torch.randperm(inner.num_rows, generator=torch.Generator().manual_seed(0))
    return ordered(inner, order, is_symmetric=is_symmetric)


def misses(inner: CSR, cache: Cache) -> float:
    """Share of the gathered rows that miss a simulated cache, row after row, the second time over."""
    sources = inner.indices.numpy().astype(np.int64)
    cache.misses(sources)
    return cache.misses(sources) / max(1, inner.num_edges)


def both_caches(inner: CSR, width: int) -> dict[str, float]:
    """Misses of a last cache of 32 MiB, and of a core's own of 1 MiB."""
    line = 4 * width
    caches = {"last": Cache(line=line), "own": Cache(size=1 << 20, line=line)}
    return {name: misses(inner, cache) for name, cache in caches.items()}


def measured(spec: str, parts: int, widths: list[int], seconds: float) -> dict[str, Any]:
    """Seconds to order the first part's nodes, and milliseconds of a product, by order."""
    graph = load(spec).graph
    began = time.perf_counter()
    assignment = assign(graph, "metis", Request(parts))
    assigning = time.perf_counter() - began
    inner, is_symmetric = cut(graph, assignment, parts)[0].inner, graph.is_symmetric
    del graph
    inner = CSR(inner.indptr, inner.indices, inner.num_cols)  # as unweighted as most graphs are
    costs, matrices = {}, {}
    for order in ORDERS:
        began = time.thread_time()
        nodes = found(inner, order, is_symmetric=is_symmetric)
        costs[order] = time.thread_time() - began
        matrices[order] = Matrix(renumbered(inner, nodes), symmetric=is_symmetric)
    record: dict[str, Any] = {
        "parts": parts, "nodes": inner.num_rows, "edges": inner.num_edges,
        "assignment_seconds": assigning, "order_seconds": costs,
    }  # fmt: skip
    for width in widths:
        x = torch.randn(inner.num_rows, width)
        runs: dict[str, Callable[[], object]] = {}
        for order, matrix in matrices.items():
            runs[order] = partial(matrix.times, x)
            runs[f"{order}, straight"] = partial(times_straight, matrix, x)
        best = side_by_side(runs, seconds=seconds, clock=time.thread_time)
        record[f"milliseconds_at_{width}"] = {name: 1e3 * spent for name, spent in best.items()}
        record[f"misses_at_{width}"] = {
            order: both_caches(matrix.csr, width) for order, matrix in matrices.items()
        }  # fmt: skip
    return record


def table(name: str, record: dict[str, Any], widths: list[int]) -> str:
    """A record as lines: an order each, its cost, products, and how much faster than natural ones."""
    lines = [f"{name}: part of {record['nodes']:,} nodes, {record['edges']:,} edges"]
    for order in ORDERS:
        line = f"  {order:8s} {record['order_seconds'][order]:7.2f} s"
        for width in widths:
            spent, missed = record[f"milliseconds_at_{width}"], record[f"misses_at_{width}"][order]
            for kind in ("", ", straight"):
                gain = spent["natural" + kind] / spent[order + kind]
                line += f"   {width}{kind}: {spent[order + kind]:.2f} ms ({gain:.2f}x)"
            line += f", misses {missed['last']:.1%} (own cache {missed['own']:.1%})"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("graphs", nargs="*", default=list(GRAPHS), help="names, or dataset SPECs")
    cli.add_argument("--parts", type=int, default=2, help="of a SPEC")
    cli.add_argument("--widths", default="64,256")
    cli.add_argument("--seconds", type=float, default=10.0, help="of rounds for each width")
    cli.add_argument("--out", type=Path, help="write the result here, too, beside graphs that are on record")
    options = cli.parse_args()
    torch.set_num_threads(1)
    as_training_has_it()  # as a training run does
    widths = [int(width) for width in options.widths.split(",")]
    records = {}
    if options.out and options.out.exists():
        records = json.loads(options.out.read_text())["graphs"]
    for name in options.graphs:
        spec, parts = GRAPHS.get(name, (name, options.parts))
        records[name] = measured(spec.format(data=data_folder()), parts, widths, options.seconds)
        print(table(name, records[name], widths), file=sys.stderr, flush=True)
    result = {"command": ["experiments.order.run", *sys.argv[1:]], "graphs": records}
    report(result, options.out)


if __name__ == "__main__":
    main()
