"""What stands for a stale row: the exponential average of those that arrived (PipeGCN, Wan et al. 2022).

The published recurrence is ``m_k = g m_(k-1) + (1 - g) x_k`` over arrivals x_1, x_2, ..., from m_0 = 0. The
first arrivals would count for little: with g = 0.95 the first one for a twentieth of itself. So what is
used is ``m_k / (1 - g^k)``, whose weights add up to 1; the published zero start is an option.
"""

import torch
from torch import Tensor

from gcnsys.kernels.backend import summed


class Running:
    """A running average of each of n rows, over the arrivals of that row alone.

    Args:
        num_rows: n.
        gamma: weight of the past, in ``[0, 1)``.
        corrected: divide by what the weights add up to.
    """

    def __init__(self, num_rows: int, gamma: float, *, corrected: bool = True) -> None:
        self.num_rows, self.gamma, self.corrected = num_rows, gamma, corrected
        self.mean: Tensor | None = None
        self.arrivals = torch.zeros(num_rows, dtype=torch.int64)
        self._least: int | None = None

    @property
    def nbytes(self) -> int:
        return 0 if self.mean is None else self.mean.nbytes

    def update(self, rows: Tensor, positions: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Take arrivals in and return what stands for them.

        Args:
            rows: ``[k, F]``; may be overwritten.
            positions: ``[k]`` which of the n rows they are; None: all, in order.

        Returns:
            ``[k, F]`` averages, valid until the next update, and what to multiply them by: ``[n]`` float64,
            or None: 1. So the correction costs no pass over them.
        """
        stored, rows = rows.dtype, rows.to(summed(rows.dtype))
        if self.mean is None:
            self.mean = rows.new_zeros(self.num_rows, rows.shape[1])
            self.arrivals = self.arrivals.to(rows.device)
        if self._least is None:  # looked up once: every look waits for a GPU
            self._least = int(self.arrivals.min()) if self.num_rows else 0
        if positions is None:
            self.arrivals += 1
            self._least += 1
            found = self.mean.lerp_(rows, 1 - self.gamma)
        else:
            self.arrivals[positions] += 1
            found = rows.lerp_(self.mean[positions], self.gamma)
            self.mean[positions] = found
        found = found.to(stored)
        if not self.corrected or not self.arrivals.numel():
            return found, None
        if self.gamma**self._least < 1e-17:
            return found, None
        past = self.gamma ** self.arrivals.double()
        # A row that never arrived is 0, and 0 times infinity would not be.
        return found, torch.where(self.arrivals > 0, 1 / (1 - past), 0.0)
