"""Numbers on edges, a column for each head: the building blocks of attention.

What an edge carries, such as a logit or a weight, is float32 or float64, whatever features are
stored as; bfloat16 features go with float32 on edges. Every function checks what it is given and is
differentiable in all of it. On a CPU the native core works, without atomic operations: the same
bits for any number of threads. Elsewhere plain torch does, with the same results up to rounding.

Letters: R destinations (rows), K sources (columns), E edges, H heads, D features a head; features lie
head by head, ``[*, H D]``.
"""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gcnsys.errors import InputError
from gcnsys.graph import CSR
from gcnsys.kernels.backend import STORED, as_rows, core, native_for, summed
from gcnsys.kernels.matrix import Matrix

_PIECE = 1 << 22
"""Elements that torch gathers at a time for the products of rows."""


class Edges:
    """Edges from sources to destinations, kept ready for passes in both directions.

    What depends on the pattern alone is built when it is first needed, and once.

    Attributes:
        weight: ``[E]`` of the graph's edges, for layers that ask for it; no function here looks at it.
        columns: what else is known of edges, ``[E]`` or ``[E, K]``, by name: ``edge_attr``, ``edge_type``.
        factors: ``[E]`` at least 0: what an edge counts for in a softmax; None: 1.

    Args:
        csr: ``[R, K]`` pattern, edges by destination; equal edges count each.
        symmetric: the pattern equals its transpose, so that no second copy of it is needed.

    Raises:
        InputError: the pattern is none, or is called symmetric and not even square.
    """

    factors: Tensor | None = None

    def __init__(self, csr: CSR, *, symmetric: bool = False) -> None:
        weight, columns = csr.weight, csr.columns
        csr = CSR(csr.indptr.contiguous(), csr.indices.contiguous(), csr.num_cols).check("edges")
        if symmetric and csr.num_rows != csr.num_cols:
            raise InputError(f"a symmetric pattern is square, got {csr.num_rows} x {csr.num_cols}")
        self.csr, self.symmetric, self.weight, self.columns = csr, symmetric, weight, columns

    @property
    def device(self) -> torch.device:
        return self.csr.indices.device

    def to(self, device: torch.device) -> "Edges":
        """The same edges in another memory."""
        if self.device == device:
            return self
        csr = CSR(self.csr.indptr, self.csr.indices, self.csr.num_cols, self.weight, self.columns)
        return Edges(csr.to(device), symmetric=self.symmetric)

    @cached_property
    def destinations(self) -> Tensor:
        """The destination of every edge, ``[E]`` int64."""
        return self.csr.rows().long()

    @cached_property
    def sources(self) -> Tensor:
        """The source of every edge, ``[E]`` int64."""
        return self.csr.indices.long()

    @cached_property
    def pairs(self) -> Tensor:
        """Source and destination of every edge, ``[2, E]`` int64."""
        return torch.stack([self.sources, self.destinations])

    @cached_property
    def by_kind(self) -> "tuple[Edges, ...]":
        """The edges of each kind, kind by kind; all of them where nothing is said of kinds."""
        kinds = self.columns.get("edge_type")
        if kinds is None:
            return (self,)
        # Where a rank has no edges, it is still one of those whose gradients meet.
        count = int(kinds.max()) + 1 if kinds.numel() else 1
        return tuple(Edges(self.csr.keep(kinds == kind)) for kind in range(count))

    @cached_property
    def by_source(self) -> tuple[CSR, Tensor]:
        """The transpose ``[K, R]`` and the edge that each of its entries is, ``[E]`` int64."""
        csr, numbers = self.csr, torch.arange(self.csr.num_edges, device=self.device)
        numbered = CSR(csr.indptr, csr.indices, csr.num_cols, numbers).transposed()
        assert numbered.weight is not None
        return numbered.pattern, numbered.weight

    @cached_property
    def transposed(self) -> CSR:
        """The transpose ``[K, R]``, its entries in no particular order."""
        if self.symmetric:
            return self.csr
        if "by_source" in self.__dict__:
            return self.by_source[0]
        return self.csr.transposed()

    @cached_property
    def matrix(self) -> Matrix:
        """The pattern as a matrix of ones."""
        return Matrix(self.csr, symmetric=self.symmetric)

    @cached_property
    def matrix_by_source(self) -> Matrix:
        """The transpose for torch's products."""
        return Matrix(self.by_source[0])

    @cached_property
    def pattern(self) -> Any:
        """The pattern for the native core."""
        return _pattern(self.csr)

    @cached_property
    def pattern_by_source(self) -> Any:
        """The transpose for the native core, in the order of :attr:`by_source`."""
        return _pattern(self.by_source[0])

    @cached_property
    def pattern_transposed(self) -> Any:
        """The transpose for the native core, in no particular order."""
        return self.pattern if self.symmetric else _pattern(self.transposed)


def _pattern(csr: CSR) -> Any:
    module = core()
    assert module is not None
    return module.Pattern(csr.indptr, csr.indices, csr.num_cols)


