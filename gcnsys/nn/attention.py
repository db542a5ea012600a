"""Graph attention over a block: layers that look at every edge, not only at sums.

Letters: S source rows, D destination rows, N rows that edges start from (S and the halo), I the width that
comes in, H heads of F features each.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from gcnsys.errors import InputError
from gcnsys.kernels import Block, DroppedRows, SparseRows
from gcnsys.kernels.attention import EdgeDropout, gat_attention
from gcnsys.kernels.backend import summed
from gcnsys.kernels.edges import edge_softmax, weighted_sum
from gcnsys.kernels.leaky import leaky_dot
from gcnsys.nn.conv import ExchangeSide
from gcnsys.nn.dropout import KeyedDropout, Rows
from gcnsys.nn.linear import Linear

_NEVER = -1e30
"""A logit that no softmax gives any weight beside another: that of a row which was not drawn."""


class Attention(nn.Module):
    """What both layers share.

    Args:
        in_features: I.
        out_features: H F, heads side by side; or F, if they are averaged.
        heads: H.
        average: average the heads instead of setting them side by side.
        dropout: of the attention weights.
        slope: of LeakyReLU below 0.
        side: what crosses between ranks: projected rows where they are narrower, or always the input.
        bias: whether there is a b.
    """

    row_wise = True

    reads_sparse = True

    def __init__(
        self, in_features: int, out_features: int, *, heads: int = 1, average: bool = False,
        dropout: float = 0.0, slope: float = 0.2, side: ExchangeSide = "narrower", bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        if heads < 1 or (out_features % heads and not average):
            raise InputError(
                f"{out_features} features cannot be divided among {heads} heads; use another number"
            )
        self.heads, self.average, self.slope = heads, average, slope
        self.features = out_features if average else out_features // heads
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        self.attention_dropout = KeyedDropout(dropout)
        self.in_features, self.out_width = in_features, heads * self.features
        self.projects_first = side == "narrower" and self.out_width < in_features

    def _drawn(self, generator: torch.Generator, *vectors: nn.Parameter) -> None:
        """Glorot-uniform attention vectors; the bias starts at zero."""
        bound = math.sqrt(6 / (self.heads + self.features))
        for vector in vectors:
            nn.init.uniform_(vector, -bound, bound, generator=generator)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def _projected(self, block: Block, x: Rows, linear: Linear) -> tuple[Tensor, Tensor | None]:
        """Projected rows ``[N, H F]``, and which of them are absent."""
        if self.projects_first or isinstance(x, SparseRows):
            assert isinstance(x, Tensor | DroppedRows | SparseRows)
            reached = block.reached(linear(x))
            return reached.rows, reached.absent
        if isinstance(x, DroppedRows):
            x = x.to_dense()
        assert isinstance(x, Tensor)
        reached = block.reached(x)
        return linear(reached.rows), reached.absent

    def _finished(self, out: Tensor) -> Tensor:
        if self.average:
            out = out.view(-1, self.heads, self.features).mean(1)
        return out if self.bias is None else out + self.bias.to(out.dtype)

    def _dropout(self, block: Block) -> EdgeDropout | None:
        site = self.attention_dropout
        if not self.training or not site.rate:
            return None
        return EdgeDropout(site.key, site.rate, block.output_ids, block.gathered_ids)


class GATConv(Attention):
    r"""Graph attention (Veličković et al. 2018, eq. 3 to 6), with a loop at every node.

    .. math:: h_v = \Vert_k \sum_u \alpha^k_{vu} W^k x_u + b, \quad
        \alpha^k_{vu} = softmax_u LeakyReLU(a_1^k W^k x_v + a_2^k W^k x_u)

    Where only some halo rows were drawn, the softmax is over the edges of those and of the rank's own rows.
    Arguments as in :class:`gcnsys.nn.attention.Attention`.
    """

    def __init__(self, in_features: int, out_features: int, **options: Any) -> None:
        super().__init__(in_features, out_features, **options)
        self.linear = Linear(in_features, self.heads * self.features, bias=False)
        self.own = nn.Parameter(torch.empty(self.heads, self.features))
        self.neighbours = nn.Parameter(torch.empty(self.heads, self.features))
        self.reset(torch.Generator().manual_seed(0))

    def reset(self, generator: torch.Generator) -> None:
        """Draw the attention vectors."""
        self._drawn(generator, self.own, self.neighbours)

    def forward(self, block: Block, x: Rows) -> Tensor:
        """``[S, I] -> [D, O]``."""
        rows, absent = self._projected(block, x, self.linear)
        source = self._scores(rows, self.neighbours)
        if absent is not None:
            source = source.masked_fill(absent[:, None], _NEVER)
        destination = self._scores(rows[: block.output_ids.numel()], self.own)
        edges, dropout = block.edges(loops=True), self._dropout(block)
        out = gat_attention(edges, rows, destination, source, slope=self.slope, dropout=dropout)
        return self._finished(block.settled(out))

    def _scores(self, rows: Tensor, vector: Tensor) -> Tensor:
        """``[n, H]``: each head's row times its vector, in the type that edges are summed in."""
        parts = rows.view(-1, self.heads, self.features).to(summed(rows.dtype))
        return (parts * vector.to(parts)).sum(2)


class GATv2Conv(Attention):
    r"""Dynamic graph attention (Brody et al. 2022, eq. 7), with a loop at every node.

    .. math:: h_v = \Vert_k \sum_u \alpha^k_{vu} (W_2^k x_u + b_2^k) + b, \quad
        \alpha^k_{vu} = softmax_u\, a^k LeakyReLU(W_1^k x_v + b_1^k + W_2^k x_u + b_2^k)

    The biases inside are PyG's. Where only some halo rows were drawn, the softmax is over the edges of those
    and of the rank's own rows. Arguments as in :class:`gcnsys.nn.attention.Attention`.
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True, **options: Any) -> None:
        super().__init__(in_features, out_features, bias=bias, **options)
        width = self.heads * self.features
        self.own = Linear(in_features, width, bias=bias)
        self.neighbours = Linear(in_features, width, bias=bias)
        self.vector = nn.Parameter(torch.empty(self.heads, self.features))
        self.reset(torch.Generator().manual_seed(0))

    def reset(self, generator: torch.Generator) -> None:
        """Draw the attention vector."""
        self._drawn(generator, self.vector)

    def forward(self, block: Block, x: Rows) -> Tensor:
        """``[S, I] -> [D, O]``."""
        if isinstance(x, DroppedRows):
            x = x.to_dense()
        assert isinstance(x, Tensor | SparseRows)
        rows, absent = self._projected(block, x, self.neighbours)
        own = self.own(block.own(x)) if isinstance(x, Tensor) else block.own(self.own(x))
        edges = block.edges(loops=True)
        logits = leaky_dot(edges, own, rows, self.vector.to(summed(rows.dtype)), slope=self.slope)
        if absent is not None:
            logits = logits.masked_fill(absent[edges.sources, None], _NEVER)
        weight, dropout = edge_softmax(edges, logits), self._dropout(block)
        if dropout is not None:
            weight = weight * dropout.mask(edges, self.heads) * (1 / (1 - dropout.rate))
        return self._finished(block.settled(weighted_sum(edges, weight, rows)))
