"""A one-pass assignment for graphs that METIS cannot hold.

Linear deterministic greedy (Stanton & Kliot, KDD 2012): a node goes to the part that holds most of
its neighbours, times the share of that part's room that is still free. Nodes arrive in slices of
consecutive ids, so that the work is vectorized; a node does not see the others of its own slice.
Reads each row once, in order, and keeps one number a node and one a part.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gcnsys.graph import Graph

Floats = npt.NDArray[np.float64]

_SLICES = 2048
_SLACK = 1.03  # METIS's own default imbalance


def stream(graph: Graph, num_parts: int, *, load: Tensor | None = None, seed: int = 0) -> Tensor:
    """Assign nodes in one pass over the rows of a graph.

    Args:
        graph: N nodes; a node's neighbours are those it receives from.
        num_parts: P.
        load: ``[N]`` positive numbers to balance; None: nodes.
        seed: breaks ties.

    Returns:
        ``[N]`` int32.
    """
    indptr, indices = graph.adjacency.indptr.numpy(), graph.adjacency.indices.numpy()
    num_nodes = graph.num_nodes
    weight = np.ones(num_nodes) if load is None else load.numpy().astype(np.float64)
    room = _SLACK * weight.sum() / num_parts
    filled = np.zeros(num_parts)
    # Unassigned neighbours count for the part after the last, which nobody looks at.
    assigned = np.full(num_nodes, num_parts, np.int32)
    rng = np.random.default_rng(seed)
    step = max(16, -(-num_nodes // _SLICES))
    for low in range(0, num_nodes, step):
        high = min(low + step, num_nodes)
        count = high - low
        row = np.repeat(np.arange(count), np.diff(indptr[low : high + 1]))
        seen = assigned[indices[indptr[low] : indptr[high]]]
        votes = np.bincount(row * (num_parts + 1) + seen, minlength=count * (num_parts + 1))
        votes = votes.reshape(count, num_parts + 1)[:, :num_parts]
        free = np.maximum(1 - filled / room, 0)
        # The small term spreads nodes that know nobody yet, emptier parts first.
        score = (votes + 1e-3 * rng.random((count, num_parts)) + 1e-2) * free
        assigned[low:high] = _within(score, weight[low:high], filled, room)
    return torch.from_numpy(assigned)


def _within(score: Floats, weight: Floats, filled: Floats, room: float) -> npt.NDArray[np.int32]:
    """Each node's best part while it has room; the rest fill up the emptiest. Updates ``filled``."""
    choice: npt.NDArray[np.int32] = score.argmax(1).astype(np.int32)
    order = np.lexsort((-score.max(1), choice))
    grouped = weight[order].cumsum()
    first = np.searchsorted(choice[order], np.arange(filled.size))
    before = np.concatenate([[0.0], grouped])[first]
    overfull = filled[choice[order]] + grouped - before[choice[order]] > room
    late = order[overfull]
    filled += np.bincount(np.delete(choice, late), np.delete(weight, late), minlength=filled.size)
    if late.size:
        space = np.maximum(room - filled, 0) + 1e-9 * room
        ends = space.cumsum() / space.sum() * weight[late].sum()
        choice[late] = np.searchsorted(ends, weight[late].cumsum() - weight[late] / 2).clip(
            0, filled.size - 1
        )
        filled += np.bincount(choice[late], weight[late], minlength=filled.size)
    return choice
