"""Stacks of convolutions, as the papers of GCN, GraphSAGE, GIN and GAT train them."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gcnsys.kernels import Block, activation
from gcnsys.nn.attention import Attention, GATConv, GATv2Conv
from gcnsys.nn.conv import Conv, GCNConv, GINConv, SAGEConv
from gcnsys.nn.dropout import Inputs, KeyedDropout, Rows
from gcnsys.nn.first_hop import FirstHop
from gcnsys.nn.linear import Linear
from gcnsys.nn.model import Model, all_row_wise, models, readable
from gcnsys.nn.norm import LayerNorm, made_norm
from gcnsys.nn.recompute import recomputed
from gcnsys.nn.relational import RGCNConv
from gcnsys.nn.settings import ModelSettings


class GNN(Model):
    """Dropout, convolution, norm and ReLU, layer after layer; then linear layers, if any.

    Args:
        convs: layers that take a block; the first gets dense rows unless it says ``reads_sparse``.
        linears: layers that follow.
        hidden_norms: one for each layer but the last; None: no norm.
        dropout: before every layer.
        residual: add a hidden layer's input to its output where their widths agree.
        recompute: keep only the inputs of hidden layers and compute them again in backward.
        elu: ELU between layers instead of ReLU.
    """

    def __init__(
        self, convs: Sequence[nn.Module], linears: Sequence[Linear] = (), *,
        hidden_norms: Sequence[nn.Module] | None = None, dropout: float = 0.5, residual: bool = False,
        recompute: bool = False, elu: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.convs, self.linears = nn.ModuleList(convs), nn.ModuleList(linears)
        self.norms = nn.ModuleList(hidden_norms or ())
        self.dropouts = nn.ModuleList(KeyedDropout(dropout) for _ in (*convs, *linears))
        self.residual, self.recompute, self.elu = residual, recompute, elu

    @property
    def num_blocks(self) -> int:
        return len(self.convs)

    @property
    def first(self) -> nn.Module:
        return self.convs[0]

    @property
    def reads_sparse(self) -> bool:
        return True

    @property
    def row_wise(self) -> bool:
        return all_row_wise([*self.convs, *self.linears, *self.norms, *self.dropouts])

    @property
    def ready_hops(self) -> int:
        return int(isinstance(self.convs[0], Conv))

    @property
    def aggregation(self) -> str | None:
        first = self.convs[0]
        return first.aggregation if isinstance(first, Conv) else None

    @property
    def needs_own(self) -> bool:
        return getattr(self.convs[0], "needs_own", False)

    def hops(self, *, sparse: bool) -> list[tuple[int, int]]:
        found = []
        for number, conv in enumerate(self.convs):
            if isinstance(conv, RGCNConv):
                found.append((conv.in_features, conv.in_features if number else 0))
                continue
            if not isinstance(conv, Conv | Attention):
                return super().hops(sparse=sparse)
            projects = conv.projects_first or (number == 0 and sparse)
            width = conv.out_width if projects else conv.in_features
            # The gradient of constant inputs is never asked for.
            found.append((width, width if number or projects else 0))
        return found

    def forward(self, blocks: Sequence[Block], x: Inputs) -> Tensor:
        ids = blocks[0].output_ids if isinstance(x, FirstHop) else blocks[0].input_ids
        last = len(self.dropouts) - 1
        first = self.dropouts[0]
        assert isinstance(first, KeyedDropout)
        h: Rows = readable(self.convs[0], first.inputs(x, ids))
        came: Tensor | None = None
        for number in range(last):
            block = blocks[min(number, len(blocks) - 1)]
            if self.recompute and torch.is_grad_enabled():
                came, h = recomputed(self._hidden, number, block, h, came)
            else:
                came, h = self._hidden(number, block, h, came)
        return self._layer(last, blocks[-1], h)

    def _layer(self, number: int, block: Block, h: Rows) -> Tensor:
        if number < len(self.convs):
            out: Tensor = self.convs[number](block, h)
        else:
            out = self.linears[number - len(self.convs)](h)
        return out

    def _hidden(
        self, number: int, block: Block, h: Rows, came: Tensor | None
    ) -> tuple[Tensor | None, Tensor]:
        """A layer, norm, ReLU, residual, dropout: the rows before dropout, if needed later, and after."""
        out, ids = self._layer(number, block, h), block.output_ids
        norm, dropout = self.norms[number] if self.norms else None, self.dropouts[number + 1]
        assert isinstance(dropout, KeyedDropout)
        fused = norm.fused() if isinstance(norm, LayerNorm) and not self.elu else None
        if norm is not None and fused is None:
            out = norm(out, block)
        if not self.residual and not self.elu:
            return None, activation(out, norm=fused, mask=dropout.mask(ids))
        out = F.elu(out) if self.elu else activation(out, norm=fused)
        if self.residual and came is not None and came.shape[1] == out.shape[1]:
            out = out + block.own(came)
        return out if self.residual else None, dropout(out, ids)


ConvMaker = Callable[[int, int, ModelSettings, bool, bool], nn.Module]
"""Widths that come in and go out, settings, whether it has a bias, whether it is the last -> a layer."""


def stack(convolution: ConvMaker, *, elu: bool = False) -> Callable[[ModelSettings, int, int], GNN]:
    """What makes a stack of such layers from settings, the width of features and the number of classes.

    Args:
        convolution: makes a layer.
        elu: ELU between layers where the settings leave the activation open.
    """

    def make(settings: ModelSettings, num_features: int, num_classes: int) -> GNN:
        pairs = list(pairwise([num_features, *[settings.hidden] * (settings.layers - 1), num_classes]))
        # Batch norm takes a bias before it away again. Its gradient is rounding alone, which Adam would
        # blow up to full steps, other ones for other cuts: so there is none.
        biases = [settings.norm_name != "batch"] * (len(pairs) - 1) + [True]
        layers = [(*pair, bias) for pair, bias in zip(pairs, biases, strict=True)]
        convs = [
            convolution(a, b, settings, bias, place + 1 == settings.layers)
            for place, (a, b, bias) in enumerate(layers[: settings.num_convs])
        ]
        linears = [Linear(a, b, bias=bias) for a, b, bias in layers[settings.num_convs :]]
        norms = [made_norm(settings.norm_name, wide_out) for _, wide_out in pairs[:-1]]
        return GNN(
            convs, linears, hidden_norms=[norm for norm in norms if norm is not None],
            dropout=settings.dropout, residual=settings.residual, recompute=settings.recompute,
            elu=elu if settings.activation == "auto" else settings.activation == "elu",
        )  # fmt: skip

    return make


def _gcn(width_in: int, width_out: int, settings: ModelSettings, bias: bool, last: bool) -> nn.Module:
    return GCNConv(width_in, width_out, norm=settings.gcn_norm, side=settings.exchange_side, bias=bias)


def _sage(width_in: int, width_out: int, settings: ModelSettings, bias: bool, last: bool) -> nn.Module:
    return SAGEConv(width_in, width_out, side=settings.exchange_side, bias=bias)


def _gin(width_in: int, width_out: int, settings: ModelSettings, bias: bool, last: bool) -> nn.Module:
    return GINConv(width_in, width_out, train_eps=settings.train_eps, side=settings.exchange_side, bias=bias)


def _gat(width_in: int, width_out: int, settings: ModelSettings, bias: bool, last: bool) -> nn.Module:
    return GATConv(width_in, width_out, bias=bias, **settings.attention(last=last))


def _gatv2(width_in: int, width_out: int, settings: ModelSettings, bias: bool, last: bool) -> nn.Module:
    return GATv2Conv(width_in, width_out, bias=bias, **settings.attention(last=last))


def _rgcn(width_in: int, width_out: int, settings: ModelSettings, bias: bool, last: bool) -> nn.Module:
    kinds = max(1, settings.edge_kinds)
    return RGCNConv(width_in, width_out, kinds, num_bases=settings.bases, bias=bias)


models.register("gcn")(stack(_gcn))
models.register("sage")(stack(_sage))
models.register("gin")(stack(_gin))
models.register("gat")(stack(_gat, elu=True))
models.register("gatv2")(stack(_gatv2, elu=True))
models.register("rgcn")(stack(_rgcn))
