"""Links taken out of a graph, so that a model can be asked for them."""

import numpy as np
import torch
from torch import Tensor

from gcnsys.datasets.dataset import Dataset, Split
from gcnsys.errors import InputError
from gcnsys.graph import CSR, Graph

VALIDATION, TEST = 0, 1
"""The kinds of the links that were held out, in the column ``edge_type`` of their graph."""


def hold_out(dataset: Dataset, split: Split) -> Dataset:
    """Take shares of a graph's links out of it: they are in ``held_out`` instead of in ``graph``.

    A link of a symmetric graph is a pair of nodes, and both of its edges go together. Self-loops stay. Labels
    and masks go: all nodes are trained on.

    Raises:
        InputError: edges are of several kinds, or no link is left to train on.
    """
    graph = dataset.graph
    if "edge_type" in graph.adjacency.columns:
        raise InputError(f"{dataset.name}: task = links does not tell kinds of edges; drop edge_type")
    kinds = _drawn(graph, split)
    known = graph.adjacency.keep(kinds < 0)
    held = graph.adjacency.pattern.keep(kinds >= 0)
    if known.num_edges == int(torch.isfinite(Graph(known, graph.is_symmetric).loop_weight()).sum()):
        raise InputError(f"{dataset.name}: no link is left to train on; there are {held.num_edges:,} edges")
    columns = {"edge_type": kinds[kinds >= 0].to(torch.int32)}
    held = CSR(held.indptr, held.indices, held.num_cols, None, columns)
    counts = [int((held.columns["edge_type"] == kind).sum()) for kind in (VALIDATION, TEST)]
    note = f"{counts[0]:,} edges are held out for validation and {counts[1]:,} for testing"
    all_nodes = torch.ones(graph.num_nodes, dtype=torch.bool)
    return dataset.noted(
        note, graph=Graph(known, graph.is_symmetric), held_out=Graph(held, graph.is_symmetric),
        y=torch.zeros(graph.num_nodes, dtype=torch.long), num_classes=1,
        train_mask=all_nodes, val_mask=~all_nodes, test_mask=~all_nodes,
    )  # fmt: skip


def _drawn(graph: Graph, split: Split) -> Tensor:
    """``[E]`` int8: what each edge is held out for, -1 for none."""
    adjacency = graph.adjacency
    rows = adjacency.rows()
    candidates = adjacency.indices < rows if graph.is_symmetric else adjacency.indices != rows
    links = torch.nonzero(candidates).flatten()
    del rows, candidates
    count = links.numel()
    ends = [round(count * share) for share in (split.train, split.train + split.val)]
    last = min(count, round(count * (split.train + split.val + split.test)))
    order = links[torch.from_numpy(np.random.default_rng(split.seed).permutation(count))]
    kinds = torch.full((adjacency.num_edges,), -1, dtype=torch.int8)
    kinds[order[ends[0] : ends[1]]] = VALIDATION
    kinds[order[ends[1] : last]] = TEST
    if graph.is_symmetric:
        # By column, the numbers of a symmetric pattern's entries tell where each one's mirror image is.
        numbers = torch.arange(adjacency.num_edges)
        mirror = CSR(adjacency.indptr, adjacency.indices, adjacency.num_cols, numbers).transposed().weight
        assert mirror is not None
        kinds = torch.maximum(kinds, kinds[mirror])
    return kinds
