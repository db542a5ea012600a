"""Graphs to and from PyG and DGL; SciPy matrices and edge lists are methods of ``Graph``."""

from typing import Any

import torch

from gcnsys.graph.graph import Graph
from gcnsys.registry import require


def from_pyg(data: Any) -> Graph:
    """The graph of a PyG ``Data`` object, with its ``edge_weight`` if it has one."""
    weight = getattr(data, "edge_weight", None)
    return Graph.from_edge_index(data.edge_index, num_nodes=int(data.num_nodes), weight=weight)


def to_pyg(graph: Graph) -> Any:
    """A PyG ``Data`` object with ``edge_index``, ``num_nodes`` and ``edge_weight`` if weighted."""
    pyg = require("torch_geometric.data", extra="pyg", purpose="converting a graph to PyG")
    data = pyg.Data(edge_index=graph.edge_index().long(), num_nodes=graph.num_nodes)
    if graph.weight is not None:
        data.edge_weight = graph.weight
    return data


def from_dgl(graph: Any, weight: str | None = None) -> Graph:
    """A homogeneous DGL graph; ``weight`` names the edge feature to take as edge weights."""
    src, dst = graph.edges()
    values = graph.edata[weight] if weight is not None else None
    return Graph.from_edge_index(torch.stack([src, dst]), num_nodes=graph.num_nodes(), weight=values)


def to_dgl(graph: Graph) -> Any:
    """A DGL graph; weights, if any, become the edge feature ``w``."""
    dgl = require("dgl", extra="dgl", purpose="converting a graph to DGL")
    src, dst = graph.edge_index().long()
    converted = dgl.graph((src, dst), num_nodes=graph.num_nodes)
    if graph.weight is not None:
        converted.edata["w"] = graph.weight
    return converted
