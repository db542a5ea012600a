"""I-GCN's shared sums (Geng et al., MICRO 2021, section 4): of consecutive nodes of an island.

The nodes of an island are cut into windows of k. The sum of a window is made once; a row with at least half
of a window adds the sum and subtracts what it does not have. Rows are the island's nodes, and its hubs as far
as their edges lead to the island; an island's hubs are cut into windows of their own.

Letters: N nodes, B entries between a row and an island, w windows.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse import csr_array

from gcnsys.errors import InputError
from gcnsys.graph import CSR
from gcnsys.islands.locate import Islands
from gcnsys.islands.plan import ReusePlan, looped, signed
from gcnsys.kernels.sharing import heaviest

Ints = npt.NDArray[np.int64]


def published(islands: Islands, k: int = 2) -> ReusePlan:
    """The rule to the letter: every window has a sum, which half of it is enough to use."""
    return _planned(islands, k, literal=True)


def exact(islands: Islands, k: int = 2) -> ReusePlan:
    """Windows that never lose: a sum is used where it takes fewer terms, and made where that pays."""
    return _planned(islands, k, literal=False)


@dataclass(frozen=True, eq=False, slots=True)
class _Tasks:
    """What an island's rows and columns are: pairs of a node and an island, numbered.

    Attributes:
        rows, cols: ``[B]`` tasks at both ends of each entry.
        node: ``[T]`` of each task.
        group: ``[T]`` where windows may not reach beyond: an island's nodes, or an island's hubs.
    """

    rows: Ints
    cols: Ints
    node: Ints
    group: Ints


def _planned(islands: Islands, k: int, *, literal: bool) -> ReusePlan:
    if k < 2:
        raise InputError(f"a window must hold at least 2 nodes, got {k}")
    count, whole = islands.graph.num_nodes, looped(islands.graph)
    rows, cols = whole.rows().long().numpy(), whole.indices.long().numpy()
    island_of = islands.island_of.numpy()
    of = np.maximum(island_of[rows], island_of[cols])
    tasks, alone = _tasks(islands, rows[of >= 0], cols[of >= 0], of[of >= 0]), of < 0
    entries = _ones(tasks.rows, tasks.cols, (tasks.node.size,) * 2)
    window, size = _windows(tasks.group, _order(entries, tasks.group), k)
    members = _ones(window, np.arange(window.size), (size.size, window.size))
    used, kept = _chosen(csr_array(entries @ members.T), size, literal=literal)
    rest = sp.coo_array(entries - used @ members)  # 1: added by itself; -1: part of a sum, and subtracted
    rest.eliminate_zeros()
    plus = sp.coo_array(used)
    every_row = np.concatenate([rows[alone], tasks.node[rest.row], tasks.node[plus.row]])
    every_col = np.concatenate([cols[alone], tasks.node[rest.col], count + (np.cumsum(kept) - 1)[plus.col]])
    values = np.concatenate([np.ones(int(alone.sum())), rest.data, np.ones(plus.nnz)]).astype(np.float32)
    found = csr_array((values, (every_row, every_col)), shape=(count, count + int(kept.sum())))
    sums = csr_array(members[np.flatnonzero(kept)])
    level = csr_array((sums.data, tasks.node[sums.indices], sums.indptr), shape=(sums.shape[0], count))
    return ReusePlan((CSR.from_scipy(level, weighted=False),), signed(found))


def _ones(rows: Ints, cols: Ints, shape: tuple[int, int]) -> csr_array:
    return csr_array((np.ones(rows.size, np.int32), (rows, cols)), shape=shape)


def _chosen(hits: csr_array, size: Ints, *, literal: bool) -> tuple[csr_array, npt.NDArray[np.bool_]]:
    """Which rows use which window's sum, by how many of its nodes they have; and which sums are made."""
    missing = size[hits.indices] - hits.data
    if literal:
        used, kept = hits.data >= missing, size >= 2
    else:
        saved = hits.data - (1 + missing)
        used = saved > 0
        kept = np.bincount(hits.indices[used], saved[used], size.size) > size - 1
    found = csr_array(((used & kept[hits.indices]).astype(np.int32), hits.indices, hits.indptr), hits.shape)
    found.eliminate_zeros()
    return found, kept


def _tasks(islands: Islands, rows: Ints, cols: Ints, of: Ints) -> _Tasks:
    count = islands.graph.num_nodes
    pairs = np.concatenate([of * count + rows, of * count + cols])
    keys, place = np.unique(pairs, return_inverse=True)
    node, island = keys % count, keys // count
    is_hub = islands.island_of.numpy()[node] < 0
    return _Tasks(place[: rows.size], place[rows.size :], node, 2 * island + is_hub)


def _order(entries: csr_array, group: Ints) -> Ints:
    """Tasks by group, the two that most rows have both side by side; those without a partner come last."""
    both = sp.coo_array(sp.triu(entries.T @ entries, 1))
    good = (both.data > 1) & (group[both.row] == group[both.col])
    pairs = heaviest(
        both.row[good].astype(np.int64), both.col[good].astype(np.int64), both.data[good], group.size
    )
    own = np.arange(group.size)
    partner = own.copy()
    partner[pairs] = pairs[:, ::-1]
    return np.lexsort((own, np.minimum(own, partner), partner == own, group))


def _windows(group: Ints, order: Ints, k: int) -> tuple[Ints, Ints]:
    """The window of each task, and how many tasks each window has."""
    group = group[order]
    begins = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]])) if group.size else group
    place = np.arange(group.size) - np.repeat(begins, np.diff(np.append(begins, group.size)))
    opens = place % k == 0
    window = np.empty(order.size, np.int64)
    window[order] = np.cumsum(opens) - 1
    return window, np.bincount(window, minlength=int(opens.sum()))
