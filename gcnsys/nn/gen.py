"""Generalized aggregation (Li et al., DeeperGCN, 2020): a mean that leans towards the greatest neighbour.

Letters: S source rows, D destination rows, I and O the widths that come in and go out.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from gcnsys.errors import InputError
from gcnsys.kernels import Block, softmax_mean
from gcnsys.kernels.backend import summed
from gcnsys.nn.linear import Linear
from gcnsys.nn.model import all_row_wise
from gcnsys.nn.norm import Norm, made_norm
from gcnsys.nn.settings import Aggregation


class GENConv(nn.Module):
    r"""GENeralized convolution (eq. 1 to 3): :math:`MLP(W_2 x_v + \zeta_u(ReLU(W_1 x_u) + \epsilon))`.

    :math:`\zeta` is the softmax mean of definition 1, or the plain mean. W_1 and W_2 are there where widths
    differ. Rows cross before the ReLU. Where only some halo rows were drawn, the softmax is over those and
    the rank's own; the plain mean is unbiased.

    Args:
        in_features: I.
        out_features: O.
        aggregation: ``softmax`` or ``mean``.
        temperature: of the softmax: 0 is the mean, a large one the maximum.
        learn_temperature: train it.
        mlp_layers: of the MLP; between two of them norm and ReLU, and twice the width.
        norm: in the MLP: ``none``, ``layer`` or ``batch``.
        eps: added to messages, so that none is 0.
        bias: of all linear layers but those before the norm.
    """

    temperature: Tensor

    def __init__(
        self, in_features: int, out_features: int, *, aggregation: Aggregation = "softmax",
        temperature: float = 1.0, learn_temperature: bool = False, mlp_layers: int = 1,
        norm: Norm = "batch", eps: float = 1e-7, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        if mlp_layers < 1:
            raise InputError(f"mlp_layers must be at least 1, got {mlp_layers}")
        self.aggregation, self.eps = aggregation, eps
        if learn_temperature:
            self.temperature = nn.Parameter(torch.tensor(temperature))
        else:
            self.register_buffer("temperature", torch.tensor(temperature))
        differ = in_features != out_features
        self.neighbours = Linear(in_features, out_features, bias=bias) if differ else None
        self.own = Linear(in_features, out_features, bias=bias) if differ else None
        widths = [out_features, *[2 * out_features] * (mlp_layers - 1), out_features]
        self.linears = nn.ModuleList(
            Linear(a, b, bias=bias and (place == mlp_layers - 1 or norm != "batch"))
            for place, (a, b) in enumerate(pairwise(widths))
        )
        norms = [made_norm(norm, width) for width in widths[1:-1]]
        self.norms = nn.ModuleList(module for module in norms if module is not None)

    @property
    def out_width(self) -> int:
        last = self.linears[-1]
        assert isinstance(last, Linear)
        return last.out_width

    @property
    def row_wise(self) -> bool:
        return all_row_wise(list(self.norms))

    def forward(self, block: Block, x: Tensor) -> Tensor:
        """``[S, I] -> [D, O]``."""
        own = block.own(x)
        if self.neighbours is not None and self.own is not None:
            own, x = self.own(own), self.neighbours(x)
        if self.aggregation == "mean":
            out = own + block.mean(x.relu() + self.eps)
        else:
            reached = block.reached(x)
            message = reached.rows.relu() + self.eps
            temperature = self.temperature.to(summed(x.dtype))
            out = own + block.settled(
                softmax_mean(block.edges(), message, temperature, absent=reached.absent)
            )
        for place, linear in enumerate(self.linears):
            if place and self.norms:
                out = self.norms[place - 1](out, block)
            out = linear(out.relu() if place else out)
        return out
