"""Layers of PyG and DGL as they are, on any block.

How a layer wants to be called, and whether it can be computed on a part at all, is found out instead of
looked up: on a small graph, its answer for some nodes has to be the same when it sees only the edges that
end at them. A layer that looks further (at the degrees of neighbours, at neighbours of neighbours) would be
wrong on every part, and is refused.

Letters: N rows that edges start from, the first D of which are destinations; E edges; F features.
"""

import copy
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from gcnsys.errors import InputError
from gcnsys.kernels import Block, DroppedRows, Edges, SparseRows
from gcnsys.nn.batch_norm import shared, with_block
from gcnsys.nn.dropout import Rows

log = logging.getLogger(__name__)

_NODES, _INNER = 12, 5
"""Of the small graph, and how many of its nodes are asked about."""

_GRAPHS = 4
"""DGL graphs that are kept: those that are trained and evaluated on, and not every draw's."""


@dataclass(frozen=True, eq=False)
class Links:
    """Edges as another library is told about them.

    Attributes:
        pairs: ``[2, E]`` int64, source and destination of each.
        num_sources: N.
        num_destinations: D.
        weight: ``[E]``, or None.
    """

    pairs: Tensor
    num_sources: int
    num_destinations: int
    weight: Tensor | None = None

    @classmethod
    def of(cls, edges: Edges) -> "Links":
        """All edges."""
        return cls(edges.pairs, edges.csr.num_cols, edges.csr.num_rows, edges.weight)

    def without(self, absent: Tensor) -> "Links":
        """Those that start from rows which are there; ``absent`` is ``[N]`` bool."""
        there = ~absent[self.pairs[0]]
        weight = None if self.weight is None else self.weight[there]
        return Links(self.pairs[:, there], self.num_sources, self.num_destinations, weight)

    @cached_property
    def squared(self) -> "Links":
        """The same edges in a graph in which every source is a node; no edge ends at most of them."""
        return Links(self.pairs, self.num_sources, self.num_sources, self.weight)


Way = Callable[[nn.Module, Tensor, Links], Tensor]
"""A way to call a layer: the layer, rows ``[N, F]``, edges -> ``[D, out]``."""


class Foreign(nn.Module, ABC):
    """A layer of another library on a block.

    Batch norm inside it is over the nodes of all ranks, as on one device. Dropout inside it draws numbers of
    its own on every rank: training is then not that of a single device, which is said once. So is, where
    rows that cross are drawn, that no inverse inclusion probabilities are applied.

    Args:
        layer: any, with weights of known shapes.
    """

    library: str

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        if any(isinstance(p, nn.UninitializedParameter) for p in layer.parameters()):
            raise InputError(
                f"{type(layer).__name__} does not know its input width yet; give it in_channels instead of -1"
            )
        self.layer = shared(layer)
        self._way: Way | None = None

    @property
    def row_wise(self) -> bool:
        return not any(getattr(module, "row_wise", True) is False for module in self.layer.modules())

    @abstractmethod
    def ways(self) -> list[Way]:
        """How such layers may be called, the cheapest first."""

    def forward(self, block: Block, x: Rows) -> Tensor:
        if isinstance(x, DroppedRows | SparseRows):
            x = x.to_dense()
        assert isinstance(x, Tensor)
        reached = block.reached(x)
        if self._way is None:
            self._way = self._found(reached.rows)
        edges = block.edges()
        links = Links.of(edges)
        if reached.absent is not None:
            _tell_about_draws(type(self.layer).__name__)
            links = links.without(reached.absent)
        with with_block(block):
            return self._way(self.layer, reached.rows, links)

    @torch.no_grad()
    def _found(self, like: Tensor) -> Way:
        """The first way in which the small graph's cut gives what the whole of it does.

        Raises:
            InputError: there is none.
        """
        rows, whole, cut = _small(like)
        name, causes = type(self.layer).__name__, []
        layer = copy.deepcopy(self.layer).eval()
        for way in self.ways():
            try:
                # All ways are the same on a whole graph; not every layer admits each.
                expected = way(layer, rows, whole)
                found = way(layer, rows, cut)
            except Exception as error:
                causes.append(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}")
                continue
            if not isinstance(found, Tensor) or found.shape[0] != _INNER:
                causes.append("it does not give a row for every destination")
            elif torch.allclose(found, expected[:_INNER], rtol=1e-3, atol=1e-4):
                self._tell_if_random(way, rows, cut)
                return way
            else:
                causes.append(
                    "it looks further than at the edges that end at a node, such as at the degrees of "
                    "neighbours, which a part does not have"
                )
        raise InputError(
            f"{name} of {self.library} cannot run on parts ({'; or '.join(dict.fromkeys(causes))}); use "
            f"another layer, or write it with block.sum, block.mean and block.gcn (see gcnsys.nn)"
        )

    def _tell_if_random(self, way: Way, rows: Tensor, cut: Links) -> None:
        layer = copy.deepcopy(self.layer).train()
        with torch.random.fork_rng(devices=[]):
            drawn = []
            for seed in range(2):
                torch.manual_seed(seed)
                drawn.append(way(layer, rows, cut))
        if not torch.equal(*drawn):
            log.warning(
                "%s draws random numbers of its own while it trains (dropout?), other ones on every rank: "
                "training differs from that of a single device; for the same, set its dropout to 0 and use "
                "gcnsys.nn.KeyedDropout before it", type(self.layer).__name__,
            )  # fmt: skip


