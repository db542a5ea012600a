"""Sums over neighbours: ours beside torch's CSR product, DGL and PyG, in one process, round by round.

python -m experiments.kernels.spmm [GRAPH ...] [--widths 16,256] [--threads 1,2] [--json] [--out FILE]
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.kernels.graphs import REAL, named
from experiments.kernels.timing import copy_bandwidth, side_by_side
from experiments.machine import report
from gcnsys import kernels
from gcnsys.graph import Graph
from gcnsys.kernels import Matrix
from gcnsys.kernels.matrix import csr_tensor
from gcnsys.kernels.memory import as_training_has_it

WIDTHS = (16, 41, 64, 128, 256, 602)
PYG_BYTES = 2**31
"""PyG gathers a row an edge: it is left out where that takes more memory than this."""


class Peers:
    """The same sum, and its gradient, by each library; everything they can prepare is prepared."""

    def __init__(self, graph: Graph) -> None:
        self.graph, csr = graph, graph.adjacency
        # As in a partitioned run, nothing is known of a symmetry: the gradient has a matrix of its own.
        self.matrix = Matrix(csr)
        self.csr = csr_tensor(csr, torch.ones(csr.num_edges))
        self.flipped = csr_tensor(self.matrix.flipped.csr, torch.ones(csr.num_edges))
        self.edge_index = graph.edge_index().long()
        self.dgl = self._dgl()
        self.reverse = None if self.dgl is None else self.dgl.reverse()
        if self.reverse is not None:
            self.reverse.create_formats_()

    def _dgl(self) -> Any:
        try:
            import dgl
        except ImportError:
            return None
        made = dgl.graph(tuple(self.edge_index), num_nodes=self.graph.num_nodes)
        made = made.int() if self.graph.num_edges < 2**31 else made
        made.create_formats_()
        return made

    def forward(self, x: Tensor) -> dict[str, Callable[[], Tensor]]:
        """What to time of y = A x."""
        runs = {"ours": lambda: self.matrix.times(x), "torch": lambda: self.csr @ x}
        if x.dtype == torch.float32:
            half = x.bfloat16()
            runs["ours bf16"] = lambda: self.matrix.times(half)
        return runs | self._others(self.dgl, self.edge_index, x)

    def backward(self, grad: Tensor) -> dict[str, Callable[[], Tensor]]:
        """What to time of g = A^T y."""
        runs = {"ours": lambda: self.matrix.transpose_times(grad), "torch": lambda: self.flipped @ grad}
        if grad.dtype == torch.float32:
            half = grad.bfloat16()
            runs["ours bf16"] = lambda: self.matrix.transpose_times(half)
        return runs | self._others(self.reverse, self.edge_index.flip(0), grad)

    def _others(self, dgl_graph: Any, edge_index: Tensor, x: Tensor) -> dict[str, Callable[[], Tensor]]:
        runs: dict[str, Callable[[], Tensor]] = {}
        if dgl_graph is not None:
            import dgl

            runs["dgl"] = lambda: dgl.ops.copy_u_sum(dgl_graph, x)
        if self.graph.num_edges * x.shape[1] * x.element_size() <= PYG_BYTES:
            source, target = edge_index
            # What PyG's MessagePassing does with an edge index: gather, then scatter.
            runs["pyg"] = lambda: torch.zeros_like(x).index_add_(0, target, x.index_select(0, source))
        return runs


def must_move(graph: Graph, width: int, element: int = 4) -> int:
    """Bytes that a sum must move between memory and an ideal cache that forgets nothing.

    Offsets and columns are read once, so is x, and the result is written once.
    """
    csr = graph.adjacency
    pattern = csr.indptr.nbytes + csr.indices.nbytes
    return pattern + element * width * (csr.num_rows + csr.num_cols)


def measured(
    name: str, graph: Graph, widths: list[int], threads: list[int], seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """A record for each width, number of threads and direction."""
    peers = Peers(graph)
    for count in threads:
        torch.set_num_threads(count)
        bandwidth = copy_bandwidth()
        for width in widths:
            x = torch.randn(graph.num_nodes, width)
            for direction, runs in (("forward", peers.forward(x)), ("backward", peers.backward(x))):
                best = side_by_side(runs, seconds=seconds, clock=clock)
                ours = best["ours"]
                yield {
                    "graph": name.rpartition("/")[2], "nodes": graph.num_nodes,
                    "edges": graph.num_edges, "width": width, "threads": count, "direction": direction,
                    "milliseconds": {peer: 1e3 * best[peer] for peer in best},
                    "times_ours": {peer: best[peer] / ours for peer in best if peer != "ours"},
                    "of_memory_bandwidth": must_move(graph, width) / ours / bandwidth,
                    "gathered_gb_per_second": 4e-9 * graph.num_edges * width / ours,
                }  # fmt: skip


def line(record: dict[str, Any]) -> str:
    """A record as a line of the table."""
    ratios = "  ".join(f"{peer} {ratio:6.2f}x" for peer, ratio in record["times_ours"].items())
    return (
        f"{record['graph'][-28:]:28s} {record['width']:4d} {record['threads']} {record['direction']:8s} "
        f"{record['milliseconds']['ours']:9.3f} ms  {record['of_memory_bandwidth']:4.0%} of memory  "
        f"{record['gathered_gb_per_second']:6.1f} GB/s gathered  {ratios}"
    )


def worst(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Where ours is least ahead of the better of its peers in float32."""

    def lead(record: dict[str, Any]) -> float:
        return min(ratio for peer, ratio in record["times_ours"].items() if not peer.startswith("ours"))

    least = min(records, key=lead)
    return {"times_ours": lead(least)} | {
        key: least[key] for key in ("graph", "width", "threads", "direction")
    }


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("graphs", nargs="*", default=list(REAL), help="names, or dataset SPECs")
    options.add_argument("--widths", default=",".join(map(str, WIDTHS)))
    options.add_argument("--threads", default="1,2")
    options.add_argument("--seconds", type=float, default=1.0, help="of rounds for each figure")
    options.add_argument("--json", action="store_true")
    options.add_argument("--out", type=Path, help="write the result here, too")
    asked = options.parse_args()
    widths, threads = ([int(part) for part in text.split(",")] for text in (asked.widths, asked.threads))
    as_training_has_it()  # as a training run does; all peers gain by it
    records = []
    for name in asked.graphs:
        for record in measured(name, named(name), widths, threads, asked.seconds):
            records.append(record)
            print(line(record), file=sys.stderr, flush=True)
    result = {"worst": worst(records), "kernels": kernels.name(), "records": records}
    print("least ahead of the better peer:", result["worst"], file=sys.stderr)
    report(result, asked.out, "dgl", show=asked.json)


if __name__ == "__main__":
    main()