def check(name: str, tensor: Tensor, rows: int, dtype: torch.dtype, edges: Edges) -> int:
    """The columns of a matrix that is as it has to be.

    Raises:
        InputError: another number of rows, no column, another type, or another device than the edges.
    """
    if tensor.ndim != 2 or tensor.shape[0] != rows or tensor.shape[1] < 1:
        raise InputError(f"{name} must have shape [{rows}, at least 1], got {list(tensor.shape)}")
    if tensor.dtype != dtype:
        raise InputError(f"{name} must be {dtype}, got {tensor.dtype}")
    if tensor.device != edges.device:
        raise InputError(f"{name} lies on {tensor.device}, the edges on {edges.device}: move one of them")
    return tensor.shape[1]


def check_features(name: str, x: Tensor, rows: int, heads: int, edges: Edges) -> None:
    """The same for features ``[rows, H D]``."""
    if x.dtype not in STORED:
        raise InputError(f"{name} must be float32, float64 or bfloat16, got {x.dtype}")
    if check(name, x, rows, x.dtype, edges) % heads:
        raise InputError(f"{name} must have a multiple of {heads} columns, got {x.shape[1]}")


def edge_add(edges: Edges, destination: Tensor, source: Tensor) -> Tensor:
    """``destination[r, h] + source[c, h]`` on every edge: ``[R, H], [K, H] -> [E, H]``.

    Raises:
        InputError: a tensor does not fit the edges or the other one.
    """
    dtype = source.dtype if source.dtype in STORED[:2] else torch.float32
    heads = check("source", source, edges.csr.num_cols, dtype, edges)
    if check("destination", destination, edges.csr.num_rows, dtype, edges) != heads:
        raise InputError(f"destination must have {heads} columns as source has, got {destination.shape[1]}")
    out: Tensor = _EdgeAdd.apply(destination, source, edges)
    return out


def edge_dot(edges: Edges, y: Tensor, x: Tensor, heads: int) -> Tensor:
    """``<y[r, h, :], x[c, h, :]>`` on every edge: ``[R, H D], [K, H D] -> [E, H]``.

    Raises:
        InputError: a tensor does not fit the edges, the heads or the other one.
    """
    if heads < 1:
        raise InputError(f"there must be at least one head, got {heads}")
    check_features("x", x, edges.csr.num_cols, heads, edges)
    if check("y", y, edges.csr.num_rows, x.dtype, edges) != x.shape[1]:
        raise InputError(f"y must have {x.shape[1]} columns as x has, got {y.shape[1]}")
    out: Tensor = _EdgeDot.apply(y, x, edges, heads)
    return out


_COUNTS = 1e-6
"""The factor from which an edge counts when a softmax's greatest logit is looked for."""

_LARGEST = 30.0
"""By how much the logit of an edge that does not count may be above that."""


def edge_softmax(edges: Edges, logits: Tensor) -> Tensor:
    """The softmax over the edges of each destination, head by head: ``[E, H] -> [E, H]``.

    With factors f, ``f_e exp(z_e)`` over the sum of these, 0 where all factors are; differentiable in f, too.

    Raises:
        InputError: the logits do not fit the edges.
    """
    dtype = logits.dtype if logits.dtype in STORED[:2] else torch.float32
    check("logits", logits, edges.csr.num_edges, dtype, edges)
    if edges.factors is None:
        out: Tensor = _EdgeSoftmax.apply(logits, edges)
        return out
    factors, ends = edges.factors.to(logits)[:, None], edges.destinations
    # Relative to the greatest logit that counts: beside one that does not, all others may vanish.
    with torch.no_grad():
        counted = torch.where(factors > _COUNTS, logits, -torch.inf)
        top = logits.new_full((edges.csr.num_rows, logits.shape[1]), -torch.inf)
        top.scatter_reduce_(0, ends[:, None].expand_as(logits), counted, "amax")
        top.masked_fill_(top.isinf(), 0.0)
    weight = factors * (logits - top[ends]).clamp(max=_LARGEST).exp()
    total = weighted_sum(edges, weight, weight.new_ones(edges.csr.num_cols, weight.shape[1]))
    return weight / total.clamp(min=_COUNTS**2)[ends]


def weighted_sum(edges: Edges, weight: Tensor, x: Tensor) -> Tensor:
    """``sum_e weight[e, h] x[c, h, :]`` over each destination's edges: ``[E, H], [K, H D] -> [R, H D]``.

    Raises:
        InputError: a tensor does not fit the edges or the other one.
    """
    heads = check("weight", weight, edges.csr.num_edges, summed(x.dtype), edges)
    check_features("x", x, edges.csr.num_cols, heads, edges)
    out: Tensor = _WeightedSum.apply(weight, x, edges)
    return out


