"""Layers for graphs whose nodes and edges are of several kinds.

Letters: S source rows, D destination rows, I and O the widths that come in and go out, T kinds.
"""

import torch
from torch import Tensor, nn

from gcnsys.errors import InputError
from gcnsys.kernels import Block, DroppedRows, Edges, SparseRows
from gcnsys.kernels.backend import summed
from gcnsys.kernels.block import Reached, Scales, scaled_sum
from gcnsys.nn.dropout import Rows
from gcnsys.nn.linear import Linear


class RGCNConv(nn.Module):
    r"""Relational graph convolution (Schlichtkrull et al. 2018, eq. 2 and 3).

    .. math:: h_v = W_0 x_v + b + \sum_t \frac{1}{|N_t(v)|} \sum_{u \in N_t(v)} W_t x_u, \quad
        W_t = \sum_b a_{tb} V_b

    over the kinds t of edges. Inputs cross, even of a layer that shrinks: only the receiver knows of what
    kind its edges are. Where only some halo rows were drawn, each mean is over
    the neighbours that are there.

    Args:
        in_features: I.
        out_features: O.
        num_kinds: T.
        num_bases: how many V_b there are; None: every kind has a matrix of its own.
        bias: whether there is a b.
    """

    row_wise = True

    reads_sparse = True

    def __init__(
        self, in_features: int, out_features: int, num_kinds: int, *, num_bases: int | None = None,
        bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        if num_kinds < 1 or (num_bases is not None and num_bases < 1):
            raise InputError(f"num_kinds and num_bases must be at least 1, got {num_kinds} and {num_bases}")
        count = num_kinds if num_bases is None else num_bases
        self.num_kinds, self.in_features, self.out_width = num_kinds, in_features, out_features
        self.own = Linear(in_features, out_features, bias=bias)
        self.bases = nn.Parameter(torch.empty(count, in_features, out_features))
        self.shares = None if num_bases is None else nn.Parameter(torch.empty(num_kinds, num_bases))
        self.reset(torch.Generator().manual_seed(0))

    def reset(self, generator: torch.Generator) -> None:
        """Draw Glorot-uniform bases and shares."""
        for basis in self.bases.data:
            nn.init.xavier_uniform_(basis, generator=generator)
        if self.shares is not None:
            nn.init.xavier_uniform_(self.shares, generator=generator)

    @property
    def weights(self) -> Tensor:
        """W_t, ``[T, I, O]``."""
        if self.shares is None:
            return self.bases
        mixed: Tensor = torch.einsum("tb,bio->tio", self.shares, self.bases)
        return mixed

    def forward(self, block: Block, x: Rows) -> Tensor:
        """``[S, I] -> [D, O]``."""
        if isinstance(x, DroppedRows | SparseRows):
            x = x.to_dense()
        assert isinstance(x, Tensor)
        kinds = block.edges().by_kind
        if len(kinds) > self.num_kinds:
            raise InputError(f"the graph has {len(kinds)} kinds of edges, the layer knows {self.num_kinds}")
        out: Tensor = self.own(block.own(x))
        reached = block.reached(x)
        for edges, weight in zip(kinds, self.weights.to(x.dtype), strict=False):
            out = out + block.settled(_mean(edges, reached)) @ weight
        return out


def _mean(edges: Edges, reached: Reached) -> Tensor:
    """The mean over each destination's edges, ``[D, I]``; 0 where there is none."""
    wide, rows = summed(reached.rows.dtype), reached.rows
    if reached.absent is None:
        counts = edges.csr.indptr.diff().to(wide)
    else:
        there = (~reached.absent).to(wide)[:, None]
        counts = edges.matrix.times(there)[:, 0]
    found: Tensor = scaled_sum(edges.matrix, rows, Scales(row=counts.clamp(min=1).reciprocal()))
    return found


class KindLinear(nn.Module):
    """A linear map for each kind of node: ``[S, I] -> [S, O]``; what kinds share is a row's width alone.

    Args:
        in_features: I.
        out_features: O.
        num_kinds: T.
        bias: whether there is one for each kind.
    """

    row_wise = True

    def __init__(self, in_features: int, out_features: int, num_kinds: int, *, bias: bool = True) -> None:
        super().__init__()
        self.linears = nn.ModuleList(Linear(in_features, out_features, bias=bias) for _ in range(num_kinds))

    def forward(self, block: Block, x: Tensor) -> Tensor:
        """``[S, I] -> [S, O]``, each row by the map of its node's kind."""
        kinds = block.input_kinds
        if kinds is None:
            raise InputError("the graph does not say of what kind its nodes are; add node_type to it")
        if kinds.numel() and int(kinds.max()) >= len(self.linears):
            raise InputError(
                f"the graph has a node of kind {int(kinds.max())}, the layer knows {len(self.linears)} kinds"
            )
        out = x.new_zeros(x.shape[0], next(self.parameters()).shape[0])
        for kind, linear in enumerate(self.linears):
            rows = torch.nonzero(kinds == kind).flatten()
            out = out.index_copy(0, rows, linear(x[rows]))
        return out
