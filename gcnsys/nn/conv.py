"""Graph convolutions over a block.

Aggregation and projection commute, so a layer does first whatever leaves rows narrower: features
and gradients cross the wire in the narrower of its two widths. ``exchange_side = "input"`` always
aggregates first, as PipeGCN does. Sparse inputs are always projected first.

Letters: S source rows, D destination rows, I and O the widths that come in and go out.
"""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from gcnsys.kernels import Block, DroppedRows, SparseRows
from gcnsys.kernels.block import Norm
from gcnsys.nn.dropout import Rows
from gcnsys.nn.first_hop import DroppedHop, FirstHop
from gcnsys.nn.linear import Factored, Linear

ExchangeSide = Literal["narrower", "input"]


class Conv(nn.Module, ABC):
    """A layer that aggregates linearly and can therefore have its first hop precomputed.

    Attributes:
        aggregation: the block's method it uses, as :func:`gcnsys.nn.first_hop` reads it.
        needs_own: whether it reads the destinations' own rows besides.
        row_wise: whether a destination's row depends on nothing but its own row and what the block
            aggregates for it. Only then may other rows be left out; a layer has to say so itself.
    """

    aggregation: str
    needs_own: bool
    row_wise: bool = False

    reads_sparse = True

    def __init__(self, in_features: int, out_features: int, side: ExchangeSide) -> None:
        super().__init__()
        self.in_features, self.out_width = in_features, out_features
        self.projects_first = side == "narrower" and out_features < in_features

    @abstractmethod
    def combine(self, own: Tensor | DroppedRows | None, neighbours: Tensor | DroppedRows) -> Tensor:
        """The layer on aggregated rows: ``[D, I], [D, I] -> [D, O]``."""

    @abstractmethod
    def projected(self, block: Block, x: Tensor | Factored) -> Tensor:
        """The layer with its projection first: ``[S, I] -> [D, O]``."""

    @abstractmethod
    def aggregated(self, block: Block, x: Tensor) -> Tensor:
        """What the layer's neighbours add up to: ``[S, I] -> [D, I]``."""

    def forward(self, block: Block, x: Rows) -> Tensor:
        """The layer, ``[S, I] -> [D, O]``, its two products in the order that suits the rows."""
        if isinstance(x, FirstHop | DroppedHop):
            return self.combine(x.own, x.neighbours)
        if self.projects_first or isinstance(x, SparseRows):
            return self.projected(block, x)
        if isinstance(x, DroppedRows):
            x = x.to_dense()
        return self.combine(block.own(x) if self.needs_own else None, self.aggregated(block, x))


class GCNConv(Conv):
    r"""Graph convolution (Kipf & Welling 2017, eq. 2): :math:`\hat A X W + b`.

    Args:
        in_features: I.
        out_features: O.
        norm: ``symmetric`` (PyG) or ``out-in`` (DGL on directed graphs); see ``Block.gcn``.
        side: what crosses between ranks.
        bias: whether there is a b.
    """

    needs_own, row_wise = False, True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        norm: Norm = "symmetric",
        side: ExchangeSide = "narrower",
        bias: bool = True,
    ) -> None:
        super().__init__(in_features, out_features, side)
        self.aggregation, self.norm = f"gcn:{norm}", norm
        self.linear = Linear(in_features, out_features, bias=bias)

    def combine(self, own: Tensor | DroppedRows | None, neighbours: Tensor | DroppedRows) -> Tensor:
        out: Tensor = self.linear(neighbours)
        return out

    def projected(self, block: Block, x: Tensor | Factored) -> Tensor:
        return self.linear.shifted(block.gcn(self.linear.project(x), self.norm))

    def aggregated(self, block: Block, x: Tensor) -> Tensor:
        return block.gcn(x, self.norm)


class SAGEConv(Conv):
    r"""GraphSAGE with mean aggregation (Hamilton et al. 2017): :math:`x_v W_1 + mean_u(x_u) W_2 + b`.

    Args:
        in_features: I.
        out_features: O.
        side: what crosses between ranks.
        bias: whether there is a b.
    """

    aggregation, needs_own, row_wise = "mean", True, True

    def __init__(
        self, in_features: int, out_features: int, *, side: ExchangeSide = "narrower", bias: bool = True
    ) -> None:
        super().__init__(in_features, out_features, side)
        self.own = Linear(in_features, out_features, bias=False)
        self.neighbours = Linear(in_features, out_features, bias=bias)

    def combine(self, own: Tensor | DroppedRows | None, neighbours: Tensor | DroppedRows) -> Tensor:
        assert own is not None
        return self.neighbours.added_to(self.own.project(own), neighbours)

    def projected(self, block: Block, x: Tensor | Factored) -> Tensor:
        own = self.own.project(block.own(x)) if isinstance(x, Tensor) else block.own(self.own.project(x))
        return self.neighbours.shifted(own + block.mean(self.neighbours.project(x)))

    def aggregated(self, block: Block, x: Tensor) -> Tensor:
        return block.mean(x)


class GINConv(Conv):
    r"""Graph isomorphism layer (Xu et al. 2019, eq. 4.1): :math:`MLP((1 + ε) x_v + \sum_u x_u)`.

    The MLP has one hidden layer of the width that goes out.

    Args:
        in_features: I.
        out_features: O.
        train_eps: learn ε instead of keeping it at 0.
        side: what crosses between ranks.
        bias: whether the MLP's last layer has one.
    """

    aggregation, needs_own, row_wise = "sum", True, True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        train_eps: bool = False,
        side: ExchangeSide = "narrower",
        bias: bool = True,
    ) -> None:
        super().__init__(in_features, out_features, side)
        self.eps = nn.Parameter(torch.zeros(1), requires_grad=train_eps)
        self.hidden = Linear(in_features, out_features)
        self.output = Linear(out_features, out_features, bias=bias)

    def combine(self, own: Tensor | DroppedRows | None, neighbours: Tensor | DroppedRows) -> Tensor:
        assert own is not None
        own, neighbours = (x.to_dense() if isinstance(x, DroppedRows) else x for x in (own, neighbours))
        out: Tensor = self.output(self.hidden((1 + self.eps).to(own.dtype) * own + neighbours).relu())
        return out

    def projected(self, block: Block, x: Tensor | Factored) -> Tensor:
        h = self.hidden.project(x)
        h = self.hidden.shifted((1 + self.eps).to(h.dtype) * block.own(h) + block.sum(h))
        out: Tensor = self.output(h.relu())
        return out

    def aggregated(self, block: Block, x: Tensor) -> Tensor:
        return block.sum(x)
