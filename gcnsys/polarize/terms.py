r"""What is added to the loss while edges are tuned, and its gradient by edge.

A free edge e has a factor f_e; both directions of a symmetric one share it. Over the M free edges,

.. math:: L = L_{GCN}(f) + \frac{\phi}{M} \sum_e |i_e - j_e| |f_e| + \frac{\rho}{2} \sum_e (f_e - z_e + u_e)^2

The second term is the mean distance of nonzeros from the diagonal, the count of nonzeros relaxed to their
size (GCoD, section IV-B); the third is that of ADMM, z the factors of a graph with as many edges as shall
stay, u its dual variable (Boyd et al. 2011, section 3.1.1; SGCN, Li et al. 2020).
"""

import torch
from torch import Tensor


def polarization(factors: Tensor, distance: Tensor, total: int) -> Tensor:
    """Each edge's share of the second term for ``phi = 1``, ``[E]``.

    Args:
        factors: ``[E]``.
        distance: ``[E]`` of each edge from the diagonal.
        total: M.
    """
    return distance * factors.abs() / max(1, total)


def polarization_gradient(factors: Tensor, distance: Tensor, total: int) -> Tensor:
    """Its derivative by each factor, ``[E]``; from above where a factor is 0."""
    return distance / max(1, total) * torch.where(factors < 0, -1.0, 1.0)


def penalty(factors: Tensor, near: Tensor, dual: Tensor) -> Tensor:
    """Each edge's share of the third term for ``rho = 1``, ``[E]``."""
    return (factors - near + dual).square() / 2


def penalty_gradient(factors: Tensor, near: Tensor, dual: Tensor) -> Tensor:
    """Its derivative by each factor, ``[E]``."""
    return factors - near + dual
