r"""Training for numbers of a few bits: features, weights and sums (Jacob et al. 2018; Degree-Quant, 2021).

A number is rounded to one of :math:`2^b` levels on the way forward, and its gradient passes as if it were
not, but for numbers beyond the ends of the scale. Ends of features and sums follow those that training sees;
weights have the ends they have now. Nodes of high in-degree can be left in full precision in some epochs:
their sums are what rounding changes most (Tailor et al., Degree-Quant, ICLR 2021, section 4).

Letters: n rows, F features, S source rows, D destination rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gcnsys.errors import InputError
from gcnsys.kernels import Block, DroppedRows, SparseRows
from gcnsys.kernels.block import Norm, Reached, ScaledBlock
from gcnsys.kernels.dropout import hashed, row_words
from gcnsys.kernels.edges import Edges
from gcnsys.nn import Model
from gcnsys.nn.dropout import Inputs, KeyedDropout
from gcnsys.nn.linear import Factored, Linear
from gcnsys.runtime import Comm

MOMENTUM = 0.1
"""Weight of an epoch in the running ends of a scale."""

_SAMPLE = 1 << 18


@dataclass(frozen=True, slots=True)
class Precision:
    """How many bits numbers have; 0: all of them.

    Attributes:
        features: of rows that are multiplied or sent.
        weights: of weights of linear maps.
        sums: of aggregated rows.
        protect: probability that the row of the highest in-degree stays in full precision for an epoch of
            training; others in proportion to the logarithm of theirs. 0: none does.
        outliers: share of numbers that may lie beyond either end of a feature's scale.
    """

    features: int = 8
    weights: int = 8
    sums: int = 8
    protect: float = 0.0
    outliers: float = 0.001

    def __post_init__(self) -> None:
        for bits in (self.features, self.weights, self.sums):
            if bits != 0 and not 2 <= bits <= 16:
                raise InputError(f"a number has 2 to 16 bits, or 0 for all of them, got {bits}")
        if not 0 <= self.protect <= 1 or not 0 <= self.outliers < 0.5:
            raise InputError("protect must be a probability, and outliers a share below 0.5")


def rounded(x: Tensor, low: Tensor, high: Tensor, bits: int) -> Tensor:
    """Numbers on a scale of ``2**bits`` levels from ``low`` to ``high``, 0 among them."""
    out: Tensor = _Rounded.apply(x, low, high, 2**bits)
    return out


class _Rounded(torch.autograd.Function):
    """``y = s round(clamp(x, low, high) / s)``; the gradient is g between the ends and 0 beyond them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: Tensor, high: Tensor, levels: int) -> Tensor:
        low, high = low.clamp(max=0.0), high.clamp(min=0.0)
        step = ((high - low) / (levels - 1)).clamp(min=torch.finfo(x.dtype).tiny)
        zero = torch.round(-low / step)
        level = torch.round(x / step) + zero
        ctx.save_for_backward((level >= 0) & (level <= levels - 1))
        return (level.clamp(0, levels - 1) - zero) * step

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (inside,) = ctx.saved_tensors
        return grads[0] * inside, None, None, None


class Scale(nn.Module):
    """A scale whose ends follow the numbers that training sees; the same on all ranks.

    Every rank leaves out its own outliers, and the widest ends count: with none left out they are the same
    for any number of ranks.

    Args:
        bits: of a number; 0: nothing is rounded.
        outliers: share of numbers that may lie beyond either end.
        comm: the ranks.
    """

    ends: Tensor
    seen: Tensor

    def __init__(self, bits: int, outliers: float, comm: Comm) -> None:
        super().__init__()
        self.bits, self.outliers, self.comm = bits, outliers, comm
        self.register_buffer("ends", torch.zeros(2))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """The numbers, on the scale."""
        if self.training and self.bits:
            self._follow(x.detach())
        return self.again(x)

    def again(self, x: Tensor) -> Tensor:
        """Other numbers, on the scale as it is."""
        if not self.bits:
            return x
        return rounded(x, self.ends[0].to(x), self.ends[1].to(x), self.bits)

    def _follow(self, x: Tensor) -> None:
        low, high = _ends(x, self.outliers).to(self.ends)
        found = self.comm.greatest(torch.stack([-low, high]))
        found[0] *= -1
        weight = MOMENTUM if bool(self.seen) else 1.0
        self.ends.lerp_(found, weight)
        self.seen.fill_(1.0)


