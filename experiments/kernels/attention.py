"""Seconds of one graph attention layer, forward and backward: ours, DGL's ``GATConv`` and PyG's.

All three are the same layer with the same weights, which is checked before anything is timed:
projection, attention over in-edges and self-loops, bias. PyG holds a row of features for every edge,
so it is timed on a share of the edges, and ours beside it.

    python -m experiments.kernels.attention GRAPH [--threads 2] [--out FILE]

Letters: N nodes, H heads, D features a head.
"""

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from experiments.machine import report
from gcnsys.datasets import load
from gcnsys.graph import Graph
from gcnsys.kernels.attention import gat_attention
from gcnsys.kernels.backend import name
from gcnsys.kernels.edges import Edges

Layer = Callable[[Tensor], Tensor]


class GATLayer(nn.Module):
    """``[N, in] -> [N, H D]`` over fixed edges (Veličković et al. 2018, concatenated heads).

    The logits' shares ``<a_h, W_h x>`` are taken as ``<W_h^T a_h, x>``: a product of the width H.
    """

    def __init__(self, edges: Edges, in_features: int, heads: int, width: int) -> None:
        super().__init__()
        self.edges, self.heads = edges, heads
        self.weight = nn.Parameter(torch.empty(heads * width, in_features))
        self.own, self.other = (nn.Parameter(torch.empty(heads, width)) for _ in range(2))
        self.bias = nn.Parameter(torch.zeros(heads * width))
        for parameter in (self.weight, self.own, self.other):
            nn.init.xavier_normal_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        by_head = self.weight.view(self.heads, -1, x.shape[1])
        folded = torch.cat([torch.einsum("hd,hdi->hi", a, by_head) for a in (self.own, self.other)])
        destination, source = (x @ folded.t()).chunk(2, 1)
        return gat_attention(self.edges, x @ self.weight.t(), destination, source) + self.bias


