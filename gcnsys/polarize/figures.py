"""What polarization did to a graph, in numbers; edges of a node to itself are left out of all of them."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from gcnsys.graph import CSR, Graph, Layout
from gcnsys.polarize.prune import block_counts
from gcnsys.polarize.split import Split, apportioned

ELEMENTS = 4096
"""Processing elements of the published accelerator (GCoD, Table V)."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a mask does to a graph in the order of a layout.

    Attributes:
        edges: directed edges that are kept.
        kept: as a share of those there were.
        inside: share of them within subgraphs.
        off_diagonal_reduction: share of the edges between subgraphs that went.
        mean_distance: mean ``|i - j|`` of kept edges.
    """

    edges: int
    kept: float
    inside: float
    off_diagonal_reduction: float
    mean_distance: float


def figures(graph: Graph, division: Split, kept: Tensor) -> Figures:
    """Count what a mask ``[E]`` keeps."""
    adjacency, at = graph.adjacency, division.subgraph_at
    rows, cols = adjacency.rows().long(), adjacency.indices.long()
    free, inside = rows != cols, at[rows] == at[cols]
    left = free & kept
    total, count = int(free.sum()), int(left.sum())
    before, outside = int((free & ~inside).sum()), int((left & ~inside).sum())
    distance = (rows - cols).abs()[left].double()
    return Figures(
        count, count / max(1, total), (count - outside) / max(1, count),
        1 - outside / before if before else 0.0, float(distance.mean()) if count else 0.0,
    )  # fmt: skip


def blocks(graph: Graph, division: Split, kept: Tensor) -> list[dict[str, Any]]:
    """The diagonal blocks: class, group, nodes, edges, and the share of entries that are not 0."""
    sizes = division.layout.group_ptr.diff()
    counts = block_counts(graph.adjacency, division, _free(graph) & kept).diagonal()
    dense = counts / (sizes * (sizes - 1)).clamp(min=1)
    columns = zip(
        division.class_of.tolist(), division.group_of.tolist(), sizes.tolist(), counts.tolist(),
        dense.tolist(), strict=True,
    )  # fmt: skip
    names = ("class", "group", "nodes", "edges", "density")
    return [dict(zip(names, row, strict=True)) for row in columns]


def diagonal_counts(adjacency: CSR, layout: Layout) -> Tensor:
    """Edges in each diagonal block of a layout, ``[S]`` int64, those of a node to itself included."""
    at = torch.repeat_interleave(layout.group_ptr.diff()).to(adjacency.indices.device)
    rows = at[adjacency.rows().long()]
    same = rows == at[adjacency.indices.long()]
    return torch.bincount(rows[same], minlength=layout.num_groups)


def work(graph: Graph, division: Split, kept: Tensor, elements: int = ELEMENTS) -> dict[str, Any]:
    """The edges of each class's diagonal blocks and those off the diagonal, and how elements are shared.

    A class has a sub-accelerator of its own, and what lies off the diagonal has one, the last. Elements go by
    work, at least one to each that has any; balance is the longest time over the mean, of those.
    """
    counts = block_counts(graph.adjacency, division, _free(graph) & kept)
    own = counts.diagonal()
    classes = division.class_of.unique().tolist()
    loads = [int(own[division.class_of == number].sum()) for number in classes]
    remainder = int(counts.sum() - own.sum())
    every = torch.tensor([*loads, remainder], dtype=torch.float64)
    busy = every > 0
    shares = torch.zeros(every.numel(), dtype=torch.int64)
    if bool(busy.any()):
        shares[busy] = torch.tensor(apportioned(every[busy], elements))
    times = (every[busy] / shares[busy]).tolist()
    return {
        "classes": classes, "edges_by_class": loads, "edges_off_diagonal": remainder,
        "elements": shares.tolist(), "balance": max(times) * len(times) / sum(times) if times else 1.0,
        "in_edges_deviation": in_edges_deviation(graph, division),
    }  # fmt: skip


def in_edges_deviation(graph: Graph, division: Split) -> float:
    """By how much the edges that end in a subgraph differ from the mean of its class, at most."""
    found = graph.adjacency.indptr[division.layout.group_ptr].diff().double()
    worst = 0.0
    for number in division.class_of.unique():
        of = found[division.class_of == number]
        mean = float(of.mean())
        if mean:
            worst = max(worst, float((of - mean).abs().max()) / mean)
    return worst


def report(graph: Graph, division: Split, masks: dict[str, Tensor]) -> dict[str, Any]:
    """All of it, for the masks of successive steps by name; the last one counts for blocks and work."""
    last = list(masks.values())[-1]
    return {
        "steps": {name: asdict(figures(graph, division, mask)) for name, mask in masks.items()},
        "blocks": blocks(graph, division, last), "work": work(graph, division, last),
    }  # fmt: skip


def _free(graph: Graph) -> Tensor:
    return graph.adjacency.rows() != graph.adjacency.indices
