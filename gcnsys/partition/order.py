"""Orders of a part's inner nodes: neighbours close together find each other's rows in the cache.

An order changes speed only. Ids stay global everywhere, and a row keeps its edges in ascending id of
their sources, so that the sum over its inner neighbours is taken in the same order and gives the same bits.

``auto`` is ``cluster`` where a part's rows outgrow a core's own cache, else ``natural``. What was
measured (``experiments/order``; times faster than ``natural``, one thread):

- Up to about 4,096 nodes, rows of 64 features fit the cache of 1 MiB and no order gains anything.
- Above, up to the size of the last cache, ``cluster`` is the fastest: 1.05 to 1.3 times at 64 features.
  Where x outgrows that and the kernel copies it in slabs, it is 0.85 to 1.3; where x is gathered in
  place, 1.2 to 1.6.
- ``fine`` gains about as much, but takes METIS's memory and about the time of the assignment once
  more; ``cluster`` is linear and takes half of that or less on graphs of a million edges.
- ``rcm`` is the cheapest and gains about half of it: so ``cluster`` follows it within a cluster
  and from one to the next. ``degree`` gains less.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from scipy.sparse.csgraph import reverse_cuthill_mckee
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.graph import CSR, Graph
from gcnsys.kernels.islands import Rounds, laid_out, searched
from gcnsys.partition.metis import metis

Ordered = Literal["natural", "rcm", "degree", "fine", "cluster", "islands"]
Order = Literal["auto", Ordered]
Ints = npt.NDArray[np.integer[Any]]

_IN_CACHE = 4096  # rows of 64 features in 1 MiB
_FINE = 1024  # rows of 256 features in 1 MiB
_RCM_EDGES = 2**31
_ROUNDS = 5
_SLICES = 16


def resolved(order: Order, num_nodes: int, num_parts: int) -> Ordered:
    """What ``auto`` stands for; any other order stands for itself."""
    if order != "auto":
        return order
    return "cluster" if num_nodes > _IN_CACHE * num_parts else "natural"


def ordered(inner: CSR, order: Ordered, *, is_symmetric: bool, seed: int = 0) -> Tensor:
    """Order the nodes of a part.

    Args:
        inner: ``[n, n]`` edges between them; weights do not matter.
        order: which.
        is_symmetric: whether every edge is there both ways.
        seed: of METIS, and of ties between clusters.

    Returns:
        ``[n]`` int64, a permutation; entry ``i`` is the node that comes at place ``i``.

    Raises:
        InputError: an order of that name is not known, or it cannot number that many edges.
    """
    if order == "natural" or inner.num_rows < 2:
        return torch.arange(inner.num_rows)
    graph = Graph(inner.pattern, is_symmetric)
    return torch.from_numpy(_ORDERS[order](graph, seed).astype(np.int64))


def _degree(graph: Graph, seed: int) -> Ints:
    """Descending; hubs, which are read most, share a few pages."""
    return np.argsort(-graph.adjacency.indptr.diff().numpy(), kind="stable")


def _rcm(graph: Graph, seed: int) -> Ints:
    """Reverse Cuthill-McKee: breadth first, so that edges are short."""
    if graph.num_edges >= _RCM_EDGES:
        raise InputError(
            f"SciPy's reverse Cuthill-McKee numbers fewer than 2^31 edges, a part has {graph.num_edges:,}; "
            f"use more --parts or another --order"
        )
    found: Ints = reverse_cuthill_mckee(sp.csr_matrix(graph.to_scipy()), symmetric_mode=graph.is_symmetric)
    return found


def _fine(graph: Graph, seed: int) -> Ints:
    """METIS's clusters of about the rows that a core's own cache holds, one after the other."""
    count = -(-graph.num_nodes // _FINE)
    if count < 2:
        return np.arange(graph.num_nodes)
    return np.argsort(metis(graph, count, volume=False, seed=seed).numpy(), kind="stable")


def _cluster(graph: Graph, seed: int) -> Ints:
    """Clusters by label propagation; they, and nodes within them, in the order of ``rcm``."""
    base = _rcm if graph.num_edges < _RCM_EDGES else _degree
    place = np.empty(graph.num_nodes, np.int64)
    place[base(graph, seed)] = np.arange(graph.num_nodes)
    label = _labels(graph, seed)
    first = np.full(graph.num_nodes, graph.num_nodes)
    np.minimum.at(first, label, place)
    return np.lexsort((place, first[label]))


def _labels(graph: Graph, seed: int) -> Ints:
    """Label propagation (Raghavan, Albert & Kumara 2007): each node takes its neighbours' commonest label.

    Nodes move in interleaved slices, so that a slice sees where those before it went; equal counts go
    to the label that ranks higher in an order drawn once. Linear in E.
    """
    count = graph.num_nodes
    label = np.arange(count, dtype=np.int32)
    rank = np.random.default_rng(seed).permutation(count) / count
    for _ in range(_ROUNDS):
        moved = 0
        for start in range(min(_SLICES, count)):
            nodes = torch.arange(start, count, _SLICES)
            nodes = nodes[graph.adjacency.indptr.diff()[nodes] > 0]
            choice = _commonest(graph.adjacency.take_rows(nodes), label, rank)
            moved += int((label[nodes.numpy()] != choice).sum())
            label[nodes.numpy()] = choice
        if moved * 50 < count:
            break
    return label


def _commonest(rows: CSR, label: Ints, rank: npt.NDArray[np.float64]) -> Ints:
    """The label that most columns of each row carry; no row is empty."""
    count = label.size
    ones = np.ones(count, np.int32)
    carried = sp.csr_array((ones, label, np.arange(count + 1)), shape=(count, count))
    votes = sp.csr_array(rows.to_scipy()) @ carried
    score = votes.data + rank[votes.indices]
    best = np.maximum.reduceat(score, votes.indptr[:-1]) if score.size else score
    chosen: Ints = votes.indices[score == np.repeat(best, np.diff(votes.indptr))]
    return chosen


def _islands(graph: Graph, seed: int) -> Ints:
    """Hubs, then the islands between them (:mod:`gcnsys.islands`), each in one piece."""
    plain = Graph(graph.without_self_loops().adjacency.pattern, graph.is_symmetric).symmetrized().adjacency
    return laid_out(plain, searched(plain, plain.indptr.diff(), Rounds()))[0].numpy()


_ORDERS: dict[str, Callable[[Graph, int], Ints]] = {
    "degree": _degree, "rcm": _rcm, "fine": _fine, "cluster": _cluster, "islands": _islands,
}  # fmt: skip
