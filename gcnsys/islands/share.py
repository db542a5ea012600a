"""Sums shared over the whole graph, wherever rows have neighbours in common.

Letters: N nodes, s sums.
"""

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from gcnsys.errors import InputError
from gcnsys.graph import CSR
from gcnsys.islands.plan import ReusePlan, signed
from gcnsys.kernels.sharing import shared

Ints = npt.NDArray[np.int64]


def shared_sums(csr: CSR, *, least: int = 2, reach: int = 1024) -> ReusePlan:
    """Rows with the sums of pairs that most of them have, and of pairs of those, and so on.

    Args:
        csr: ``[N, N]`` without weights, such as A or A + I; columns of a row ascend.
        least: rows that must have a pair. 2 takes the fewest operations; more makes fewer sums, each of which
            is written once and read by more rows, so that fewer bytes move.
        reach: see :func:`gcnsys.kernels.sharing.shared`.

    Raises:
        InputError: ``least`` or ``reach`` is below 2.
    """
    if least < 2 or reach < 2:
        raise InputError(
            f"a sum is shared by at least 2 rows and found among 2 terms, got {least} and {reach}"
        )
    sums, rows = shared(csr, reach=reach, least=least)
    count, width = len(sums), rows.num_cols
    pairs = sp.csr_array(
        (np.ones(2 * count, np.int32), sums.flatten().numpy(), np.arange(0, 2 * count + 1, 2)),
        shape=(count, width),
    )
    terms = sp.csr_array(sp.vstack([pairs, rows.to_scipy().astype(np.int32)], format="csr"))
    return _levelled(_inlined(terms, count), csr.num_rows)


def _inlined(terms: sp.csr_array, count: int) -> sp.csr_array:
    """Sums, then rows, without the sums that only one of them reads: their terms stand there instead."""
    first = terms.shape[1] - count
    single = np.bincount(terms.indices, minlength=terms.shape[1])[first:] == 1
    chosen, kept = np.flatnonzero(single), np.flatnonzero(~single)
    own = sp.csr_array(terms[chosen])
    while True:
        read = sp.csr_array(sp.csc_array(terms)[:, first + chosen])
        if not read.nnz:
            break
        rest = terms.copy()
        rest.data[np.isin(rest.indices, first + chosen)] = 0
        rest.eliminate_zeros()
        terms = sp.csr_array(rest + read @ own)
        own = sp.csr_array(terms[chosen])
    rows = np.concatenate([kept, np.arange(count, terms.shape[0])])
    return sp.csr_array(sp.csc_array(terms[rows])[:, np.concatenate([np.arange(first), first + kept])])


def _levelled(terms: sp.csr_array, num_nodes: int) -> ReusePlan:
    """A plan of sums, then rows; a sum of level l reads sums of the levels before it."""
    count = terms.shape[0] - num_nodes
    sums = sp.csr_array(terms[:count])
    depth = np.zeros(terms.shape[1], np.int64)
    while True:
        deeper = np.zeros(terms.shape[1], np.int64)
        if count:
            deeper[num_nodes:] = 1 + np.maximum.reduceat(depth[sums.indices], sums.indptr[:-1])
        if np.array_equal(deeper, depth):
            break
        depth = deeper
    order = np.argsort(depth, kind="stable")
    terms = sp.csr_array(sp.csc_array(terms)[:, order])
    own = order[num_nodes:] - num_nodes
    ends = np.cumsum(np.bincount(depth[num_nodes:], minlength=1))
    levels, begin = [], 0
    for end in ends[1:].tolist():
        level = sp.csr_array(sp.csc_array(terms[own[begin:end]])[:, : num_nodes + begin])
        level.sort_indices()
        levels.append(CSR.from_scipy(level, weighted=False))
        begin = end
    rows = sp.csr_array(terms[count:])
    rows.sort_indices()
    return ReusePlan(tuple(levels), signed(rows))
