"""Layers of PyG and DGL as they are, on any block.

How a layer wants to be called, and whether it can be computed on a part at all, is found out instead of
looked up: on a small graph, its answer for some nodes has to be the same when it sees only them, their
neighbours, and the edges in between. A layer that looks further (at the degrees of neighbours, at neighbours
of neighbours, at all rows there are) would be wrong on every part, and is refused.

Letters: N rows that edges start from, the first D of which are destinations; E edges; F features.
"""

import copy
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from gcnsys.errors import InputError
from gcnsys.kernels import Block, DroppedRows, Edges, SparseRows
from gcnsys.nn.batch_norm import shared, with_block
from gcnsys.nn.dropout import Rows

log = logging.getLogger(__name__)

_NODES, _INNER, _FAR = 16, 5, 3
"""Of the small graph; how many of its nodes are asked about, and how many are no neighbours of those."""

_GRAPHS = 4
"""DGL graphs that are kept: those that are trained and evaluated on, and not every draw's."""


@dataclass(frozen=True, eq=False)
class Links:
    """Edges as another library is told about them.

    Attributes:
        pairs: ``[2, E]`` int64, source and destination of each.
        num_sources: N.
        num_destinations: D.
        columns: what else is known of each edge, by name: ``edge_weight, edge_attr, edge_type``.
    """

    pairs: Tensor
    num_sources: int
    num_destinations: int
    columns: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, edges: Edges) -> "Links":
        """All edges."""
        weight = {} if edges.weight is None else {"edge_weight": edges.weight}
        return cls(edges.pairs, edges.csr.num_cols, edges.csr.num_rows, {**edges.columns, **weight})

    def picked(self, edges: Tensor) -> "Links":
        """Those under a mask ``[E]`` or of given numbers."""
        columns = {name: column[edges] for name, column in self.columns.items()}
        return replace(self, pairs=self.pairs[:, edges], columns=columns)

    def told(self, layer: nn.Module, rows: Tensor, names: Mapping[str, str]) -> dict[str, Tensor]:
        """What a layer has arguments for, under its names."""
        parameters, found = signature(layer.forward).parameters, {}
        for argument, name in names.items():
            if argument in parameters and name in self.columns:
                column = self.columns[name]
                found[argument] = column.to(rows) if column.is_floating_point() else column.long()
        return found


