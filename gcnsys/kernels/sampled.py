"""A block of edges that were drawn, whose sums are those of all edges on average."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from gcnsys.graph import CSR
from gcnsys.kernels.backend import summed
from gcnsys.kernels.block import Degrees, LocalBlock, Scales, scaled_sum


class SampledBlock(LocalBlock):
    """Drawn in-edges of some nodes; letters as in :mod:`gcnsys.kernels.block`.

    ``sum``, ``mean`` and ``gcn`` count what was drawn for the inverse of its probability. Where edges of
    one destination differ in that, it is part of their weights; where they do not, of ``factor``.

    Args:
        csr: ``[D, S]``; destinations are the first D sources.
        input_ids: see :class:`Block`.
        in_weight: ``[D]`` float64 weight (or number) of all edges that end at each destination.
        factor: ``[D]`` float64, what each destination's sum is multiplied by; None: 1.
        degrees: finds those of given nodes in the graph; asked only where they are needed.
    """

    def __init__(
        self, csr: CSR, input_ids: Tensor, in_weight: Tensor, factor: Tensor | None,
        degrees: Callable[[Tensor], Degrees],
    ) -> None:  # fmt: skip
        unknown = Degrees(in_weight, in_weight, in_weight)
        super().__init__(csr, input_ids, unknown, in_weight=in_weight)
        self.matrix.tuned = False  # another block comes with the next batch
        self.factor, self.find_degrees = factor, degrees

    def scaled_sum(self, x: Tensor, scales: Scales) -> Tensor:
        row = scales.row
        if self.factor is not None:
            factor = self.factor.to(x.device, summed(x.dtype))
            row = factor if row is None else row * factor
        return scaled_sum(self.matrix, x, Scales(row, scales.column, None, scales.own))

    def _gcn_scales(self, norm: Literal["symmetric", "out-in"]) -> Scales:
        self.degrees = self.find_degrees(self.input_ids.cpu())
        return super()._gcn_scales(norm)
