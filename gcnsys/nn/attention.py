"""Graph attention over a block: layers that look at every edge, not only at sums.

Letters: S source rows, D destination rows, N rows that edges start from (S and the halo), I the width that
comes in, H heads of F features each.
"""

import math

import torch
from torch import Tensor, nn

from gcnsys.errors import InputError
from gcnsys.kernels import Block, DroppedRows, SparseRows
from gcnsys.kernels.attention import EdgeDropout, gat_attention
from gcnsys.kernels.backend import summed
from gcnsys.nn.conv import ExchangeSide
from gcnsys.nn.dropout import KeyedDropout, Rows
from gcnsys.nn.linear import Linear

_NEVER = -1e30
"""A logit that no softmax gives any weight beside another: that of a row which was not drawn."""


class GATConv(nn.Module):
    r"""Graph attention (Veličković et al. 2018, eq. 3 to 6), with a loop at every node.

    .. math:: h_v = \Vert_k \sum_u \alpha^k_{vu} W^k x_u + b, \quad
        \alpha^k_{vu} = softmax_u LeakyReLU(a_1^k W^k x_v + a_2^k W^k x_u)

    Where only some halo rows were drawn, the softmax is over the edges of those and of the rank's own rows.

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
        self.linear = Linear(in_features, heads * self.features, bias=False)
        self.own = nn.Parameter(torch.empty(heads, self.features))
        self.neighbours = nn.Parameter(torch.empty(heads, self.features))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        self.attention_dropout = KeyedDropout(dropout)
        self.projects_first = side == "narrower" and heads * self.features < in_features
        self.reset(torch.Generator().manual_seed(0))

    def reset(self, generator: torch.Generator) -> None:
        """Draw Glorot-uniform attention vectors; the bias starts at zero."""
        bound = math.sqrt(6 / (self.heads + self.features))
        for vector in (self.own, self.neighbours):
            nn.init.uniform_(vector, -bound, bound, generator=generator)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, block: Block, x: Rows) -> Tensor:
        rows, absent = self._rows(block, x)
        source = self._scores(rows, self.neighbours)
        if absent is not None:
            source = source.masked_fill(absent[:, None], _NEVER)
        destination = self._scores(rows[: block.output_ids.numel()], self.own)
        edges = block.edges(loops=True)
        out = gat_attention(edges, rows, destination, source, slope=self.slope, dropout=self._dropout(block))
        if self.average:
            out = out.view(-1, self.heads, self.features).mean(1)
        return out if self.bias is None else out + self.bias

    def _rows(self, block: Block, x: Rows) -> tuple[Tensor, Tensor | None]:
        """Projected rows ``[N, H F]``, and which of them are absent."""
        if self.projects_first or isinstance(x, SparseRows):
            assert isinstance(x, Tensor | DroppedRows | SparseRows)
            reached = block.reached(self.linear.project(x))
            return reached.rows, reached.absent
        if isinstance(x, DroppedRows):
            x = x.to_dense()
        assert isinstance(x, Tensor)
        reached = block.reached(x)
        return self.linear.project(reached.rows), reached.absent

    def _scores(self, rows: Tensor, vector: Tensor) -> Tensor:
        """``[n, H]``: each head's row times its vector, in the type that edges are summed in."""
        parts = rows.view(-1, self.heads, self.features).to(summed(rows.dtype))
        return (parts * vector.to(parts)).sum(2)

    def _dropout(self, block: Block) -> EdgeDropout | None:
        site = self.attention_dropout
        if not self.training or not site.rate:
            return None
        return EdgeDropout(site.key, site.rate, block.output_ids, block.gathered_ids)
