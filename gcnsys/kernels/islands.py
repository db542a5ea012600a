"""Connected sets of nodes that grow level by level until they would be too large.

Letters: N nodes, L levels.
"""

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from gcnsys.graph import CSR
from gcnsys.kernels.backend import core

Ints = npt.NDArray[np.int64]


def grown(csr: CSR, level: Tensor, levels: int, cap: int) -> Tensor:
    """The largest connected sets of at most ``cap`` nodes, as nodes come in level by level.

    A set that a level would make larger than ``cap`` stays as it was before; nodes of that level which would
    be in it are in none. In time linear in nodes and edges; the sets do not depend on the nodes' numbers.

    Args:
        csr: ``[N, N]``, every edge both ways; self-loops do not matter.
        level: ``[N]`` int32 in ``[0, L)``, when each node comes in.
        levels: L.
        cap: at least 1.

    Returns:
        ``[N]`` int64: a member of each node's set, the same for all of it; -1 for a node in none.
    """
    module = core()
    if module is None:
        return torch.from_numpy(_grown(csr, level.numpy(), levels, cap))
    label = torch.empty(csr.num_rows, dtype=torch.int64)
    module.Pattern(csr.indptr, csr.indices, csr.num_cols).islands(level, levels, cap, label)
    return label


def _grown(csr: CSR, level: npt.NDArray[np.int32], levels: int, cap: int) -> Ints:
    pairs = np.stack([csr.rows().long().numpy(), csr.indices.long().numpy()])
    when = level[pairs].max(0)
    edges, nodes = np.argsort(when, kind="stable"), np.argsort(level, kind="stable")
    edge_ptr = np.searchsorted(when[edges], np.arange(levels + 1))
    node_ptr = np.searchsorted(level[nodes], np.arange(levels + 1))
    hubs: list[Ints] = []
    label, closed = np.arange(level.size), np.zeros(level.size, bool)
    size = np.ones(level.size, np.int64)
    for now in range(levels):
        fresh = nodes[node_ptr[now] : node_ptr[now + 1]]
        ends = label[pairs[:, edges[edge_ptr[now] : edge_ptr[now + 1]]]]
        parts, place = np.unique(np.concatenate([ends.ravel(), fresh]), return_inverse=True)
        ends = place[: ends.size].reshape(2, -1)
        joined = sp.coo_array((np.ones(ends.shape[1], np.int8), tuple(ends)), shape=(parts.size,) * 2)
        count, group = connected_components(joined, directed=False)
        total = np.bincount(group, np.where(closed[parts], cap + 1, size[parts]), count)
        fits = total[group] <= cap
        closed[parts[~fits]] = True
        first = np.full(count, level.size)
        np.minimum.at(first, group, parts)
        renamed = np.arange(level.size)
        renamed[parts[fits]] = first[group[fits]]
        size[first[group[fits]]] = total[group[fits]]
        label = renamed[label]
        hubs.append(fresh[closed[fresh]])
    label[np.concatenate(hubs)] = -1
    return label
