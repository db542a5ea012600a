"""Graph attention (Veličković et al., ICLR 2018, eq. 1 to 6) without a number for every edge.

An edge r <- c has, in head h, the logit ``LeakyReLU(destination[r, h] + source[c, h])``; its weight is
the softmax over all edges of r. The native core passes over the edges once each way and keeps,
beyond its inputs and its result, one number a destination and head and one row a destination (the
derivative of its result by ``destination``, from which that gradient follows without a look at the
edges). Elsewhere torch composes the same of :mod:`gcnsys.kernels.edges` and holds ``[E, H]`` arrays.

Dropout of the weights is keyed (:mod:`gcnsys.kernels.dropout`): the mask of an edge is the hash of
the two words of its destination and, as the feature, the first word of its source plus the head,
modulo 2^32. So it depends on (seed, epoch, site, destination, source, head) with global ids alone,
whatever the partitioning; equal edges share a mask.

Letters: R destinations (rows), K sources (columns), E edges, H heads, D features a head.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gcnsys.errors import InputError
from gcnsys.kernels.backend import as_rows, native_for, summed
from gcnsys.kernels.dropout import DropoutKey, kept, row_words, threshold
from gcnsys.kernels.edges import (
    Edges,
    check,
    check_features,
    edge_add,
    edge_softmax,
    weighted_sum,
)


@dataclass(frozen=True, eq=False, slots=True)
class EdgeDropout:
    """Which attention weights are dropped; the others are scaled by ``1 / (1 - rate)``.

    Attributes:
        key: of the run, the epoch and the place.
        rate: in ``[0, 1)``.
        destination_ids: ``[R]`` int64 global ids.
        source_ids: ``[K]`` int64 global ids.
    """

    key: DropoutKey
    rate: float
    destination_ids: Tensor
    source_ids: Tensor

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise InputError(f"dropout must be in [0, 1), got {self.rate}")

    def check(self, edges: Edges) -> None:
        """Refuse ids that are not those of the edges' rows.

        Raises:
            InputError: there are too few or too many, or they lie on another device.
        """
        rows = {"destination": (self.destination_ids, edges.csr.num_rows)}
        rows["source"] = self.source_ids, edges.csr.num_cols
        for name, (ids, size) in rows.items():
            if ids.shape != (size,) or ids.device != edges.device:
                found = f"{list(ids.shape)} on {ids.device}"
                raise InputError(f"dropout needs {name} ids [{size}] on {edges.device}, got {found}")

    def words(self) -> tuple[Tensor, Tensor, Tensor]:
        """Two int32 words of every destination ``[R]``, and one of every source ``[K]``."""
        return *row_words(self.key, self.destination_ids), row_words(self.key, self.source_ids)[0]

    def mask(self, edges: Edges, heads: int) -> Tensor:
        """Which weights survive, ``[E, H]``."""
        numbers = torch.arange(heads, dtype=torch.int32, device=edges.device)
        return kept(*edge_words(edges, *self.words(), numbers), self.rate)


def edge_words(
    edges: Edges, a: Tensor, b: Tensor, source: Tensor, numbers: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What keyed draws for edges are hashed from: ``[E, 1], [E, 1]`` and ``[E, k]`` int32.

    Args:
        edges: E edges.
        a: ``[R]`` first words of the destinations.
        b: ``[R]`` second words of them.
        source: ``[K]`` first words of the sources.
        numbers: ``[k]`` int32, of the draws that an edge needs, such as heads.
    """
    ends = edges.destinations
    return a[ends, None], b[ends, None], source[edges.sources, None] + numbers


