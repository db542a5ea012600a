"""Models that learn from single rows and let the graph smooth what they say, or what they read.

Rows cross as wide as there are classes, which is as narrow as they get.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from gcnsys.kernels import Block, DroppedRows, SparseRows, activation
from gcnsys.kernels.block import Norm as GCNNorm
from gcnsys.nn.dropout import Inputs, KeyedDropout
from gcnsys.nn.first_hop import FirstHop
from gcnsys.nn.linear import Linear
from gcnsys.nn.model import Model, all_row_wise, models
from gcnsys.nn.settings import ModelSettings


class APPNP(Model):
    r"""Personalized propagation of predictions (Gasteiger et al. 2019, eq. 4).

    .. math:: z_0 = MLP(x), \quad z_{k+1} = (1 - \alpha) \hat A z_k + \alpha z_0

    Args:
        linears: of the MLP.
        hops: how often predictions propagate.
        alpha: how much of its own a node keeps each time.
        dropout: before each linear layer.
        norm: of the propagation; see ``Block.gcn``.
    """

    def __init__(
        self, linears: Sequence[Linear], *, hops: int = 10, alpha: float = 0.1, dropout: float = 0.5,
        norm: GCNNorm = "symmetric",
    ) -> None:  # fmt: skip
        super().__init__()
        self.linears = nn.ModuleList(linears)
        self.dropouts = nn.ModuleList(KeyedDropout(dropout) for _ in linears)
        self.num_hops, self.alpha, self.norm = hops, alpha, norm

    @property
    def num_blocks(self) -> int:
        return self.num_hops

    @property
    def reads_sparse(self) -> bool:
        return True

    @property
    def first(self) -> nn.Module:
        return self.linears[0]

    @property
    def row_wise(self) -> bool:
        return all_row_wise([*self.linears, *self.dropouts])

    def hops(self, *, sparse: bool) -> list[tuple[int, int]]:
        last = self.linears[-1]
        assert isinstance(last, Linear)
        return [(last.out_width,) * 2] * self.num_hops

    def forward(self, blocks: Sequence[Block], x: Inputs) -> Tensor:
        ids, first = blocks[0].input_ids, self.dropouts[0]
        assert isinstance(first, KeyedDropout)
        z: Tensor = self.linears[0](first.inputs(x, ids))
        for linear, dropout in zip(list(self.linears)[1:], list(self.dropouts)[1:], strict=True):
            assert isinstance(dropout, KeyedDropout)
            z = linear(activation(z, mask=dropout.mask(ids)))
        start = z * self.alpha
        for block in blocks:
            z = (1 - self.alpha) * block.gcn(z, self.norm) + start[: block.output_ids.numel()]
        return z


class SGC(Model):
    r"""Simplified graph convolution (Wu et al. 2019, eq. 8): :math:`\hat A^K X W + b`.

    With its hops precomputed, an epoch is one linear layer and no communication; without, features are
    projected first, and rows cross as wide as there are classes.

    Args:
        linear: W and b.
        hops: K.
        dropout: before W.
        norm: of the propagation; see ``Block.gcn``.
    """

    def __init__(
        self, linear: Linear, *, hops: int = 2, dropout: float = 0.0, norm: GCNNorm = "symmetric"
    ) -> None:
        super().__init__()
        self.linear, self.dropout = linear, KeyedDropout(dropout)
        self.num_hops, self.norm = hops, norm

    @property
    def num_blocks(self) -> int:
        return self.num_hops

    @property
    def reads_sparse(self) -> bool:
        return True

    @property
    def row_wise(self) -> bool:
        return all_row_wise([self.linear, self.dropout])

    @property
    def ready_hops(self) -> int:
        return self.num_hops

    @property
    def aggregation(self) -> str:
        return f"gcn:{self.norm}"

    def hops(self, *, sparse: bool) -> list[tuple[int, int]]:
        return [(self.linear.out_width,) * 2] * self.num_hops

    def forward(self, blocks: Sequence[Block], x: Inputs) -> Tensor:
        if isinstance(x, FirstHop):
            mask = self.dropout.mask(blocks[-1].output_ids)
            rows = x.neighbours if mask is None else x.dropped(mask).neighbours
            out: Tensor = self.linear(rows)
            return out
        dropped = self.dropout.inputs(x, blocks[0].input_ids)
        assert isinstance(dropped, Tensor | SparseRows | DroppedRows)
        h = self.linear.project(dropped)
        for block in blocks:
            h = block.gcn(h, self.norm)
        return self.linear.shifted(h)


@models.register("appnp")
def _appnp(settings: ModelSettings, num_features: int, num_classes: int) -> APPNP:
    widths = [num_features, *[settings.hidden] * (settings.layers - 1), num_classes]
    linears = [Linear(a, b) for a, b in pairwise(widths)]
    return APPNP(
        linears, hops=settings.hops, alpha=settings.alpha, dropout=settings.dropout, norm=settings.gcn_norm
    )


@models.register("sgc")
def _sgc(settings: ModelSettings, num_features: int, num_classes: int) -> SGC:
    linear = Linear(num_features, num_classes)
    return SGC(linear, hops=settings.hops, dropout=settings.dropout, norm=settings.gcn_norm)
