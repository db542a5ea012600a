"""A fixed sparse matrix that multiplies dense rows, and so does its transpose."""

import threading
import warnings

import torch
from torch import Tensor

from gcnsys.graph import CSR

_quiet = threading.Lock()
_warned = False


def csr_tensor(csr: CSR, values: Tensor) -> Tensor:
    """The torch tensor of a CSR matrix with the given values."""
    global _warned
    with _quiet:
        if not _warned:  # torch says once a process that this layout is in beta state
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.sparse_csr_tensor(
                    torch.tensor([0, 0]), torch.empty(0, dtype=torch.int64), torch.empty(0)
                )
            _warned = True
    # Offsets and columns must share a type; int32 is what the libraries below multiply fastest.
    narrow = torch.int32 if csr.num_edges < 2**31 and csr.num_cols < 2**31 else torch.int64
    indptr, indices = csr.indptr.to(values.device, narrow), csr.indices.to(values.device, narrow)
    return torch.sparse_csr_tensor(indptr, indices, values, (csr.num_rows, csr.num_cols))


def spmm(matrix: Tensor, x: Tensor, out: Tensor | None = None) -> Tensor:
    """Multiply a sparse CSR tensor ``[R, K]`` with ``[K, F]``, adding to ``out`` if it is given."""
    rows, width = matrix.shape[0], x.shape[1]
    if out is None:
        out = x.new_zeros(rows, width)
    if rows and width and matrix.values().numel():
        torch.addmm(out, matrix, x, out=out)
    return out


class Matrix:
    """A sparse matrix ``[R, K]`` kept ready for products in both directions.

    Args:
        csr: its entries.
        symmetric: it equals its transpose, so that no second copy is needed.
    """

    def __init__(self, csr: CSR, *, symmetric: bool = False) -> None:
        self.csr, self.symmetric = csr, symmetric
        self._flipped: CSR | None = csr if symmetric else None
        self._ready: dict[tuple[bool, torch.dtype, torch.device], Tensor] = {}

    def times(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """``A x``: ``[K, F] -> [R, F]``, added to ``out`` if it is given."""
        return spmm(self._tensor(False, x), x, out)

    def transpose_times(self, y: Tensor, out: Tensor | None = None) -> Tensor:
        """``A^T y``: ``[R, F] -> [K, F]``, added to ``out`` if it is given."""
        return spmm(self._tensor(not self.symmetric, y), y, out)

    def _tensor(self, flip: bool, like: Tensor) -> Tensor:
        key = flip, like.dtype, like.device
        if key not in self._ready:
            if flip and self._flipped is None:
                self._flipped = self.csr.transposed()
            csr = self._flipped if flip and self._flipped is not None else self.csr
            if csr.weight is None:
                values = like.new_ones(csr.num_edges)
            else:
                values = csr.weight.to(like.device, like.dtype)
            self._ready[key] = csr_tensor(csr, values)
        return self._ready[key]