def dgl_layer(graph: Graph, like: GATLayer) -> tuple[Layer, list[Tensor]]:
    """DGL's layer with the same weights, and its parameters in the order of ours."""
    import dgl
    from dgl.nn.pytorch import GATConv

    outputs, inputs = like.weight.shape
    conv = GATConv(inputs, outputs // like.heads, like.heads)
    parameters = [conv.fc.weight, conv.attn_r, conv.attn_l, conv.bias]
    adopt(parameters, like)
    src, dst = graph.edge_index()
    theirs = dgl.graph((src, dst), num_nodes=graph.num_nodes)
    theirs.create_formats_()
    return lambda x: conv(theirs, x).flatten(1), parameters


def pyg_layer(graph: Graph, like: GATLayer) -> tuple[Layer, list[Tensor]]:
    """PyG's layer with the same weights, and its parameters in the order of ours."""
    from torch_geometric.nn import GATConv

    outputs, inputs = like.weight.shape
    conv = GATConv(inputs, outputs // like.heads, heads=like.heads, add_self_loops=False)
    parameters = [conv.lin.weight, conv.att_dst, conv.att_src, conv.bias]
    adopt(parameters, like)
    pairs = graph.edge_index().long()
    return lambda x: conv(x, pairs), parameters


def adopt(parameters: Iterable[Tensor], like: GATLayer) -> None:
    for theirs, ours in zip(parameters, like.parameters(), strict=True):
        theirs.data.copy_(ours.data.view_as(theirs))


def step(layer: Layer, parameters: list[Tensor], x: Tensor, grad: Tensor) -> tuple[float, float]:
    """Seconds forward and backward."""
    for parameter in parameters:
        parameter.grad = None
    times = [time.perf_counter()]
    out = layer(x)
    times.append(time.perf_counter())
    out.backward(grad)
    times.append(time.perf_counter())
    return times[1] - times[0], times[2] - times[1]


def deviation(found: list[Tensor], expected: list[Tensor]) -> float:
    """The largest relative difference of what should be equal."""
    pairs = zip(found, expected, strict=True)
    return max(float((a.view_as(b) - b).abs().max() / b.abs().max()) for a, b in pairs)


def compared(
    graph: Graph, x: Tensor, heads: int, width: int, repeats: int, others: dict[str, Any]
) -> dict[str, Any]:
    """Median seconds of every layer on a graph; one repeat times each once, so that load hits all alike."""
    torch.manual_seed(0)
    ours = GATLayer(Edges(graph.adjacency, symmetric=graph.is_symmetric), x.shape[1], heads, width)
    layers = {"gcnsys": (ours, list(ours.parameters()))}
    layers |= {side: make(graph, ours) for side, make in others.items()}
    grad = torch.randn(graph.num_nodes, heads * width)
    computed = {}
    for side, (layer, parameters) in layers.items():
        step(layer, parameters, x, grad)
        with torch.no_grad():
            computed[side] = [layer(x), *(parameter.grad for parameter in parameters)]
    times: dict[str, list[tuple[float, float]]] = {side: [] for side in layers}
    for _ in range(repeats):
        for side, (layer, parameters) in layers.items():
            times[side].append(step(layer, parameters, x, grad))
    result: dict[str, Any] = {"edges": graph.num_edges}
    for side, pairs in times.items():
        forward, backward = (statistics.median(column) for column in zip(*pairs, strict=True))
        total = statistics.median(map(sum, pairs))
        result[side] = {"forward_seconds": forward, "backward_seconds": backward, "seconds": total}
        result[side]["ratio"] = total / result["gcnsys"]["seconds"]
        result[side]["deviation"] = deviation(computed[side], computed["gcnsys"])
    return result


def share_of(graph: Graph, share: float) -> Graph:
    """The graph with a random share of its edges, and all self-loops."""
    pairs = graph.edge_index()
    picked = torch.rand(pairs.shape[1], generator=torch.Generator().manual_seed(0)) < share
    return Graph.from_edge_index(pairs[:, picked], num_nodes=graph.num_nodes).with_self_loops()


def table(result: dict[str, Any]) -> str:
    lines = [
        f"{'':8}{'edges':>10}{'forward':>10}{'backward':>10}{'together':>10}{'ratio':>8}{'deviation':>11}"
    ]
    for part in ("whole", "share"):
        for side, row in result[part].items():
            if side != "edges":
                seconds = "".join(
                    f"{row[key]:9.3f}s" for key in ("forward_seconds", "backward_seconds", "seconds")
                )
                lines.append(
                    f"{side:8}{result[part]['edges']:10}{seconds}{row['ratio']:7.1f}x{row['deviation']:11.1e}"
                )
    return "\n".join(lines)


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    cli.add_argument("graph", help="SPEC of a dataset with dense features")
    cli.add_argument("--threads", type=int, default=2)
    cli.add_argument("--heads", type=int, default=4)
    cli.add_argument("--width", type=int, default=64, help="features a head")
    cli.add_argument("--repeats", type=int, default=5)
    cli.add_argument("--share", type=float, default=0.3, help="of the edges, for PyG")
    cli.add_argument("--json", action="store_true", help="print one JSON object")
    cli.add_argument("--out", type=Path, help="write the result here, too")
    options = cli.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")  # of the other libraries' imports
    dataset = load(options.graph)
    x, graph = dataset.x, dataset.graph.with_self_loops()
    size = options.heads, options.width, options.repeats
    result: dict[str, Any] = {"nodes": graph.num_nodes, "in_features": x.shape[1], "kernels": name()}
    result |= {"heads": options.heads, "width": options.width, "repeats": options.repeats}
    result["whole"] = compared(graph, x, *size, {"dgl": dgl_layer})
    result["share"] = compared(share_of(graph, options.share), x, *size, {"pyg": pyg_layer})
    print(table(result), file=sys.stderr if options.json else sys.stdout)
    report(result, options.out, "dgl", "torch-geometric", show=options.json)


if __name__ == "__main__":
    main()