def _ends(x: Tensor, outliers: float) -> Tensor:
    """Where all but a share of the numbers lie; of evenly spaced ones of all columns, if they are many."""
    if not x.numel():
        return x.new_zeros(2)
    if not outliers:
        return torch.stack(torch.aminmax(x))
    step = -(-x.numel() // _SAMPLE)
    while gcd(step, x.shape[-1]) > 1:
        step += 1
    flat = x.flatten()[::step].float()
    beyond = int(outliers * (flat.numel() - 1))
    if x.device.type == "cpu":  # torch's own selection takes ten times as long there
        places = [beyond, flat.numel() - 1 - beyond]
        return torch.from_numpy(np.partition(flat.numpy(), places)[places])
    low, high = (torch.kthvalue(flat, place + 1).values for place in (beyond, flat.numel() - 1 - beyond))
    return torch.stack([low, high])


class QuantizedLinear(Linear):
    """A linear map, shared with another one, of rounded rows by rounded weights.

    Args:
        linear: whose weights it uses.
        precision: of both.
        comm: the ranks.
    """

    def __init__(self, linear: Linear, precision: Precision, comm: Comm) -> None:
        nn.Module.__init__(self)
        self.weight, self.bias = linear.weight, linear.bias
        self.bits, self.scale = precision.weights, Scale(precision.features, precision.outliers, comm)

    def reset(self, generator: torch.Generator) -> None:
        """The other one's weights were drawn already."""

    def project(self, x: Tensor | Factored) -> Tensor:
        weight: Tensor = self.weight
        if self.bits:
            weight = rounded(weight, *torch.aminmax(weight.detach()), self.bits)
        if isinstance(x, SparseRows):
            values = self.scale(x.values)
            x = replace(x, values=values, by_column=self.scale.again(x.by_column))
            return x.times(weight.t())
        rows: Tensor = self.scale(x.to_dense() if isinstance(x, DroppedRows) else x)
        return rows @ weight.t().to(rows.dtype)

    def added_to(self, start: Tensor, x: Tensor | Factored) -> Tensor:
        return start + self.forward(x)

    def forward(self, x: Tensor | Factored) -> Tensor:
        return self.shifted(self.project(x))


class QuantizedBlock(Block):
    """Another block, rows rounded before they are sent and after they are added up.

    Args:
        base: the other one.
        features, sums: scales.
        protect: probability that the row of the highest in-degree stays as it is.
        site: of the draws.
        comm: the ranks.
    """

    def __init__(
        self, base: Block, features: Scale, sums: Scale, protect: float, site: KeyedDropout, comm: Comm
    ) -> None:
        self.base, self.features, self.sums = base, features, sums
        self.input_ids, self.output_ids, self.input_kinds = base.input_ids, base.output_ids, base.input_kinds
        self.safe = self._drawn(protect, site, comm) if protect and features.training else None

    def _drawn(self, protect: float, site: KeyedDropout, comm: Comm) -> Tensor:
        """Which source rows stay as they are, ``[S, 1]`` bool: by a hash of seed, epoch and global id."""
        assert isinstance(self.base, ScaledBlock)
        degree = self.base.degrees.into.log1p()
        top = comm.greatest(degree.max()[None] if degree.numel() else degree.new_zeros(1))
        a, b = row_words(site.key, self.base.input_ids.to(degree.device))
        chance = (hashed(a, b, torch.zeros_like(a)).double() + 2**31) / 2**32
        return (chance < protect * degree / top.clamp(min=1e-9))[:, None].to(self.input_ids.device)

    def _sent(self, x: Tensor) -> Tensor:
        found: Tensor = self.features(x)
        return found if self.safe is None else torch.where(self.safe, x, found)

    def _summed(self, x: Tensor) -> Tensor:
        found: Tensor = self.sums(x)
        return found if self.safe is None else torch.where(self.safe[: x.shape[0]], x, found)

    def sum(self, x: Tensor) -> Tensor:
        return self._summed(self.base.sum(self._sent(x)))

    def mean(self, x: Tensor) -> Tensor:
        return self._summed(self.base.mean(self._sent(x)))

    def gcn(self, x: Tensor, norm: Norm = "symmetric") -> Tensor:
        return self._summed(self.base.gcn(self._sent(x), norm))

    def gather(self, x: Tensor) -> Tensor:
        return self.base.gather(self._sent(x))

    def reached(self, x: Tensor) -> Reached:
        return self.base.reached(self._sent(x))

    def settled(self, sums: Tensor) -> Tensor:
        return self._summed(sums)

    def edges(self, *, loops: bool = False) -> Edges:
        return self.base.edges(loops=loops)

    @property
    def gathered_ids(self) -> Tensor:
        return self.base.gathered_ids

    def total(self, x: Tensor) -> Tensor:
        return self.base.total(x)


class QuantizedModel(Model):
    """A model that trains for numbers of a few bits, with the weights of another one.

    Args:
        model: whose linear maps are replaced in place.
        precision: of numbers.
        comm: the ranks.
    """

    def __init__(self, model: Model, precision: Precision, comm: Comm) -> None:
        super().__init__()
        for module in list(model.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, Linear) and not isinstance(child, QuantizedLinear):
                    setattr(module, name, QuantizedLinear(child, precision, comm))
        self.model, self.precision, self.comm = model, precision, comm
        self.features, self.sums = (
            nn.ModuleList(Scale(bits, precision.outliers, comm) for _ in range(model.num_blocks))
            for bits in (precision.features, precision.sums)
        )
        self.site = KeyedDropout(0.0)  # told seed and epoch with the others, after which it comes

    @property
    def num_blocks(self) -> int:
        return self.model.num_blocks

    @property
    def first(self) -> nn.Module:
        return self.model.first

    @property
    def reads_sparse(self) -> bool:
        return self.model.reads_sparse

    @property
    def row_wise(self) -> bool:
        return False  # ends of scales are taken over all rows

    def forward(self, blocks: Sequence[Block], x: Inputs) -> Tensor:
        wrapped = []
        for block, features, sums in zip(blocks, self.features, self.sums, strict=True):
            assert isinstance(features, Scale)
            assert isinstance(sums, Scale)
            protect = self.precision.protect
            wrapped.append(QuantizedBlock(block, features, sums, protect, self.site, self.comm))
        out: Tensor = self.model(wrapped, x)
        return out