def gat_attention(
    edges: Edges,
    x: Tensor,
    destination: Tensor,
    source: Tensor,
    *,
    slope: float = 0.2,
    dropout: EdgeDropout | None = None,
) -> Tensor:
    """Average the sources' features by attention: ``[K, H D] -> [R, H D]``; 0 without edges.

    Differentiable in ``x``, ``destination`` and ``source``.

    Args:
        edges: from sources to destinations.
        x: ``[K, H D]`` features of the sources, head by head; float32, float64 or bfloat16.
        destination: ``[R, H]`` share of each destination in the logits; float32 for bfloat16 features.
        source: ``[K, H]`` share of each source, of the same type.
        slope: of LeakyReLU below 0.
        dropout: of the weights.

    Raises:
        InputError: a tensor does not fit the edges or another one.
    """
    heads = check("source", source, edges.csr.num_cols, summed(x.dtype), edges)
    check_features("x", x, edges.csr.num_cols, heads, edges)
    if check("destination", destination, edges.csr.num_rows, source.dtype, edges) != heads:
        raise InputError(f"destination must have {heads} columns as source has, got {destination.shape[1]}")
    if dropout is not None:
        dropout.check(edges)
        if dropout.rate == 0:
            dropout = None
    if native_for(x, destination, source) is None or edges.factors is not None:
        return _by_torch(edges, x, destination, source, slope, dropout)
    if torch.is_grad_enabled() and (x.requires_grad or destination.requires_grad or source.requires_grad):
        out: Tensor = _Attention.apply(x, destination, source, edges, slope, dropout)
        return out
    return _attend(edges, x, destination, source, slope, _words(dropout), derived=False)[0]


def _by_torch(
    edges: Edges, x: Tensor, destination: Tensor, source: Tensor, slope: float, dropout: EdgeDropout | None
) -> Tensor:
    logits = torch.nn.functional.leaky_relu(edge_add(edges, destination, source), slope)
    weight = edge_softmax(edges, logits)
    if dropout is not None:
        weight = weight * dropout.mask(edges, weight.shape[1]) * (1 / (1 - dropout.rate))
    return weighted_sum(edges, weight, x)


Words = tuple[Tensor | None, Tensor | None, Tensor | None, int, float]


def _words(dropout: EdgeDropout | None) -> Words:
    """What the core draws masks from: words of destinations and sources, threshold and scale."""
    if dropout is None:
        return None, None, None, 0, 1.0
    return *dropout.words(), threshold(dropout.rate), 1 / (1 - dropout.rate)


def _attend(
    edges: Edges,
    x: Tensor,
    destination: Tensor,
    source: Tensor,
    slope: float,
    words: Words,
    *,
    derived: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The result, ``[R, H]`` logarithms of the sums of exponentials and, ``derived``, the derivative."""
    out = x.new_empty(edges.csr.num_rows, x.shape[1])
    normalizer = torch.empty_like(destination, memory_format=torch.contiguous_format)
    derivative = torch.empty_like(out) if derived else None
    scores = destination.detach().contiguous(), source.detach().contiguous()
    edges.pattern.attention(
        as_rows(x), *scores, slope, out, normalizer, derivative, *words, torch.get_num_threads()
    )
    return out, normalizer, derivative


class _Attention(torch.autograd.Function):
    """``y_r = sum_e m_e p_e x_c``, ``p = softmax(l)``, ``l_e = LeakyReLU(a_r + b_c)``, m the mask.

    With ``d_e = p_e (m_e <g_r, x_c> - <g_r, y_r>)``, the gradients are ``sum_e m_e p_e g_r`` for x,
    ``sum_e LeakyReLU'(a_r + b_c) d_e`` over the edges of a row for a and of a column for b.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        destination: Tensor,
        source: Tensor,
        edges: Edges,
        slope: float,
        dropout: EdgeDropout | None,
    ) -> Tensor:
        words = _words(dropout)
        out, normalizer, derivative = _attend(edges, x, destination, source, slope, words, derived=True)
        ctx.edges, ctx.slope, ctx.words = edges, slope, words
        ctx.save_for_backward(x, destination, source, out, normalizer, derivative)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, destination, source, out, normalizer, derivative = ctx.saved_tensors
        found = tuple(
            torch.empty_like(tensor, memory_format=torch.contiguous_format)
            for tensor in (x, destination, source)
        )
        ctx.edges.pattern_transposed.attention_gradient(
            as_rows(x),
            as_rows(grads[0]),
            destination.contiguous(),
            source.contiguous(),
            normalizer,
            ctx.slope,
            out,
            derivative,
            *found,
            *ctx.words,
            torch.get_num_threads(),
        )
        return *found, None, None, None