class _EdgeAdd(torch.autograd.Function):
    """``z_e = a_r + b_c``; the gradients add up g over the edges of a row, and of a column."""

    @staticmethod
    def forward(ctx: Any, destination: Tensor, source: Tensor, edges: Edges) -> Tensor:
        ctx.edges = edges
        if native_for(destination, source) is None:
            return destination[edges.destinations] + source[edges.sources]
        out = source.new_empty(edges.csr.num_edges, source.shape[1])
        own, other = destination.detach().contiguous(), source.detach().contiguous()
        edges.pattern.edge_add(own, other, out, torch.get_num_threads())
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        edges, grad = ctx.edges, grads[0]
        ones = grad.new_ones(1, grad.shape[1])
        into = _weighted_sum(edges, grad, ones.expand(edges.csr.num_cols, -1))
        return into, _weighted_sum(edges, grad, ones.expand(edges.csr.num_rows, -1), back=True), None


class _EdgeDot(torch.autograd.Function):
    """``z_e = <y_r, x_c>``; the gradients are ``sum_e g_e x_c`` by row and ``sum_e g_e y_r`` by column."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor, edges: Edges, heads: int) -> Tensor:
        ctx.edges = edges
        ctx.save_for_backward(y, x)
        return _edge_dot(edges, y, x, heads)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (y, x), (by_y, by_x, *_) = ctx.saved_tensors, ctx.needs_input_grad
        forth = _weighted_sum(ctx.edges, grads[0], x) if by_y else None
        back = _weighted_sum(ctx.edges, grads[0], y, back=True) if by_x else None
        return forth, back, None, None


class _EdgeSoftmax(torch.autograd.Function):
    """``p = softmax(z)`` by row; the gradient is ``p_e (g_e - sum_f p_f g_f)``, f over the row's edges."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, edges: Edges) -> Tensor:
        ctx.edges = edges
        if native_for(logits) is None:
            rows = edges.destinations
            sums = logits.new_zeros(edges.csr.num_rows, logits.shape[1])
            places = rows[:, None].expand_as(logits)
            tops = torch.full_like(sums, -torch.inf).scatter_reduce_(0, places, logits.detach(), "amax")
            out = (logits - tops[rows]).exp_()
            out /= sums.index_add_(0, rows, out)[rows]
        else:
            logits = logits.detach().contiguous()
            out = torch.empty_like(logits)
            edges.pattern.edge_softmax(logits, out, torch.get_num_threads())
        ctx.save_for_backward(out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        edges, (alpha,), grad = ctx.edges, ctx.saved_tensors, grads[0]
        if native_for(grad) is None:
            sums = alpha.new_zeros(edges.csr.num_rows, alpha.shape[1])
            sums.index_add_(0, edges.destinations, alpha * grad)
            return alpha * (grad - sums[edges.destinations]), None
        out = torch.empty_like(alpha)
        edges.pattern.edge_softmax_gradient(alpha, grad.contiguous(), out, torch.get_num_threads())
        return out, None


class _WeightedSum(torch.autograd.Function):
    """``y_r = sum_e w_e x_c``; the gradients are ``<g_r, x_c>`` on edges and ``sum_e w_e g_r`` by column."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, x: Tensor, edges: Edges) -> Tensor:
        ctx.edges = edges
        ctx.save_for_backward(weight, x)
        return _weighted_sum(edges, weight, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (weight, x), (by_weight, by_x, _) = ctx.saved_tensors, ctx.needs_input_grad
        on_edges = _edge_dot(ctx.edges, grads[0], x, weight.shape[1]) if by_weight else None
        back = _weighted_sum(ctx.edges, weight, grads[0], back=True) if by_x else None
        return on_edges, back, None


def _weighted_sum(edges: Edges, weight: Tensor, x: Tensor, *, back: bool = False) -> Tensor:
    """The sum over each destination's edges or, ``back``, over each source's."""
    weight = (weight[edges.by_source[1]] if back else weight).detach()
    if native_for(weight, x) is None:
        matrix = edges.matrix_by_source if back else edges.matrix
        parts = zip(weight.unbind(1), x.detach().chunk(weight.shape[1], 1), strict=True)
        return torch.cat([matrix.times(part, weight=numbers.contiguous()) for numbers, part in parts], 1)
    out = x.new_empty(edges.csr.num_cols if back else edges.csr.num_rows, x.shape[1])
    pattern = edges.pattern_by_source if back else edges.pattern
    pattern.weighted_sum(weight.contiguous(), as_rows(x), out, torch.get_num_threads())
    return out


def _edge_dot(edges: Edges, y: Tensor, x: Tensor, heads: int) -> Tensor:
    out = x.new_empty(edges.csr.num_edges, heads, dtype=summed(x.dtype))
    if native_for(y, x) is not None:
        edges.pattern.edge_dot(as_rows(y), as_rows(x), out, torch.get_num_threads())
        return out
    size = max(1, _PIECE // x.shape[1])
    pieces = (tensor.split(size) for tensor in (edges.destinations, edges.sources, out))
    for rows, columns, to in zip(*pieces, strict=True):
        products = y[rows].to(out.dtype) * x[columns].to(out.dtype)
        torch.sum(products.view(len(rows), heads, x.shape[1] // heads), 2, out=to)
    return out