class FromPyG(Foreign):
    """A ``torch_geometric.nn.MessagePassing`` layer, or one's own subclass of it.

    It is called as ``layer((all rows, destinations), edge_index)`` or, where it does not take a pair, as
    ``layer(all rows, edge_index)``, and gets the graph's weights if it has an argument ``edge_weight``.

    Args:
        layer: any whose result at a node follows from its row, its neighbours' rows and the edges between.

    Raises:
        InputError: at the first call: the layer looks further than that.
    """

    library = "PyG"

    def ways(self) -> list[Way]:
        return [_pyg_pair, _pyg_square]


def _pyg_pair(layer: nn.Module, rows: Tensor, links: Links) -> Tensor:
    out: Tensor = layer((rows, rows[: links.num_destinations]), links.pairs, **_weights(layer, rows, links))
    return out


def _pyg_square(layer: nn.Module, rows: Tensor, links: Links) -> Tensor:
    out: Tensor = layer(rows, links.pairs, **_weights(layer, rows, links))
    return out[: links.num_destinations]


def _weights(layer: nn.Module, rows: Tensor, links: Links) -> dict[str, Tensor]:
    if links.weight is None or "edge_weight" not in signature(layer.forward).parameters:
        return {}
    return {"edge_weight": links.weight.to(rows)}


class FromDGL(Foreign):
    """A module ``module(graph, rows)`` of DGL, or one's own.

    It is called with a DGL block or, where it does not take one, with a graph of all rows, and gets the
    graph's weights if it has an argument ``edge_weight``.

    Args:
        layer: any whose result at a node follows from its row, its neighbours' rows and the edges between.

    Raises:
        InputError: at the first call: the layer looks further than that.
    """

    library = "DGL"

    def __init__(self, layer: nn.Module) -> None:
        super().__init__(layer)
        self._graphs: dict[tuple[int, bool], tuple[Tensor, Any]] = {}

    def ways(self) -> list[Way]:
        return [self._block, self._square]

    def _block(self, layer: nn.Module, rows: Tensor, links: Links) -> Tensor:
        out: Tensor = self._called(layer, rows, links, square=False)[: links.num_destinations]
        return out.flatten(1)

    def _square(self, layer: nn.Module, rows: Tensor, links: Links) -> Tensor:
        out: Tensor = self._called(layer, rows, links, square=True)[: links.num_destinations]
        return out.flatten(1)

    def _called(self, layer: nn.Module, rows: Tensor, links: Links, *, square: bool) -> Any:
        if not links.pairs.shape[1]:
            # DGL fails in backward where there is no edge at all: a row more, and an edge that feeds it.
            rows = torch.cat([rows, rows.new_zeros(1, rows.shape[1])])
            ends = torch.tensor([[links.num_sources], [links.num_destinations]], device=rows.device)
            weight = None if links.weight is None else links.weight.new_ones(1)
            links = Links(ends, links.num_sources + 1, links.num_destinations + 1, weight)
        return layer(self._graph(links, square=square), rows, **_weights(layer, rows, links))

    def _graph(self, links: Links, *, square: bool) -> Any:
        import dgl

        key = id(links.pairs), square
        if key not in self._graphs:
            pairs, device = tuple(links.pairs), links.pairs.device
            made = (
                dgl.graph(pairs, num_nodes=links.num_sources, device=device)
                if square
                else dgl.create_block(pairs, links.num_sources, links.num_destinations, device=device)
            )
            while len(self._graphs) >= _GRAPHS:
                self._graphs.pop(next(iter(self._graphs)))
            self._graphs[key] = links.pairs, made  # the pairs stay, and so does their id
        return self._graphs[key][1]


def _small(like: Tensor) -> tuple[Tensor, Links, Links]:
    """Rows, all edges among them, and those that end at some."""
    generator = torch.Generator().manual_seed(0)
    edge = torch.rand(_NODES, _NODES, generator=generator) < 0.3
    nodes = torch.arange(_NODES)
    edge[nodes, (nodes + 1) % _NODES] = True  # some layers refuse nodes without edges
    edge[nodes, nodes] = False
    rows = torch.randn(_NODES, like.shape[1], generator=generator).to(like)
    pairs = edge.nonzero().T.flip(0).to(like.device)
    whole = Links(pairs, _NODES, _NODES)
    return rows, whole, Links(pairs[:, pairs[1] < _INNER], _NODES, _INNER)


@cache
def _tell_about_draws(name: str) -> None:
    log.warning(
        "%s sees only the rows that were drawn and none of their inverse inclusion probabilities, so what it "
        "computes is not unbiased", name,
    )  # fmt: skip
