"""What the cost model is told of a graph: a polarized layout in short, pruning by it, and islands."""

from collections.abc import Sequence

import numpy as np
import pymetis
import torch

from gcnsys.accel import Blocks, IslandTasks
from gcnsys.graph import Graph, Layout
from gcnsys.islands import Islands, ReusePlan, looped


def polarized_blocks(graph: Graph, thresholds: Sequence[int], *, groups: int = 2, total: int = 12) -> Blocks:
    """GCoD's layout in short: classes of degrees, each cut by METIS into blocks, dealt out to groups.

    Args:
        graph: undirected, without self-loops.
        thresholds: degrees between classes.
        groups: that the blocks of each class are dealt out to.
        total: blocks, about, shared out among classes by their edges.
    """
    degree = graph.adjacency.indptr.diff()
    kind = torch.bucketize(degree, torch.tensor(thresholds), right=True)
    edges = torch.bincount(kind, degree.double(), len(thresholds) + 1)
    each_group = (edges / edges.sum() * total / groups).round().clamp(min=1).long().tolist()
    block_of = torch.zeros(graph.num_nodes, dtype=torch.int64)
    kinds: list[int] = []
    belongs: list[int] = []
    for number, share in enumerate(each_group):
        nodes = torch.nonzero(kind == number).flatten()
        inside = graph.induced(nodes).adjacency
        matrix = pymetis.CSRAdjacency(inside.indptr.numpy(), inside.indices.numpy().astype(np.int64))
        cut = pymetis.part_graph(share * groups, matrix, recursive=False, options=pymetis.Options(seed=0))[1]
        block_of[nodes] = torch.tensor(cut) + len(kinds)
        kinds += [number] * (share * groups)
        belongs += [block % groups for block in range(share * groups)]
    order = sorted(range(len(kinds)), key=lambda block: (belongs[block], kinds[block]))
    place = torch.empty(len(order), dtype=torch.int64)
    place[torch.tensor(order)] = torch.arange(len(order))
    layout = Layout.from_groups(place[block_of], len(order))
    return Blocks(layout, torch.tensor(kinds)[order], torch.tensor(belongs)[order])


def farthest_dropped(graph: Graph, blocks: Blocks, share: float) -> Graph:
    """Without the share of edges whose ends are farthest apart in the layout: what GCoD's weights come to."""
    place = torch.empty(graph.num_nodes, dtype=torch.int64)
    place[blocks.layout.order] = torch.arange(graph.num_nodes)
    rows, cols = place[graph.adjacency.rows().long()], place[graph.adjacency.indices.long()]
    far = (rows - cols).abs()
    limit = far.double().quantile(1 - share)
    return Graph(graph.adjacency.keep(far <= limit), graph.is_symmetric)


def island_tasks(islands: Islands, plan: ReusePlan) -> IslandTasks:
    """Islands and the sums that they share; the search for them reads every entry of A + I once."""
    entries = looped(islands.graph).num_edges
    after = plan.count(entries).after
    return IslandTasks(islands.num_islands, islands.hubs.numel(), entries, after, entries)
