"""The shape of a model, whichever it is."""

from dataclasses import dataclass
from typing import Any, Literal

from gcnsys.errors import InputError
from gcnsys.kernels.block import Norm as GCNNorm
from gcnsys.nn.conv import ExchangeSide

NormName = Literal["auto", "none", "layer", "batch"]
Activation = Literal["auto", "relu", "elu"]
Aggregation = Literal["softmax", "mean"]


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """The shape of a model.

    Attributes:
        name: in the registry of models.
        layers: all layers of a stack, linear ones included; those that convolve, of a deep model.
        hidden: width between layers.
        linear_layers: how many of a stack's last layers are plain linear (published Yelp runs: 2).
        dropout: before every layer.
        norm: after every layer but the last; ``auto``: batch norm in ``resgcn``, as published, else none.
        residual: add a hidden layer's input to its output; deep models always do, in their own way.
        gcn_norm: see ``Block.gcn``.
        train_eps: GIN learns its epsilon.
        exchange_side: see :mod:`gcnsys.nn.conv`.
        recompute: see :class:`GNN`.
        activation: after every layer but the last; ``auto``: ELU for attention, as published, else ReLU.
        heads: of an attention layer; they share the width.
        out_heads: of the last one; they are averaged.
        attention_dropout: of attention weights; None: as ``dropout``.
        aggregation: of ``resgcn``: see :class:`gcnsys.nn.GENConv`.
        temperature: of that softmax.
        alpha: the share of the first rows in every layer of ``gcnii`` and hop of ``appnp``.
        theta: of ``gcnii``: how fast its layers come close to the identity.
        hops: of ``appnp`` and ``sgc``.
        bases: of ``rgcn``; None: every kind of edge has a matrix of its own.
        edge_kinds: how many the graph has.
    """

    name: str = "gcn"
    layers: int = 2
    hidden: int = 64
    linear_layers: int = 0
    dropout: float = 0.5
    norm: NormName = "auto"
    residual: bool = False
    gcn_norm: GCNNorm = "symmetric"
    train_eps: bool = False
    exchange_side: ExchangeSide = "narrower"
    recompute: bool = False
    activation: Activation = "auto"
    heads: int = 8
    out_heads: int = 1
    attention_dropout: float | None = None
    aggregation: Aggregation = "softmax"
    temperature: float = 0.1
    alpha: float = 0.1
    theta: float = 0.5
    hops: int = 10
    bases: int | None = None
    edge_kinds: int = 1

    def __post_init__(self) -> None:
        if self.layers < 1 or self.hidden < 1:
            raise InputError(f"layers and hidden must be at least 1, got {self.layers} and {self.hidden}")
        if self.heads < 1 or self.out_heads < 1:
            raise InputError(f"heads and out_heads must be at least 1, got {self.heads} and {self.out_heads}")
        if self.hops < 1:
            raise InputError(f"hops must be at least 1, got {self.hops}")
        if not 0 < self.alpha <= 1:
            raise InputError(f"alpha must be in (0, 1], got {self.alpha}")
        if not 0 <= self.linear_layers < self.layers:
            raise InputError(
                f"linear_layers must be in 0..{self.layers - 1} so that one layer convolves, "
                f"got {self.linear_layers}"
            )

    @property
    def norm_name(self) -> Literal["none", "layer", "batch"]:
        """The norm between layers."""
        if self.norm != "auto":
            return self.norm
        return "batch" if self.name == "resgcn" else "none"

    def attention(self, *, last: bool) -> dict[str, Any]:
        """What an attention layer is made with; the heads of the last one are averaged."""
        rate = self.dropout if self.attention_dropout is None else self.attention_dropout
        heads = self.out_heads if last else self.heads
        return {"heads": heads, "average": last, "dropout": rate, "side": self.exchange_side}

    @property
    def num_convs(self) -> int:
        """Layers that convolve."""
        return self.layers - self.linear_layers
