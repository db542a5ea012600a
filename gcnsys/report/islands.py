"""The picture of a graph's islands: its adjacency before and after, and how large islands are."""

from pathlib import Path
from typing import Any

import torch

from gcnsys.islands import Islands
from gcnsys.report.adjacency import spy
from gcnsys.report.style import COLOURS, figure, save


def plot(islands: Islands, name: str, path: Path) -> None:
    """Draw the adjacency in the graph's order and in that of the islands, and their sizes, to a PNG."""
    save(drawn(islands, name), path)


def drawn(islands: Islands, name: str) -> Any:
    """The same as a figure."""
    made, axes = figure(1, 3, width=14, height=4.6)
    count, hubs = islands.graph.num_nodes, islands.hubs.numel()
    made.suptitle(f"{name}: {hubs:,} hubs and {islands.num_islands:,} islands of {count:,} nodes")
    before, after, sizes = axes[0]
    order = islands.layout().order
    place = torch.empty_like(order)
    place[order] = torch.arange(count)
    spy(before, islands.graph.adjacency, torch.arange(count), "the graph's order")
    cells = spy(after, islands.graph.adjacency, place, f"hubs (above and left of {hubs:,}), then islands")
    if 0 < hubs < count:
        for line in (after.axhline, after.axvline):
            line(hubs * cells / count - 0.5, color=COLOURS[4], linewidth=0.8)
    many = torch.bincount(islands.sizes) if islands.num_islands else torch.zeros(1)
    there = torch.nonzero(many).flatten()
    sizes.bar(there.tolist(), many[there].tolist(), width=0.8, color=COLOURS[0])
    sizes.set(xlabel="nodes of an island", ylabel="islands", title="sizes of islands", yscale="log")
    return made
