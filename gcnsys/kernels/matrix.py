"""A fixed sparse matrix that multiplies dense rows, and so does its transpose."""

import threading
import time
import warnings
from typing import Any

import torch
from torch import Tensor
from torch.utils.dlpack import to_dlpack  # type: ignore[attr-defined]

from gcnsys.graph import CSR
from gcnsys.kernels.backend import as_rows, core, native_for, summed

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


_PRODUCTS = 300
"""After which the fastest way should be known."""


class Matrix:
    """A sparse matrix ``[R, K]`` kept ready for products in both directions.

    Args:
        csr: its entries.
        symmetric: it equals its transpose, so that no second copy is needed.
        tuned: find out while products are computed how they are fastest; not worth it for a few.
    """

    def __init__(self, csr: CSR, *, symmetric: bool = False, tuned: bool = True) -> None:
        self.csr, self.symmetric, self.tuned = csr, symmetric, tuned
        self._flipped: Matrix | None = self if symmetric else None
        self._values: dict[tuple[torch.dtype, torch.device], Tensor] = {}
        self._tensors: dict[tuple[torch.dtype, torch.device], Tensor] = {}
        self._pattern: Any = None

    @property
    def flipped(self) -> "Matrix":
        """The transpose; made when it is first needed."""
        if self._flipped is None:
            self._flipped = Matrix(self.csr.transposed(), tuned=self.tuned)
        return self._flipped

    def to(self, device: torch.device) -> "Matrix":
        """The same matrix in another memory, with its transpose if that was made."""
        moved = Matrix(self.csr.to(device), symmetric=self.symmetric, tuned=self.tuned)
        if not self.symmetric and self._flipped is not None:
            moved._flipped = Matrix(self._flipped.csr.to(device), tuned=self.tuned)
        return moved

    def times(
        self,
        x: Tensor,
        out: Tensor | None = None,
        *,
        weight: Tensor | None = None,
        row_scale: Tensor | None = None,
        column_scale: Tensor | None = None,
        column_map: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> Tensor:
        """``D A C x``: ``[K, F] -> [R, F]``, added to ``out`` if it is given.

        Args:
            x: float32, float64 or bfloat16; bfloat16 is added up in float32.
            out: ``[R, F]``, contiguous, of the type of ``x``.
            weight: ``[E]`` values in place of the matrix's own.
            row_scale: ``[R]`` diagonal D.
            column_scale: ``[K]`` diagonal C.
            column_map: ``[K]`` the row of ``x`` that stands for each column, negative where it is absent and
                counts as 0; None: column k is row k.
            rows: ``[k]`` int64: compute only these rows, in this order, as ``[k, F]``; ``out`` and
                ``row_scale`` then have k rows, too. Excludes ``weight`` and ``column_map``.
        """
        if native_for(x) is None:
            if column_map is not None:
                x = _mapped(x, column_map)
            if rows is not None and x.device.type != "cpu":
                # All rows there take less than picking entries on the host and sending them over.
                terms = x.to(summed(x.dtype))
                found = self._by_torch(terms, None, weight, None, column_scale)[rows.to(x.device)]
                if row_scale is not None:
                    found *= row_scale.to(terms)[:, None]
                return found.to(x.dtype) if out is None else out.copy_(out + found)
            if rows is not None:
                picked = Matrix(self.csr.take_rows(rows.to(self.csr.indptr.device)), tuned=False)
                return picked.times(x, out, row_scale=row_scale, column_scale=column_scale)
            return self._by_torch(x, out, weight, row_scale, column_scale)
        x = as_rows(x)
        accumulate = out is not None
        if out is None:
            out = x.new_empty(self.csr.num_rows if rows is None else rows.numel(), x.shape[1])
        wide = summed(x.dtype)
        values = self._weight(wide, x.device) if weight is None else weight.to(wide)
        if row_scale is not None:
            row_scale = row_scale.to(wide).contiguous()
        if column_scale is not None:
            column_scale = column_scale.to(wide).contiguous()
        if column_map is not None:
            column_map = column_map.to(self.csr.indices.dtype).contiguous()
        # Capsules made here cost a tenth of those the core would ask the tensors for: on a graph of a few
        # thousand nodes, one sees it.
        self.native().product(
            to_dlpack(x), to_dlpack(out), accumulate, values, row_scale, column_scale, column_map,
            torch.get_num_threads(), rows=rows,
        )  # fmt: skip
        return out

    def transpose_times(
        self,
        y: Tensor,
        out: Tensor | None = None,
        *,
        row_scale: Tensor | None = None,
        column_scale: Tensor | None = None,
        columns: Tensor | None = None,
    ) -> Tensor:
        """``C A^T D y``: ``[R, F] -> [K, F]``, the gradient of :meth:`times`, added to ``out``.

        With ``columns``, ``[k]`` int64, only the rows of these columns are computed, ``[k, F]``.
        """
        if columns is not None and column_scale is not None:
            column_scale = column_scale[columns]
        return self.flipped.times(y, out, row_scale=column_scale, column_scale=row_scale, rows=columns)

    def find_way(self, x: Tensor, *, seconds: float = 3.0) -> None:
        """Plain products until it is known which way is fastest, where the core has several to try.

        Args:
            x: what is multiplied.
            seconds: after which it ends in any case, as it does after 300 products.
        """
        began = time.perf_counter()
        for _ in range(_PRODUCTS if native_for(x) else 0):
            Matrix.times(self, x)
            if self.native().decided or time.perf_counter() - began > seconds:
                break

    def native(self) -> Any:
        """The core's view of the entries; only where the core runs."""
        if self._pattern is None:
            module = core()
            assert module is not None
            csr = self.csr
            arrays = csr.indptr.contiguous(), csr.indices.contiguous()
            self._pattern = module.Pattern(*arrays, csr.num_cols, tuned=self.tuned)
        return self._pattern

    def _weight(self, dtype: torch.dtype, device: torch.device) -> Tensor | None:
        if self.csr.weight is None:
            return None
        if (dtype, device) not in self._values:
            self._values[dtype, device] = self.csr.weight.to(device, dtype).contiguous()
        return self._values[dtype, device]

    def _by_torch(
        self,
        x: Tensor,
        out: Tensor | None,
        weight: Tensor | None,
        row_scale: Tensor | None,
        column_scale: Tensor | None,
    ) -> Tensor:
        if x.dtype == torch.bfloat16:
            found = self._by_torch(x.float(), None, weight, row_scale, column_scale)
            return found.to(x.dtype) if out is None else out.copy_(out.float() + found)
        if column_scale is not None:
            x = x * column_scale.to(x)[:, None]
        rows, width = self.csr.num_rows, x.shape[1]
        found = x.new_zeros(rows, width) if out is None or row_scale is not None else out
        if rows and width and self.csr.num_edges:
            # torch multiplies int32 CSR by contiguous rows only.
            torch.addmm(found, self._tensor(x, weight), x.contiguous(), out=found)
        if row_scale is not None:
            found *= row_scale.to(x)[:, None]
            return found if out is None else out.add_(found)
        return found

    def _tensor(self, like: Tensor, weight: Tensor | None) -> Tensor:
        if weight is not None:
            return csr_tensor(self.csr, weight.to(like))
        key = like.dtype, like.device
        if key not in self._tensors:
            own = self._weight(*key)
            values = like.new_ones(self.csr.num_edges) if own is None else own
            self._tensors[key] = csr_tensor(self.csr, values)
        return self._tensors[key]


def _mapped(x: Tensor, column_map: Tensor) -> Tensor:
    if not x.shape[0]:
        return x.new_zeros(column_map.numel(), x.shape[1])
    # How many columns are present nobody asks: a GPU would be waited for.
    return torch.where((column_map >= 0)[:, None], x[column_map.long().clamp(min=0)], 0)
