"""The search for islands: connected sets of nodes that grow, round by round, until they would be too large.

Letters: N nodes, L levels, i islands.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.graph import CSR, offsets
from gcnsys.kernels.backend import core

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rounds:
    """The thresholds of the rounds, and how large an island may be.

    Attributes:
        cap: nodes of an island.
        decay: each threshold is this share of the one before, but at least 1 less.
        first: the first threshold; None: the largest degree.
    """

    cap: int = 256
    decay: float = 0.9
    first: int | None = None

    def __post_init__(self) -> None:
        if self.cap < 1:
            raise InputError(f"an island's cap must be at least 1 node, got {self.cap}")
        if not 0 <= self.decay < 1:
            raise InputError(f"a threshold's decay must be in [0, 1), got {self.decay}")
        if self.first is not None and self.first < 1:
            raise InputError(f"the first threshold must be at least 1, got {self.first}")

    def thresholds(self, largest: int) -> list[int]:
        """The thresholds, falling to 1, for a graph whose largest degree is given."""
        found = [max(1, min(largest, self.first or largest))]
        while found[-1] > 1:
            found.append(max(1, min(found[-1] - 1, int(found[-1] * self.decay))))
        return found


def searched(csr: CSR, degree: Tensor, rounds: Rounds) -> Tensor:
    """The islands that all rounds come to; :mod:`gcnsys.islands.locate` says what they are.

    Args:
        csr: ``[N, N]``, every edge both ways; self-loops do not matter.
        degree: ``[N]`` neighbours of each node.
        rounds: thresholds and cap.

    Returns:
        ``[N]`` int64: the island of each node, numbered by their first nodes; -1: it is a hub.
    """
    if not csr.num_rows:
        return torch.zeros(0, dtype=torch.int64)
    thresholds = torch.tensor(rounds.thresholds(int(degree.max()))[::-1])
    # Level t: below the threshold numbered t; the last level has none.
    level = torch.searchsorted(thresholds, degree, right=True).to(torch.int32)
    return numbered(grown(csr, level, thresholds.numel() + 1, rounds.cap))


def numbered(label: Tensor) -> Tensor:
    """Sets of nodes, ``[N]`` with equal numbers, numbered by their first nodes; negative ones are in none."""
    inside = label >= 0
    names, number = label[inside].unique(return_inverse=True)
    first = torch.full((names.numel(),), label.numel())
    first.scatter_reduce_(0, number, torch.nonzero(inside).flatten(), "amin")
    place = torch.empty_like(first)
    place[first.argsort()] = torch.arange(first.numel())
    found = torch.full_like(label, -1)
    found[inside] = place[number]
    return found


def laid_out(csr: CSR, island_of: Tensor) -> tuple[Tensor, Tensor]:
    """An order of hubs, those of most neighbours first, and then of islands, as the first of their hubs come.

    Args:
        csr: ``[N, N]``, every edge both ways.
        island_of: see :func:`searched`.

    Returns:
        ``[N]`` int64 the node at each place; ``[i + 2]`` where the hubs, and each island, begin, and the end.
    """
    count, is_hub = csr.num_rows, island_of < 0
    hubs, sizes = torch.nonzero(is_hub).flatten(), torch.bincount(island_of[~is_hub])
    rank = torch.full((count,), count)
    rank[hubs[csr.indptr.diff()[hubs].argsort(descending=True, stable=True)]] = torch.arange(hubs.numel())
    rows, cols = csr.rows().long(), csr.indices.long()
    beside = is_hub[cols] & ~is_hub[rows]
    first = torch.full_like(sizes, count)
    first.scatter_reduce_(0, island_of[rows[beside]], rank[cols[beside]], "amin")
    turn = first.argsort(stable=True)
    place = torch.empty_like(turn)
    place[turn] = torch.arange(turn.numel())
    group = torch.zeros(count, dtype=torch.int64)
    group[~is_hub] = 1 + place[island_of[~is_hub]]
    order = rank.argsort(stable=True)
    order = order[group[order].argsort(stable=True)]
    return order, offsets(torch.cat([torch.tensor([hubs.numel()]), sizes[turn]]))


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
