"""Models of dozens of layers, which leave a way past each of them.

What backward keeps grows with their depth; ``recompute`` keeps one matrix a layer and computes the rest
again.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from gcnsys.errors import InputError
from gcnsys.kernels import Block, SparseRows, activation
from gcnsys.nn.dropout import Inputs, KeyedDropout
from gcnsys.nn.gen import GENConv
from gcnsys.nn.linear import Linear
from gcnsys.nn.model import Model, all_row_wise, models
from gcnsys.nn.norm import BatchNorm, LayerNorm, made_norm
from gcnsys.nn.recompute import recomputed
from gcnsys.nn.settings import ModelSettings


class Deep(Model):
    """Layers of one width between two linear ones.

    Args:
        encoder: from features to that width.
        output: from it to classes.
        num_layers: in between.
        dropout: before each of them, and before the output.
        recompute: keep their inputs alone.
    """

    def __init__(
        self, encoder: Linear, output: Linear, num_layers: int, *, dropout: float, recompute: bool
    ) -> None:
        super().__init__()
        self.encoder, self.output, self.recompute = encoder, output, recompute
        self.dropouts = nn.ModuleList(KeyedDropout(dropout) for _ in range(num_layers + 1))

    @property
    def num_blocks(self) -> int:
        return len(self.dropouts) - 1

    @property
    def reads_sparse(self) -> bool:
        return True

    @property
    def first(self) -> nn.Module:
        return self.encoder

    def hops(self, *, sparse: bool) -> list[tuple[int, int]]:
        return [(self.encoder.out_width,) * 2] * self.num_blocks

    def _kept(self, layer: Callable[..., Tensor], *inputs: object) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            return recomputed(layer, *inputs)
        return layer(*inputs)

    def _dropout(self, number: int) -> KeyedDropout:
        found = self.dropouts[number]
        assert isinstance(found, KeyedDropout)
        return found


class ResGCN(Deep):
    """ResGCN+ (Li et al., DeeperGCN, 2020, section 3.3): norm, ReLU, dropout, convolution, plus the input.

    Args:
        encoder, output: see :class:`gcnsys.nn.deep.Deep`.
        convs: layers of one width that take a block.
        norms: one a layer, or none at all: that of a layer's result, before the next reads it.
        dropout: before each convolution but the first, and before the output.
        recompute: see :class:`gcnsys.nn.deep.Deep`.
    """

    def __init__(
        self, encoder: Linear, convs: Sequence[nn.Module], norms: Sequence[nn.Module], output: Linear, *,
        dropout: float = 0.5, recompute: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(encoder, output, len(convs), dropout=dropout, recompute=recompute)
        self.convs, self.norms = nn.ModuleList(convs), nn.ModuleList(norms)

    @property
    def row_wise(self) -> bool:
        return all_row_wise([*self.convs, *self.norms])

    def forward(self, blocks: Sequence[Block], x: Inputs) -> Tensor:
        assert isinstance(x, Tensor | SparseRows)
        h = self._kept(self.convs[0], blocks[0], self.encoder(x))
        for number, block in enumerate(blocks[1:], 1):
            h = self._kept(self._layer, number, block, h)
        return self._kept(self._classes, blocks[-1], h)

    def _layer(self, number: int, block: Block, h: Tensor) -> Tensor:
        out: Tensor = self.convs[number](block, self._activated(number, block, h, block.input_ids))
        return out + block.own(h)

    def _classes(self, block: Block, h: Tensor) -> Tensor:
        out: Tensor = self.output(self._activated(self.num_blocks, block, h, block.output_ids))
        return out

    def _activated(self, number: int, block: Block, h: Tensor, ids: Tensor) -> Tensor:
        mask = self._dropout(number).mask(ids)
        norm = self.norms[number - 1] if self.norms else None
        if isinstance(norm, LayerNorm):
            return activation(h, norm=norm.fused(), mask=mask)
        return activation(h if norm is None else norm(h, block), mask=mask)


class GCNII(Deep):
    r"""GCNII (Chen et al. 2020, eq. 5), 64 layers and more without smoothing everything over.

    .. math:: h_l = ReLU(((1 - \alpha) \hat A h_{l-1} + \alpha h_0) ((1 - \beta_l) I + \beta_l W_l)), \quad
        \beta_l = \log(\theta / l + 1)

    Args:
        encoder, output, dropout, recompute: see :class:`gcnsys.nn.deep.Deep`.
        weights: W_l, square and without biases.
        norms: of each layer's result before its ReLU, or none at all.
        alpha: the share of the first rows.
        theta: how fast layers come close to the identity.
    """

    def __init__(
        self, encoder: Linear, weights: Sequence[Linear], norms: Sequence[nn.Module], output: Linear, *,
        dropout: float = 0.5, alpha: float = 0.1, theta: float = 0.5, recompute: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(encoder, output, len(weights), dropout=dropout, recompute=recompute)
        self.inputs = KeyedDropout(dropout)
        self.weights, self.norms = nn.ModuleList(weights), nn.ModuleList(norms)
        self.alpha, self.theta = alpha, theta

    @property
    def row_wise(self) -> bool:
        return all_row_wise([*self.weights, *self.norms])

    def forward(self, blocks: Sequence[Block], x: Inputs) -> Tensor:
        rows = self.inputs.inputs(x, blocks[0].input_ids)
        first = h = self.encoder(rows).relu()
        for number, block in enumerate(blocks):
            h = self._kept(self._layer, number, block, h, first)
        out: Tensor = self.output(self._dropout(self.num_blocks)(h, blocks[-1].output_ids))
        return out

    def _layer(self, number: int, block: Block, h: Tensor, first: Tensor) -> Tensor:
        h = self._dropout(number)(h, block.input_ids)
        beta = math.log(self.theta / (number + 1) + 1)
        mixed = torch.lerp(block.gcn(h), first[: block.output_ids.numel()], self.alpha)
        out = torch.lerp(mixed, self.weights[number](mixed), beta)
        return activation(self.norms[number](out, block) if self.norms else out)


def _norms(settings: ModelSettings) -> list[LayerNorm | BatchNorm]:
    found = [made_norm(settings.norm_name, settings.hidden) for _ in range(settings.layers)]
    return [norm for norm in found if norm is not None]


def _without_linears(settings: ModelSettings) -> None:
    if settings.linear_layers:
        raise InputError(
            f"linear_layers = {settings.linear_layers} has no meaning in {settings.name}, which ends in a "
            f"linear layer anyway: drop it"
        )


@models.register("resgcn")
def _resgcn(settings: ModelSettings, num_features: int, num_classes: int) -> ResGCN:
    _without_linears(settings)
    # As in a stack: a norm over nodes takes away what a bias before it adds.
    bias = settings.norm_name != "batch"
    convs = [
        GENConv(
            settings.hidden, settings.hidden, aggregation=settings.aggregation,
            temperature=settings.temperature, norm=settings.norm_name, bias=bias,
        )
        for _ in range(settings.layers)
    ]  # fmt: skip
    return ResGCN(
        Linear(num_features, settings.hidden), convs, _norms(settings), Linear(settings.hidden, num_classes),
        dropout=settings.dropout, recompute=settings.recompute,
    )  # fmt: skip


@models.register("gcnii")
def _gcnii(settings: ModelSettings, num_features: int, num_classes: int) -> GCNII:
    _without_linears(settings)
    hidden = settings.hidden
    return GCNII(
        Linear(num_features, hidden), [Linear(hidden, hidden, bias=False) for _ in range(settings.layers)],
        _norms(settings), Linear(hidden, num_classes), dropout=settings.dropout, alpha=settings.alpha,
        theta=settings.theta, recompute=settings.recompute,
    )  # fmt: skip
