"""How features were scaled, so that others can be scaled alike."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.graph import CSR

How = Literal["none", "row", "standard"]


@dataclass(frozen=True, eq=False, slots=True)
class Scaling:
    """What features were scaled by.

    Attributes:
        how: ``row``: each row by the sum of its absolute values; ``standard``: each column by two numbers.
        mean: ``[F]`` float32 that ``standard`` takes off each column; empty otherwise.
        deviation: ``[F]`` float32 that it then divides by; empty otherwise.
    """

    how: How = "none"
    mean: Tensor = field(default_factory=lambda: torch.empty(0))
    deviation: Tensor = field(default_factory=lambda: torch.empty(0))

    @classmethod
    def fitted(cls, how: How, x: Tensor | CSR, nodes: Tensor) -> "Scaling":
        """The scaling of a graph by itself.

        Args:
            how: by what.
            x: ``[N, F]`` features.
            nodes: ``[N]`` bool, whose columns ``standard`` goes by.

        Raises:
            InputError: sparse features would be filled in.
        """
        if how != "standard":
            return cls(how)
        seen = _dense(x)[nodes].double()
        mean, deviation = seen.mean(0), seen.std(0, unbiased=False)
        return cls(how, mean.float(), torch.where(deviation > 0, deviation, 1.0).float())

    def applied(self, x: Tensor | CSR) -> Tensor | CSR:
        """Features ``[N, F]``, scaled.

        Raises:
            InputError: there are more or fewer columns than numbers, or sparse features would be filled in.
        """
        if self.how == "none":
            return x
        if self.how == "row":
            return _row_normalized(x)
        x = _dense(x)
        if x.shape[1] != self.mean.numel():
            raise InputError(
                f"there are {x.shape[1]} features a node, but {self.mean.numel()} numbers to scale them by; "
                f"give a graph with the same features"
            )
        return (x - self.mean).div_(self.deviation)

    def same(self, other: "Scaling") -> bool:
        """Whether the other scales by the same numbers."""
        return (
            self.how == other.how
            and torch.equal(self.mean, other.mean)
            and torch.equal(self.deviation, other.deviation)
        )


def _dense(x: Tensor | CSR) -> Tensor:
    if isinstance(x, CSR):
        raise InputError("standardizing would fill sparse features in; use --normalize row or none")
    return x


def _row_normalized(x: Tensor | CSR) -> Tensor | CSR:
    if isinstance(x, CSR):
        assert x.weight is not None
        sums = CSR(x.indptr, x.indices, x.num_cols, x.weight.abs()).row_sums()
        inverse = torch.where(sums > 0, 1 / sums, 0.0)
        weight = (x.weight.double() * inverse[x.rows().long()]).float()
        return CSR(x.indptr, x.indices, x.num_cols, weight)
    sums = x.abs().sum(1, keepdim=True)
    return x * torch.where(sums > 0, 1 / sums, 0.0)
