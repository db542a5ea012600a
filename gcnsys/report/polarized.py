"""The picture of a polarized graph: its adjacency before and after each step."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gcnsys.graph import Graph, Layout
from gcnsys.report.adjacency import spy
from gcnsys.report.style import COLOURS, figure, save


def plot(
    original: Graph, layout: Layout, group_of: Tensor, masks: Mapping[str, Tensor], name: str, path: Path
) -> None:
    """Draw the adjacency in the graph's order, in that of the layout, and after each step, to a PNG.

    Args:
        original: the graph in the order of the layout.
        layout: its groups are the S subgraphs.
        group_of: ``[S]`` the group of each subgraph; lines are drawn between groups.
        masks: over its edges, by the name of the step.
        name: of the dataset.
        path: of the picture.
    """
    save(drawn(original, layout, group_of, masks, name), path)


def drawn(original: Graph, layout: Layout, group_of: Tensor, masks: Mapping[str, Tensor], name: str) -> Any:
    """The same as a figure."""
    steps = len(masks) + 2
    made, axes = figure(1, steps, width=4.4 * steps, height=4.8)
    count, place = original.num_nodes, torch.arange(original.num_nodes)
    made.suptitle(f"{name}: {count:,} nodes, {original.num_edges:,} directed edges")
    spy(axes[0][0], original.adjacency, layout.order, "the graph's order")
    starts = layout.group_ptr[:-1][torch.nonzero(group_of.diff() != 0).flatten() + 1]
    pictures = {"the layout's order": original.adjacency}
    for step, mask in masks.items():
        pictures[f"{step}: {float(mask.double().mean()):.1%} of edges"] = original.adjacency.keep(mask)
    for axis, (title, adjacency) in zip(axes[0][1:], pictures.items(), strict=True):
        cells = spy(axis, adjacency, place, title)
        for start in starts.tolist():
            for line in (axis.axhline, axis.axvline):
                line(start * cells / count - 0.5, color=COLOURS[4], linewidth=0.6)
    return made
