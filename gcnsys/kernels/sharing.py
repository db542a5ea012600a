"""Sums of pairs that many rows share: which pairs, and rows that are sums of them.

Rounds of greedy choice, in the manner of HAG (Jia et al., KDD 2020): of all pairs of items that at least a
threshold of rows hold, those that most rows hold come first, each item in one pair; in these rows the sum
takes the pair's place, and is an item itself afterwards. A threshold at which no pair is left is cut down.
Rows of more than ``reach`` items are cut into pieces of that many, which bounds the pairs that are
looked at by ``reach`` times the entries.

Letters: R rows, K columns, s sums, t terms.
"""

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from torch import Tensor

from gcnsys.graph import CSR, offsets
from gcnsys.kernels.backend import core

Ints = npt.NDArray[np.int64]


def shared(csr: CSR, *, reach: int = 1024, least: int = 2, decay: float = 0.5) -> tuple[Tensor, CSR]:
    """Sums of pairs, and rows made of columns and sums.

    Args:
        csr: ``[R, K]``, columns of a row ascending.
        reach: pairs are looked for among so many neighbouring entries of a row; at least 2.
        least: rows that must hold a pair for it to be shared; at least 2.
        decay: how far a threshold is cut down, in ``[0, 1)``.

    Returns:
        ``[s, 2]`` int64: the items of each sum, columns or sums before it (sum i is item K + i); and
        ``[R, K + s]`` the items of each row.
    """
    module = core()
    if module is None:
        return _shared(csr, reach, least, decay)
    sharing = module.Sharing(module.Pattern(csr.indptr, csr.indices, csr.num_cols), reach, least, decay)
    sums, indptr = torch.empty(2 * sharing.num_sums, dtype=torch.int64), torch.empty_like(csr.indptr)
    items = torch.empty(sharing.num_terms, dtype=torch.int64)
    sharing.write(sums, indptr, items)
    return sums.view(-1, 2), CSR(indptr, items, csr.num_cols + sharing.num_sums)


def _shared(csr: CSR, reach: int, least: int, decay: float) -> tuple[Tensor, CSR]:
    rows = csr.rows().long()
    place = torch.arange(csr.num_edges) - csr.indptr[rows]
    opens = ((place % reach == 0).long().cumsum(0) - 1).numpy()
    row_of = torch.zeros(int(opens[-1]) + 1 if opens.size else 0, dtype=torch.int64)
    row_of[opens] = rows
    entries = np.ones(csr.num_edges, np.int32), (opens, csr.indices.numpy())
    held = sp.csr_array(entries, shape=(row_of.numel(), csr.num_cols))
    sums: list[Ints] = []
    threshold = max(least, int(np.bincount(csr.indices.numpy(), minlength=1).max()))
    while True:
        pairs = _matched(held, threshold)
        if pairs.size:
            sums.append(pairs)
            held = _replaced(held, pairs)
        elif threshold <= least:
            break
        else:
            threshold = max(least, min(int(threshold * decay), threshold - 1))
    held.sort_indices()
    pieces = CSR.from_scipy(held, weighted=False)
    counts = torch.zeros(csr.num_rows, dtype=torch.int64).index_add_(0, row_of, pieces.indptr.diff())
    found = np.concatenate(sums) if sums else np.empty((0, 2), np.int64)
    return torch.from_numpy(found), CSR(offsets(counts), pieces.indices.long(), pieces.num_cols)


def heaviest(one: Ints, other: Ints, weight: Ints, count: int) -> Ints:
    """Pairs, ``[p, 2]`` of ``[e]``, those of most weight first, in which none of ``count`` items comes twice.

    Of equal weight, those of the smaller items come first.
    """
    order = np.lexsort((other, one, -weight))
    one, other = one[order], other[order]
    chosen: list[Ints] = [np.empty((0, 2), np.int64)]
    while one.size:
        # A pair that comes first for both of its items is one that going through all in order would take.
        first, turn = np.full(count, one.size), np.arange(one.size)
        np.minimum.at(first, one, turn)
        np.minimum.at(first, other, turn)
        taken = (first[one] == turn) & (first[other] == turn)
        chosen.append(np.stack([one[taken], other[taken]], 1))
        busy = np.zeros(count, bool)
        busy[chosen[-1]] = True
        free = ~busy[one] & ~busy[other]
        one, other = one[free], other[free]
    return np.concatenate(chosen)


def _matched(held: sp.csr_array, threshold: int) -> Ints:
    """Pairs of items that so many pieces hold, those of most first, each item once; by first items."""
    frequency = np.bincount(held.indices, minlength=held.shape[1])
    items = np.flatnonzero(frequency >= threshold)
    some = sp.csr_array(held[:, items])
    coo = sp.coo_array(sp.triu(some.T @ some, 1))
    good = coo.data >= threshold
    pairs = heaviest(items[coo.row[good]], items[coo.col[good]], coo.data[good], held.shape[1])
    return pairs[pairs[:, 0].argsort()]


def _replaced(held: sp.csr_array, pairs: Ints) -> sp.csr_array:
    """The pieces with new items, last, in the place of pairs."""
    columns = sp.csc_array(held)
    both = sp.csr_array(columns[:, pairs[:, 0]].multiply(columns[:, pairs[:, 1]]))
    ends = (np.ones(pairs.size, np.int32), pairs.ravel(), np.arange(0, pairs.size + 1, 2))
    gone = both @ sp.csr_array(ends, shape=(len(pairs), held.shape[1]))
    rest = sp.csr_array(held - gone)
    rest.eliminate_zeros()
    return sp.csr_array(sp.hstack([rest, both], format="csr"))
