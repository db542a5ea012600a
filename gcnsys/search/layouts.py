"""What the cost model is told of a graph: a polarized layout, pruning by it, and islands."""

from collections.abc import Sequence

import torch

from gcnsys.accel import Blocks, IslandTasks
from gcnsys.graph import Graph, Layout
from gcnsys.islands import Islands, ReusePlan, looped
from gcnsys.polarize.split import Split, SplitSettings, split


def polarized_blocks(graph: Graph, thresholds: Sequence[int], *, groups: int = 2, total: int = 12) -> Blocks:
    """GCoD's layout: classes of degrees, each cut into blocks, dealt out to groups.

    Args:
        graph: undirected, without self-loops.
        thresholds: degrees between classes.
        groups: that the blocks of each class are dealt out to.
        total: blocks.
    """
    settings = SplitSettings(tuple(map(float, thresholds)), subgraphs=total, groups=groups)
    return blocks_of(split(graph, settings))


def blocks_of(division: Split, *, in_order: bool = False) -> Blocks:
    """The subgraphs of a split as an accelerator's blocks.

    Args:
        division: of the nodes.
        in_order: nodes are numbered by their place in the layout already.
    """
    layout = division.layout
    if in_order:
        layout = Layout(torch.arange(layout.order.numel()), layout.group_ptr)
    return Blocks(layout, division.class_of, division.group_of)


def farthest_dropped(graph: Graph, blocks: Blocks, share: float) -> Graph:
    """Without the share of edges whose ends are farthest apart in the layout: what GCoD's weights come to."""
    if graph.num_edges == 0:
        return graph
    place = torch.empty(graph.num_nodes, dtype=torch.int64)
    place[blocks.layout.order] = torch.arange(graph.num_nodes)
    rows, cols = place[graph.adjacency.rows().long()], place[graph.adjacency.indices.long()]
    far = (rows - cols).abs()
    limit = far.kthvalue(int((1 - share) * (far.numel() - 1)) + 1).values
    return Graph(graph.adjacency.keep(far <= limit), graph.is_symmetric)


def island_tasks(islands: Islands, plan: ReusePlan) -> IslandTasks:
    """Islands and the sums that they share; the search for them reads every entry of A + I once."""
    entries = looped(islands.graph).num_edges
    after = plan.count(entries).after
    return IslandTasks(islands.num_islands, islands.hubs.numel(), entries, after, entries)
