"""Sums that rows share, and what they save.

Letters: N nodes, V shared sums.
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from gcnsys.errors import InputError
from gcnsys.graph import CSR, Graph


@dataclass(frozen=True, slots=True)
class Count:
    """Accumulations of feature rows, an addition or a subtraction each, for one aggregation over A + I.

    Every entry of A + I counts, those of hubs, between hubs and of self-loops too. Normalisation scales rows
    and is not counted.

    Attributes:
        before: without sharing: the entries of A + I.
        after: terms of all rows, and one less than its terms for each shared sum.
        rows: N; the first term of a row is free where accumulations are counted as true additions.
    """

    before: int
    after: int
    rows: int

    @property
    def pruned(self) -> float:
        """The share of operations that is saved."""
        return 1 - self.after / max(1, self.before)

    @property
    def pruned_true_additions(self) -> float:
        """The same if the first term of a row is free."""
        return (self.before - self.after) / max(1, self.before - self.rows)


@dataclass(frozen=True, eq=False)
class ReusePlan:
    """Rows of a matrix of ones, such as A + I, as sums of nodes' rows and of sums that they share.

    Attributes:
        levels: shared sums, ``[V_l, N + V_0 + ... + V_(l-1)]`` each, without weights: those of a level are
            sums of nodes' rows and of sums of the levels before it.
        rows: ``[N, N + V]``; weights 1 and -1, or none: all are 1.
    """

    levels: tuple[CSR, ...]
    rows: CSR

    @property
    def num_nodes(self) -> int:
        """Of the graph it is for."""
        return self.rows.num_rows

    @property
    def num_shared(self) -> int:
        """Sums that are made once and used by several rows."""
        return sum(level.num_rows for level in self.levels)

    def count(self, before: int) -> Count:
        """What an aggregation takes, beside ``before`` entries of A + I."""
        shared = sum(level.num_edges - level.num_rows for level in self.levels)
        return Count(before, self.rows.num_edges + shared, self.num_nodes)

    def expanded(self) -> sp.csr_array:
        """The matrix that the plan stands for, ``[N, N]`` int64."""
        terms = sp.eye_array(self.num_nodes, dtype=np.int64, format="csr")
        for level in self.levels:
            terms = sp.vstack([terms, _integers(level) @ terms], format="csr")
        return sp.csr_array(_integers(self.rows) @ terms)


def looped(graph: Graph) -> CSR:
    """A + I of a symmetric graph without self-loops, ``[N, N]``; columns of a row ascend."""
    return graph.with_self_loops().adjacency


def check(plan: ReusePlan, csr: CSR) -> ReusePlan:
    """The plan, if it stands for a matrix of ones, such as A + I.

    Raises:
        InputError: it stands for something else.
    """
    wrong = plan.expanded() - _integers(csr)
    wrong.eliminate_zeros()
    if wrong.nnz:
        row = int(np.flatnonzero(np.diff(wrong.indptr))[0])
        raise InputError(f"a plan of shared sums is wrong for row {row} of {plan.num_nodes}; make it anew")
    return plan


def _integers(csr: CSR) -> sp.csr_array:
    matrix = csr.to_scipy()
    data = np.ones(csr.num_edges, np.int64) if csr.weight is None else matrix.data.astype(np.int64)
    return sp.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def signed(matrix: sp.csr_array) -> CSR:
    """Rows of a plan from entries 1 and -1; without weights where all are 1."""
    csr = CSR.from_scipy(matrix)
    assert csr.weight is not None
    return csr.pattern if bool((csr.weight == 1).all()) else replace(csr, weight=csr.weight.float())
