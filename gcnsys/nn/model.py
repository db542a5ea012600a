"""Stacks of convolutions, as the papers train them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gcnsys.errors import InputError
from gcnsys.kernels import Block, activation
from gcnsys.kernels.block import Norm as GCNNorm
from gcnsys.nn.attention import GATConv, GATv2Conv
from gcnsys.nn.conv import Conv, ExchangeSide, GCNConv, GINConv, SAGEConv
from gcnsys.nn.dropout import Inputs, KeyedDropout, Rows
from gcnsys.nn.first_hop import FirstHop
from gcnsys.nn.linear import Linear
from gcnsys.nn.norm import BatchNorm, LayerNorm
from gcnsys.nn.recompute import recomputed
from gcnsys.registry import Registry

NormName = Literal["none", "layer", "batch"]
Activation = Literal["auto", "relu", "elu"]


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """The shape of a model.

    Attributes:
        name: in the registry of models.
        layers: all layers, linear ones included.
        hidden: width between layers.
        linear_layers: how many of the last layers are plain linear (published Yelp runs: 2).
        dropout: before every layer.
        norm: after every layer but the last.
        residual: add a hidden layer's input to its output.
        gcn_norm: see ``Block.gcn``.
        train_eps: GIN learns its epsilon.
        exchange_side: see :mod:`gcnsys.nn.conv`.
        recompute: see :class:`GNN`.
        activation: after every layer but the last; ``auto``: ELU for attention, as published, else ReLU.
        heads: of an attention layer; they share the width.
        out_heads: of the last one; they are averaged.
        attention_dropout: of attention weights; None: as ``dropout``.
    """

    name: str = "gcn"
    layers: int = 2
    hidden: int = 64
    linear_layers: int = 0
    dropout: float = 0.5
    norm: NormName = "none"
    residual: bool = False
    gcn_norm: GCNNorm = "symmetric"
    train_eps: bool = False
    exchange_side: ExchangeSide = "narrower"
    recompute: bool = False
    activation: Activation = "auto"
    heads: int = 8
    out_heads: int = 1
    attention_dropout: float | None = None

    def __post_init__(self) -> None:
        if self.layers < 1 or self.hidden < 1:
            raise InputError(f"layers and hidden must be at least 1, got {self.layers} and {self.hidden}")
        if self.heads < 1 or self.out_heads < 1:
            raise InputError(f"heads and out_heads must be at least 1, got {self.heads} and {self.out_heads}")
        if not 0 <= self.linear_layers < self.layers:
            raise InputError(
                f"linear_layers must be in 0..{self.layers - 1} so that one layer convolves, "
                f"got {self.linear_layers}"
            )

    @property
    def attends(self) -> bool:
        """Whether its layers look at every edge."""
        return self.name in ("gat", "gatv2")

    def attention(self, *, last: bool) -> dict[str, Any]:
        """What an attention layer is made with; the heads of the last one are averaged."""
        rate = self.dropout if self.attention_dropout is None else self.attention_dropout
        heads = self.out_heads if last else self.heads
        return {"heads": heads, "average": last, "dropout": rate, "side": self.exchange_side}

    @property
    def num_convs(self) -> int:
        return self.layers - self.linear_layers


class GNN(nn.Module):
    """Dropout, convolution, norm and ReLU, layer after layer; then linear layers, if any.

    Args:
        convs: layers that take a block.
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
        """How many blocks ``forward`` takes."""
        return len(self.convs)

    @property
    def summing(self) -> Conv | None:
        """The first layer, if all it needs of neighbours is a sum, which can be precomputed."""
        first = self.convs[0]
        return first if isinstance(first, Conv) else None

    @property
    def row_wise(self) -> bool:
        """Whether rows that no later layer looks at can be left out: every module says that it is."""
        modules = (*self.convs, *self.linears, *self.norms, *self.dropouts)
        return all(getattr(module, "row_wise", False) for module in modules)

    def forward(self, blocks: Sequence[Block], x: Inputs) -> Tensor:
        """Run the model: rows of the first block's sources to ``[D, C]`` of the last one's destinations."""
        ids = blocks[0].output_ids if isinstance(x, FirstHop) else blocks[0].input_ids
        last = len(self.dropouts) - 1
        first = self.dropouts[0]
        assert isinstance(first, KeyedDropout)
        h: Rows = first.inputs(x, ids)
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

models: Registry[ConvMaker] = Registry("model")


@models.register("gcn")
def _gcn(width_in: int, width_out: int, settings: ModelSettings, bias: bool, last: bool) -> Conv:
    return GCNConv(width_in, width_out, norm=settings.gcn_norm, side=settings.exchange_side, bias=bias)


@models.register("sage")
def _sage(width_in: int, width_out: int, settings: ModelSettings, bias: bool, last: bool) -> Conv:
    return SAGEConv(width_in, width_out, side=settings.exchange_side, bias=bias)


@models.register("gin")
def _gin(width_in: int, width_out: int, settings: ModelSettings, bias: bool, last: bool) -> Conv:
    return GINConv(width_in, width_out, train_eps=settings.train_eps, side=settings.exchange_side, bias=bias)


@models.register("gat")
def _gat(width_in: int, width_out: int, settings: ModelSettings, bias: bool, last: bool) -> nn.Module:
    return GATConv(width_in, width_out, bias=bias, **settings.attention(last=last))


@models.register("gatv2")
def _gatv2(width_in: int, width_out: int, settings: ModelSettings, bias: bool, last: bool) -> nn.Module:
    return GATv2Conv(width_in, width_out, bias=bias, **settings.attention(last=last))


def build_model(settings: ModelSettings, num_features: int, num_classes: int, *, seed: int) -> GNN:
    """Build a model; the same seed draws the same weights, whatever else draws numbers meanwhile."""
    maker = models.get(settings.name)
    widths = [num_features, *[settings.hidden] * (settings.layers - 1), num_classes]
    pairs = list(pairwise(widths))
    # Batch norm takes a bias before it away again. Its gradient is rounding alone, which Adam would
    # blow up to full steps, other ones for other cuts: so there is none.
    biases = [settings.norm != "batch"] * (len(pairs) - 1) + [True]
    layers = [(*pair, bias) for pair, bias in zip(pairs, biases, strict=True)]
    convs = [
        maker(a, b, settings, bias, place + 1 == settings.layers)
        for place, (a, b, bias) in enumerate(layers[: settings.num_convs])
    ]
    linears = [Linear(a, b, bias=bias) for a, b, bias in layers[settings.num_convs :]]
    norm = {"none": None, "layer": LayerNorm, "batch": BatchNorm}[settings.norm]
    norms = [norm(width) for width in widths[1:-1]] if norm is not None else None
    model = GNN(
        convs, linears, hidden_norms=norms, dropout=settings.dropout, residual=settings.residual,
        recompute=settings.recompute,
        elu=settings.activation == "elu" or (settings.activation == "auto" and settings.attends),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, Linear | GATConv | GATv2Conv):
            module.reset(generator)
    return model
