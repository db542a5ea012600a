"""Which edges of a whole graph go, and what is left: masks over edges, one place for all.

A mask of kept edges is ``[E]`` bool in the order of ``graph.adjacency``. It keeps both directions of a
symmetric edge or neither, and every node's edge to itself.
"""

from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gcnsys.datasets import Dataset
from gcnsys.errors import InputError
from gcnsys.graph import CSR, Graph
from gcnsys.polarize.split import Split

Baseline = Literal["random", "random-off-diagonal", "farthest"]


def kept_graph(graph: Graph, kept: Tensor, factors: Tensor | None = None) -> Graph:
    """The edges under a mask, their weights times factors ``[E]`` if those are given."""
    adjacency = graph.adjacency
    if factors is not None:
        weight = factors if adjacency.weight is None else factors.to(adjacency.weight) * adjacency.weight
        adjacency = replace(adjacency, weight=weight)
    return Graph(adjacency.keep(kept), graph.is_symmetric)


def pruned_dataset(dataset: Dataset, kept: Tensor, factors: Tensor | None = None) -> Dataset:
    """The same nodes with the edges under a mask."""
    return replace(dataset, graph=kept_graph(dataset.graph, kept, factors))


def blocks_of(adjacency: CSR, division: Split) -> Tensor:
    """The block that every edge lies in, ``[E]`` int64: receiver's subgraph times S plus the sender's."""
    at = division.subgraph_at
    return at[adjacency.rows().long()] * division.num_subgraphs + at[adjacency.indices.long()]


def block_counts(adjacency: CSR, division: Split, kept: Tensor | None = None) -> Tensor:
    """Edges in every block, ``[S, S]`` int64."""
    blocks = blocks_of(adjacency, division)
    if kept is not None:
        blocks = blocks[kept]
    size = division.num_subgraphs
    return torch.bincount(blocks, minlength=size * size).view(size, size)


def sparsified(
    graph: Graph, division: Split, kept: Tensor, least: int, *, diagonal: bool = False, most: float = 1.0
) -> Tensor:  # fmt: skip
    """Drop whole blocks of few edges (GCoD, step 3).

    Args:
        graph: in the order of the layout.
        division: its subgraphs.
        kept: ``[E]`` bool: what earlier steps left.
        least: eta: a block off the diagonal with fewer edges is dropped.
        diagonal: also one on it, as the released code does; edges of a node to itself stay.
        most: share of the free edges that may be gone then, those that went before included: the thinnest
            blocks are dropped, in a symmetric graph each with its mirror image, as long as there is room.

    Raises:
        InputError: ``least`` is below 0.
    """
    if least < 0:
        raise InputError(f"eta = {least}: a block cannot have fewer than 0 edges")
    adjacency, size = graph.adjacency, division.num_subgraphs
    free = adjacency.rows() != adjacency.indices
    counts = block_counts(adjacency, division, kept)
    thin = counts < least
    if not diagonal:
        thin &= ~torch.eye(size, dtype=torch.bool)
    falls = block_counts(adjacency, division, kept & free)
    if graph.is_symmetric:  # as are the counts, but for edges that a directed mask dropped one way
        thin = thin & thin.t()
        falls = (falls + falls.t()).triu(1) + torch.diag(falls.diagonal())
        chosen = torch.nonzero(thin.triu().flatten()).flatten()
    else:
        chosen = torch.nonzero(thin.flatten()).flatten()
    room = int(most * int(free.sum()) + 1e-9) - int((free & ~kept).sum())
    order = chosen[torch.argsort(falls.flatten()[chosen], stable=True)]
    dropped = torch.zeros(size * size, dtype=torch.bool)
    dropped[order[falls.flatten()[order].cumsum(0) <= room]] = True
    if graph.is_symmetric:
        dropped = (dropped.view(size, size) | dropped.view(size, size).t()).flatten()
    return kept & ~(dropped[blocks_of(adjacency, division)] & free)


def by_rule(graph: Graph, division: Split, rule: Baseline, ratio: float, *, seed: int = 0) -> Tensor:
    """A mask that needs no training, to compare with: the same share of the free edges goes.

    Args:
        graph: in the order of the layout.
        division: its subgraphs.
        rule: ``random``; ``random-off-diagonal``: between subgraphs, then within; ``farthest``: from the
            diagonal, a mere sort by ``|i - j|``.
        ratio: share to prune.
        seed: of chance.
    """
    adjacency = graph.adjacency
    rows, cols = adjacency.rows().long(), adjacency.indices.long()
    counted = torch.nonzero(rows > cols if graph.is_symmetric else rows != cols).flatten()
    chance = torch.from_numpy(np.random.default_rng(seed).random(counted.numel()))
    if rule == "random":
        rank = chance
    elif rule == "farthest":
        rank = chance - (rows - cols).abs()[counted].double()
    else:
        at = division.subgraph_at
        rank = chance + (at[rows] == at[cols])[counted].double()
    gone = counted[torch.argsort(rank, stable=True)[: int(ratio * counted.numel() + 1e-9)]]
    return _without(graph, rows, cols, gone)


def _without(graph: Graph, rows: Tensor, cols: Tensor, gone: Tensor) -> Tensor:
    """``[E]`` bool: all edges but some of those that are counted, and their other directions."""
    kept = torch.ones(rows.numel(), dtype=torch.bool)
    kept[gone] = False
    if graph.is_symmetric and gone.numel():
        # Rows ascend, and columns within a row, so that an edge's number ascends with its place.
        numbers = rows * graph.num_nodes + cols
        kept[torch.searchsorted(numbers, cols[gone] * graph.num_nodes + rows[gone])] = False
    return kept