_PYG_NAMES = {name: name for name in ("edge_weight", "edge_attr", "edge_type")}
_DGL_NAMES = {
    "edge_weight": "edge_weight", "edge_feat": "edge_attr", "efeats": "edge_attr", "efeat": "edge_attr",
    "edge_feats": "edge_attr", "etypes": "edge_type",
}  # fmt: skip
"""Arguments of layers, and what of an edge they are given."""

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

    reads_sparse = True

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
        return all(getattr(module, "row_wise", True) for module in self.layer.modules())

    @abstractmethod
    def ways(self) -> list[Way]:
        """How such layers may be called, the cheapest first."""

    def forward(self, block: Block, x: Rows) -> Tensor:
        if isinstance(x, DroppedRows | SparseRows):
            x = x.to_dense()
        assert isinstance(x, Tensor)
        reached = block.reached(x)
        # A layer of another library computes in the type of its weights, whatever rows are stored in.
        rows = reached.rows.to(next((p.dtype for p in self.layer.parameters()), x.dtype))
        links = Links.of(block.edges())
        if self._way is None:
            self._way = self._found(rows, links)
        if reached.absent is not None:
            _tell_about_draws(type(self.layer).__name__)
            links = links.picked(~reached.absent[links.pairs[0]])
        with with_block(block):
            return self._way(self.layer, rows, links).to(x.dtype)

    @torch.no_grad()
    def _found(self, like: Tensor, links: Links) -> Way:
        """The first way in which the small graph's cut gives what the whole of it does.

        Raises:
            InputError: there is none.
        """
        rows, whole, near, cut = _small(like, links)
        name, causes = type(self.layer).__name__, []
        layer = copy.deepcopy(self.layer).eval()
        for way in self.ways():
            try:
                # All ways are the same on a whole graph; not every layer admits each.
                expected = way(layer, rows, whole)
                found = way(layer, near, cut)
            except Exception as error:
                causes.append(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}")
                continue
            if not isinstance(found, Tensor) or found.shape[0] != _INNER:
                causes.append("it does not give a row for every destination")
            elif torch.allclose(found, expected[:_INNER], rtol=1e-3, atol=1e-4):
                self._tell_if_random(way, near, cut)
                return way
            else:
                causes.append(
                    "it looks further than at the edges that end at a node, such as at the degrees of "
                    "neighbours or at all rows, which a part does not have"
                )
        raise InputError(
            f"{name} of {self.library} cannot run on parts ({', '.join(dict.fromkeys(causes))}); use "
            f"another layer, or write it with block.sum, block.mean and block.gcn (see gcnsys.nn)"
        )

    def _tell_if_random(self, way: Way, rows: Tensor, cut: Links) -> None:
        layer = copy.deepcopy(self.layer).train()
        with torch.random.fork_rng(devices=[rows.device] if rows.is_cuda else []):
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
    ``layer(all rows, edge_index)``, and gets what is known of edges if it has an argument for it:
    ``edge_weight``, ``edge_attr``, ``edge_type``.

    Args:
        layer: any whose result at a node follows from its row, its neighbours' rows and the edges between.

    Raises:
        InputError: at the first call: the layer looks further than that.
    """

    library = "PyG"

    def ways(self) -> list[Way]:
        return [_pyg_pair, _pyg_square]


def _pyg_pair(layer: nn.Module, rows: Tensor, links: Links) -> Tensor:
    told = links.told(layer, rows, _PYG_NAMES)
    out: Tensor = layer((rows, rows[: links.num_destinations]), links.pairs, **told)
    return out


def _pyg_square(layer: nn.Module, rows: Tensor, links: Links) -> Tensor:
    out: Tensor = layer(rows, links.pairs, **links.told(layer, rows, _PYG_NAMES))
    return out[: links.num_destinations]


class FromDGL(Foreign):
    """A module ``module(graph, rows)`` of DGL, or one's own.

    It is called with a DGL block or, where it does not take one, with a graph of all rows, and gets what is
    known of edges if it has an argument for it: ``edge_weight``, ``edge_feat`` (or ``efeats``), ``etypes``.

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
            columns = {name: column.new_ones(1, *column.shape[1:]) for name, column in links.columns.items()}
            links = Links(ends, links.num_sources + 1, links.num_destinations + 1, columns)
        return layer(self._graph(links, square=square), rows, **links.told(layer, rows, _DGL_NAMES))

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


def _small(like: Tensor, links: Links) -> tuple[Tensor, Links, Tensor, Links]:
    """Rows and all edges among them; rows of some nodes and their neighbours, and the edges that end there.

    Of edges as much is known as of ``links``.
    """
    generator = torch.Generator().manual_seed(0)
    edge = torch.rand(_NODES, _NODES, generator=generator) < 0.3
    edge[:_INNER, _NODES - _FAR :] = False
    nodes = torch.arange(_NODES)
    edge[nodes, (nodes + 1) % _NODES] = True  # some layers refuse nodes without edges
    edge[nodes, nodes] = False
    rows = torch.randn(_NODES, like.shape[1], generator=generator).to(like)
    pairs = edge.nonzero().T.flip(0).to(like.device)
    columns = {}
    for name, column in links.columns.items():
        if column.is_floating_point():
            made = torch.rand(pairs.shape[1], *column.shape[1:], generator=generator)
            columns[name] = made.to(column)
        else:
            most = int(column.max()) + 1 if column.numel() else 1
            columns[name] = torch.randint(most, (pairs.shape[1],), generator=generator).to(column)
    whole = Links(pairs, _NODES, _NODES, columns)
    cut = whole.picked(pairs[1] < _INNER)
    near = torch.unique(torch.cat([torch.arange(_INNER, device=like.device), cut.pairs[0]]))
    place = torch.empty(_NODES, dtype=torch.int64, device=like.device)
    place[near] = torch.arange(near.numel(), device=like.device)
    cut = replace(cut, pairs=place[cut.pairs], num_sources=near.numel(), num_destinations=_INNER)
    return rows, whole, rows[near], cut


@cache
def _tell_about_draws(name: str) -> None:
    log.warning(
        "%s sees only the rows that were drawn and none of their inverse inclusion probabilities, so what it "
        "computes is not unbiased", name,
    )  # fmt: skip
