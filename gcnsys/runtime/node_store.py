"""What is known of nodes, wherever they lie: own rows here, those of the halo kept, others asked for.

Letters: n inner nodes, h halo nodes, k nodes that are looked up, F features.
"""

import torch
from torch import Tensor

from gcnsys.graph import CSR, located
from gcnsys.kernels import SparseRows
from gcnsys.partition import NodeData
from gcnsys.runtime.comm import Comm
from gcnsys.runtime.errand import Errand
from gcnsys.runtime.neighbourhood import PartNeighbourhood
from gcnsys.sampling.neighbourhood import Neighbourhood


class NodeStore:
    """Features and targets of any nodes of the graph; over ranks every method is collective.

    Args:
        nodes: of the inner nodes.
        graph: what names nodes.
        comm: the ranks.
        dtype: of features.
    """

    def __init__(self, nodes: NodeData, graph: Neighbourhood, comm: Comm, dtype: torch.dtype) -> None:
        self.nodes, self.graph, self.comm = nodes, graph, comm
        self.x = _plain(nodes.x, dtype)
        self._halo = torch.zeros(0, dtype=torch.int64)
        if isinstance(graph, PartNeighbourhood):
            self._halo, order = graph.places[len(graph.own) :].sort()
            self._kept = _taken(self._asked(graph, graph.places[len(graph.own) :]), order)

    def features(self, nodes: Tensor) -> Tensor | SparseRows:
        """Rows of ``nodes`` ``[k]``: ``[k, F]``."""
        if not isinstance(self.graph, PartNeighbourhood):
            return _ready(_taken(self.x, nodes))
        own = (nodes >= self.graph.own.start) & (nodes < self.graph.own.stop)
        place = located(nodes, self._halo)
        groups = torch.where(own, 0, torch.where(place >= 0, 1, 2))
        order = groups.argsort(stable=True)
        counts = torch.bincount(groups, minlength=3).tolist()
        first, then, rest = order.split(counts)
        pieces = [
            _taken(self.x, nodes[first] - self.graph.own.start),
            _taken(self._kept, place[then]),
            self._asked(self.graph, nodes[rest]),
        ]
        back = torch.empty_like(order)
        back[order] = torch.arange(order.numel())
        return _ready(_taken(_joined(pieces), back))

    def targets(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Targets of ``nodes``, ``[k]`` or ``[k, C]``, and which of them are trained on, ``[k]`` bool."""
        return self.graph.rows(nodes, self.nodes.y), self.graph.rows(nodes, self.nodes.train_mask)

    def kinds(self, nodes: Tensor) -> Tensor | None:
        """Their kinds, ``[k]``; None: all are of one."""
        return None if self.nodes.kinds is None else self.graph.rows(nodes, self.nodes.kinds)

    def _asked(self, graph: PartNeighbourhood, nodes: Tensor) -> Tensor | CSR:
        errand = Errand(nodes, graph.starts, self.comm)
        found = _taken(self.x, errand.rows)
        return errand.answered(found) if isinstance(found, Tensor) else errand.listed(found)


def _plain(x: Tensor | SparseRows, dtype: torch.dtype) -> Tensor | CSR:
    if isinstance(x, Tensor):
        return x.to(dtype)
    return CSR(x.pattern.indptr, x.pattern.indices, x.pattern.num_cols, x.values.to(dtype))


def _ready(rows: Tensor | CSR) -> Tensor | SparseRows:
    return rows if isinstance(rows, Tensor) else SparseRows.from_csr(rows)


def _taken(rows: Tensor | CSR, places: Tensor) -> Tensor | CSR:
    return rows[places] if isinstance(rows, Tensor) else rows.take_rows(places)


def _joined(pieces: list[Tensor | CSR]) -> Tensor | CSR:
    """One after the other."""
    dense = [piece for piece in pieces if isinstance(piece, Tensor)]
    if dense:
        return torch.cat(dense)
    return CSR.stacked([piece for piece in pieces if isinstance(piece, CSR)])
