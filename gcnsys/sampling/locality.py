r"""Locality of a node's neighbours (GNNSampler, Liu et al., ECML-PKDD 2022), and preferences by it.

A node is *local* whose neighbours lie close together in memory, that is, have ids close to each other.
Samplers may prefer local nodes: :attr:`gcnsys.sampling.Standard.preference` says how readily each node is
drawn. Preferences of 0 and 1, as published, leave some nodes out for ever, so that sums are no longer right
on average; with a floor above 0 they are, as what is drawn counts for the inverse of its probability.

Letters: N nodes, E edges, d the degree of a node, a its neighbours' ids.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.graph import CSR
from gcnsys.kernels.dropout import DropoutKey, hashed, row_words

Score = Literal["published", "compact", "random"]

_SITE = -1


def sorted_rows(csr: CSR) -> CSR:
    """The same entries, those of each row in ascending order of columns; without weights."""
    rows = csr.rows().long()
    order = (rows * csr.num_cols + csr.indices).argsort()
    return CSR(csr.indptr, csr.indices[order], csr.num_cols)


def published_score(csr: CSR) -> Tensor:
    r"""How like a run of ids each row is: ``[N]`` float64, 0 without neighbours.

    .. math:: \frac{\sum_i a_i g_i}{\sum_i a_i^2}

    with a ascending and g the d consecutive ids around the integer part of their mean. It is about
    mean² / (mean² + variance), so that neighbours of large ids always look local.

    Args:
        csr: ``[N, N]``, rows ascending.
    """
    ids, degree = csr.indices.double(), csr.indptr.diff().double()
    place = torch.arange(csr.num_edges, dtype=torch.float64) - csr.indptr[csr.rows().long()]
    sums, squares, placed = (_row_sums(csr, values) for values in (ids, ids.square(), ids * place))
    middle = (sums / degree.clamp(min=1)).floor()
    # The run's first id: half of it (the smaller half, if it is odd) lies before the middle.
    first = torch.where(degree % 2 == 0, middle - degree / 2 + 1, middle - (degree - 1) / 2)
    return torch.where(squares > 0, (first * sums + placed) / squares.clamp(min=1), 0.0)


def compact_score(csr: CSR) -> Tensor:
    """How densely each row's ids fill the span from the first to the last: ``[N]`` float64, in ``[0, 1]``.

    The same wherever the span lies. 0 without neighbours.

    Args:
        csr: ``[N, N]``, rows ascending, no entry twice.
    """
    degree = csr.indptr.diff()
    some = degree > 0
    found = torch.zeros(csr.num_rows, dtype=torch.float64)
    first, last = csr.indices[csr.indptr[:-1][some]].long(), csr.indices[csr.indptr[1:][some] - 1].long()
    found[some] = degree[some].double() / (last - first + 1)
    return found


def _row_sums(csr: CSR, values: Tensor) -> Tensor:
    return CSR(csr.indptr, csr.indices, csr.num_cols, values).row_sums()


@dataclass(frozen=True, slots=True)
class Locality:
    """Which nodes are preferred.

    Attributes:
        score: ``published``, ``compact``, or ``random`` for a control that has nothing to do with ids.
        threshold: a local node's score is above it; of ``random``, the share of nodes that are preferred.
        min_degree: a local node has at least so many neighbours.
        floor: how readily others are drawn, where a local one is drawn with 1.
        seed: of ``random``.
    """

    score: Score = "published"
    threshold: float = 0.775
    min_degree: int = 4
    floor: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.floor <= 1:
            raise InputError(f"the floor of a preference must be in [0, 1], got {self.floor}")
        if self.score == "random" and not 0 < self.threshold <= 1:
            raise InputError(f"a random preference needs a share of nodes in (0, 1], got {self.threshold}")

    def local(self, csr: CSR, ids: Tensor) -> Tensor:
        """Which nodes are local, ``[n]`` bool.

        Args:
            csr: ``[n, N]`` their neighbours.
            ids: ``[n]`` what the nodes are called, for ``random``.
        """
        if self.score == "random":
            a, b = row_words(DropoutKey(self.seed, 0, _SITE), ids)
            words = hashed(a, b, torch.zeros_like(a)).long() & 0xFFFFFFFF
            return words < self.threshold * 2**32
        score = published_score if self.score == "published" else compact_score
        return (score(sorted_rows(csr)) > self.threshold) & (csr.indptr.diff() >= self.min_degree)

    def preference(self, csr: CSR, ids: Tensor) -> Tensor:
        """How readily each node is drawn, ``[n]`` float64.

        Args:
            csr: see :meth:`local`.
            ids: see there.

        Raises:
            InputError: nothing could be drawn.
        """
        found = torch.where(self.local(csr, ids), 1.0, self.floor).double()
        if found.numel() and not float(found.max()):
            raise InputError(
                f"no node is local: none has a {self.score} score above {self.threshold} and "
                f"{self.min_degree} neighbours; lower the threshold, or give others a floor above 0"
            )
        return found


def in_runs(nodes: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """Nodes in a drawn order that keeps runs of ``length`` neighbouring ids together.

    Args:
        nodes: ``[n]`` ids.
        length: 1: any order is as likely as another.
        generator: of the order.
    """
    nodes = nodes.sort().values if length > 1 else nodes
    runs = -(-nodes.numel() // max(1, length))
    order = torch.randperm(runs, generator=generator)
    places = (order[:, None] * length + torch.arange(length)).flatten()
    drawn: Tensor = nodes[places[places < nodes.numel()]]
    return drawn
