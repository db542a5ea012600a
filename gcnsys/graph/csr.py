"""Compressed sparse rows: who receives from whom.

Letters used in shapes, here and throughout:
    N nodes, R rows (nodes that receive), K columns (nodes that send), E edges, F features, P parts.

Offsets are int64, since 10^8 nodes have more than 2^31 edges; column numbers are int32 wherever
they fit, since aggregation is bound by the bytes it reads.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from gcnsys.errors import InputError

EDGE_COLUMNS = ("edge_attr", "edge_type")
"""What may be known of an edge beside its weight: features ``[E, K]`` and a kind ``[E]``."""

_CHUNK = 1 << 20
"""Entries that are gathered at a time."""


def index_dtype(count: int) -> torch.dtype:
    """The narrowest index type that numbers ``count`` things."""
    return torch.int32 if count < 2**31 else torch.int64


def offsets(counts: Tensor) -> Tensor:
    """Where each of ``R`` rows of so many entries begins, and where the last one ends: ``[R + 1]``."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def located(ids: Tensor, among: Tensor) -> Tensor:
    """Where each id stands in ascending ones ``[m]``, -1 where it does not."""
    if not among.numel():
        return torch.full(ids.shape, -1, device=ids.device)
    ids = ids.to(among.dtype)
    place = torch.searchsorted(among, ids).clamp_(max=among.numel() - 1)
    return torch.where(among[place] == ids, place, -1)


def ascending(values: Tensor) -> Tensor:
    """Values ``[m]`` in ascending order; NumPy's vectorised sort takes a tenth of torch's time."""
    return torch.from_numpy(np.sort(values.numpy()))


def ranked(values: Tensor) -> Tensor:
    """Where the values ``[m]``, no two of them equal, stand in ascending order; see :func:`ascending`."""
    return torch.from_numpy(np.argsort(values.numpy()))


@dataclass(frozen=True, eq=False, slots=True)
class CSR:
    """A sparse matrix; row ``i`` lists the columns that send to ``i``. Never changed once made.

    Attributes:
        indptr: ``[R + 1]`` int64, from 0 to E, never decreasing.
        indices: ``[E]`` int32 or int64, each in ``[0, num_cols)``.
        num_cols: K.
        weight: ``[E]`` float, or None where every entry is 1.
        columns: what else is known of each entry, ``[E]`` or ``[E, K]``, by name.
    """

    indptr: Tensor
    indices: Tensor
    num_cols: int
    weight: Tensor | None = None
    columns: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        """How many rows there are, R."""
        return self.indptr.numel() - 1

    @property
    def num_edges(self) -> int:
        """How many entries there are, E."""
        return self.indices.numel()

    def rows(self) -> Tensor:
        """The row of every entry, ``[E]``, in the type of ``indices``."""
        numbers = torch.arange(self.num_rows, dtype=self.indices.dtype, device=self.indices.device)
        return torch.repeat_interleave(numbers, self.indptr.diff(), output_size=self.num_edges)

    @property
    def pattern(self) -> "CSR":
        """The same entries without weights and columns."""
        return CSR(self.indptr, self.indices, self.num_cols)

    @property
    def repeated(self) -> Tensor:
        """``[E]`` bool: the entry before it is the same, but for its columns: an edge of another kind."""
        found = torch.zeros(self.num_edges, dtype=torch.bool, device=self.indices.device)
        if self.num_edges:
            torch.eq(self.indices[1:], self.indices[:-1], out=found[1:])
            starts = self.indptr[:-1]
            found[starts[starts < self.num_edges]] = False
        return found

    def to(self, device: torch.device) -> "CSR":
        """The same matrix in another memory."""
        return self.picked(self.indptr.to(device), self.indices.to(device), lambda each: each.to(device))

    def picked(self, indptr: Tensor, indices: Tensor, pick: Callable[[Tensor], Tensor]) -> "CSR":
        """Other entries, whose weights and columns are picked from those of these."""
        weight = None if self.weight is None else pick(self.weight)
        columns = {name: pick(column) for name, column in self.columns.items()}
        return CSR(indptr, indices, self.num_cols, weight, columns)

    def row_sums(self) -> Tensor:
        """The sum of each row's weights, ``[R]`` float64; counts where there are none."""
        if self.weight is None:
            return self.indptr.diff().to(torch.float64)
        sums = torch.zeros(self.num_rows, dtype=torch.float64)
        return sums.index_add_(0, self.rows().long(), self.weight.double())

    def check(self, name: str = "graph") -> "CSR":
        """Return this matrix if it is one.

        Raises:
            InputError: offsets or column numbers are out of range, or a weight is not finite.
        """
        if self.indptr.numel() == 0 or int(self.indptr[0]) != 0 or int(self.indptr[-1]) != self.num_edges:
            ends = self.indptr[[0, -1]].tolist() if self.indptr.numel() else []
            raise InputError(f"{name}: row offsets must run from 0 to {self.num_edges}, they run over {ends}")
        if bool((self.indptr.diff() < 0).any()):
            raise InputError(f"{name}: row offsets decrease")
        if self.num_edges:
            low, high = (int(end) for end in torch.aminmax(self.indices))
            if low < 0 or high >= self.num_cols:
                wrong = low if low < 0 else high
                raise InputError(f"{name}: an entry names column {wrong}, outside 0..{self.num_cols - 1}")
        for column_name, column in self.columns.items():
            if len(column) != self.num_edges:
                raise InputError(
                    f"{name}: {self.num_edges} entries need as many {column_name}, got {len(column)}"
                )
        if self.weight is not None:
            if self.weight.shape != self.indices.shape:
                raise InputError(
                    f"{name}: {self.num_edges} entries need as many values, "
                    f"got shape {list(self.weight.shape)}"
                )
            if not bool(torch.isfinite(self.weight).all()):
                raise InputError(f"{name}: a value is NaN or infinite")
        return self

    @classmethod
    def from_pairs(
        cls, rows: Tensor, cols: Tensor, num_rows: int, num_cols: int, weight: Tensor | None = None,
        columns: Mapping[str, Tensor] | None = None,
    ) -> "CSR":  # fmt: skip
        """Sort ``[E]`` entries, in any order, into rows with ascending columns; linear in E.

        Equal entries become one, their weights added (an unweighted entry stays 1). Those that differ in a
        column of integers are not equal; of other columns their mean is kept.
        """
        if columns:
            return cls._with_columns(rows, cols, num_rows, num_cols, weight, columns)
        # Two counting sorts: by column first, then (stably) by row.
        by_col = cls._grouped(cols, rows, num_cols, num_rows, weight)
        return by_col.transposed()._merged()

    @classmethod
    def _with_columns(
        cls, rows: Tensor, cols: Tensor, num_rows: int, num_cols: int, weight: Tensor | None,
        columns: Mapping[str, Tensor],
    ) -> "CSR":  # fmt: skip
        # The same sorts after one for each column of kinds, of which the numbers of entries come out.
        order = torch.arange(rows.numel())
        for kind in (column for column in columns.values() if not column.is_floating_point()):
            order = order[torch.argsort(kind[order], stable=True)]
        by_col = cls._grouped(cols[order], rows[order], num_cols, num_rows, order)
        numbered = by_col.transposed()
        assert numbered.weight is not None
        place = numbered.weight
        found = CSR(
            numbered.indptr, numbered.indices, num_cols, None if weight is None else weight[place],
            {name: column[place] for name, column in columns.items()},
        )  # fmt: skip
        return found._merged()

    @classmethod
    def _grouped(
        cls, rows: Tensor, cols: Tensor, num_rows: int, num_cols: int, weight: Tensor | None
    ) -> "CSR":
        data = np.zeros(rows.numel(), np.int8) if weight is None else weight.numpy()
        coo = sp.coo_array((data, (rows.numpy(), cols.numpy())), shape=(num_rows, num_cols))
        # ``tocsr`` sums equal neighbours; told that there are none, it only sorts.
        coo.has_canonical_format = True
        return cls.from_scipy(coo.tocsr(), weighted=weight is not None)

    def _merged(self) -> "CSR":
        if self.num_edges < 2:
            return self
        indices = self.indices
        fresh = ~self.repeated
        for column in self.columns.values():
            if not column.is_floating_point():
                fresh[1:] |= column[1:] != column[:-1]
        if bool(fresh.all()):
            return self
        slot = fresh.cumsum(0)
        indptr = torch.cat([slot.new_zeros(1), slot])[self.indptr]
        weight = self.weight
        if weight is not None:
            # In float64, or the two directions of an edge would differ by the order in which they are stored.
            sums = torch.zeros(int(slot[-1]), dtype=torch.float64)
            weight = sums.index_add_(0, slot - 1, weight.double()).to(weight.dtype)
        columns = {name: _mean(column, slot - 1, fresh) for name, column in self.columns.items()}
        return CSR(indptr, indices[fresh], self.num_cols, weight, columns)

    def transposed(self) -> "CSR":
        """The same entries by column; columns of a row ascend. Linear in E; computed on the CPU."""
        home = self.indptr.device
        if home.type != "cpu":
            return self.to(torch.device("cpu")).transposed().to(home)
        if self.columns:
            numbers = torch.arange(self.num_edges)
            found = CSR(self.indptr, self.indices, self.num_cols, numbers).transposed()
            place = found.weight
            assert place is not None
            return replace(
                self.picked(found.indptr, found.indices, lambda each: each[place]), num_cols=self.num_rows
            )
        flipped = self.to_scipy().tocsc()
        shape = (self.num_cols, self.num_rows)
        flipped = sp.csr_array((flipped.data, flipped.indices, flipped.indptr), shape=shape)
        return CSR.from_scipy(flipped, weighted=self.weight is not None)

    def take_rows(self, rows: Tensor) -> "CSR":
        """The given rows, ``[r]``, in that order; reads only them."""
        starts = self.indptr[rows]
        counts = self.indptr[rows + 1] - starts
        indptr = offsets(counts)
        shift, total = starts - indptr[:-1], int(indptr[-1])
        taken = self.picked(
            indptr, self.indices.new_empty(total), lambda each: each.new_empty(total, *each.shape[1:])
        )
        pairs = [(self.indices, taken.indices)]
        pairs += [(self.columns[name], column) for name, column in taken.columns.items()]
        if self.weight is not None and taken.weight is not None:
            pairs.append((self.weight, taken.weight))
        # An entry's place takes eight bytes: some rows at a time, or places outweigh the matrix.
        starts_at = torch.arange(0, total, _CHUNK, device=indptr.device)
        cuts = torch.searchsorted(indptr, starts_at).tolist()
        for low, high in pairwise([*cuts, rows.numel()]):
            first, last = indptr[[low, high]].tolist()
            at = torch.repeat_interleave(shift[low:high], counts[low:high], output_size=last - first)
            at += torch.arange(first, last, device=at.device)
            for source, target in pairs:
                target[first:last] = source[at]
        return taken

    def head(self, num_rows: int, num_cols: int) -> "CSR":
        """The first rows, whose entries must all lie in the first columns; shares this one's memory."""
        indptr = self.indptr[: num_rows + 1]
        end = int(indptr[-1])
        return replace(self.picked(indptr, self.indices[:end], lambda each: each[:end]), num_cols=num_cols)

    def renumbered(self, number: Tensor, num_cols: int) -> "CSR":
        """The same entries in the same order, column ``c`` called ``number[c]``."""
        indices = number.to(self.indices.dtype)[self.indices]
        return replace(self, indices=indices, num_cols=num_cols)

    def keep(self, edges: Tensor) -> "CSR":
        """The entries under a mask ``[E]`` of booleans."""
        kept = torch.cat([self.indptr.new_zeros(1), edges.cumsum(0)])
        return self.picked(kept[self.indptr], self.indices[edges], lambda each: each[edges])

    @classmethod
    def stacked(cls, matrices: "Sequence[CSR]") -> "CSR":
        """The rows of the first, then those of the others, which have the same columns."""
        first = matrices[0]
        indptr = offsets(torch.cat([each.indptr.diff() for each in matrices]))
        indices = torch.cat([each.indices for each in matrices])
        weights = [each.weight for each in matrices if each.weight is not None]
        columns = {name: torch.cat([each.columns[name] for each in matrices]) for name in first.columns}
        return cls(indptr, indices, first.num_cols, torch.cat(weights) if weights else None, columns)

    def followed_by(self, other: "CSR") -> "CSR":
        """Each row's entries, then those of another matrix's row, whose columns come after.

        With the weights and columns that both have.
        """
        num_cols = self.num_cols + other.num_cols
        shifted = other.indices.to(index_dtype(num_cols)) + self.num_cols
        return _interleaved(self, replace(other, indices=shifted, num_cols=num_cols), num_cols)

    def looped(self) -> "CSR":
        """Each row's entries off the diagonal, then one on it. Unweighted."""
        ends = torch.arange(self.num_rows + 1, device=self.indices.device)
        loops = CSR(ends, ends[:-1].to(self.indices.dtype), self.num_cols)
        return _interleaved(self.pattern.keep(self.indices != self.rows()), loops, self.num_cols)

    def to_scipy(self) -> sp.csr_array:
        """The same matrix for SciPy, sharing memory; an unweighted one carries int8 ones."""
        data = np.ones(self.num_edges, np.int8) if self.weight is None else self.weight.numpy()
        # SciPy would widen the columns to the type of the offsets, and whatever it makes of them.
        narrow = self.indices.dtype if self.num_edges < 2**31 else torch.int64
        indptr = self.indptr.to(narrow).numpy()
        return sp.csr_array((data, self.indices.numpy(), indptr), shape=(self.num_rows, self.num_cols))

    @classmethod
    def from_scipy(cls, matrix: sp.csr_array, *, weighted: bool = True) -> "CSR":
        """A CSR matrix of SciPy's, as it is."""
        narrow = index_dtype(max(matrix.shape))
        return cls(
            torch.from_numpy(matrix.indptr).to(torch.int64),
            torch.from_numpy(matrix.indices).to(narrow),
            int(matrix.shape[1]),
            torch.from_numpy(matrix.data) if weighted else None,
        )


def _interleaved(first: CSR, second: CSR, num_cols: int) -> CSR:
    """The rows of two matrices, row after row, with the weights and columns that both have."""
    indptr = first.indptr + second.indptr
    joined = [(first.indices.to(second.indices.dtype), second.indices)]
    names = [name for name in first.columns if name in second.columns]
    joined += [(first.columns[name], second.columns[name]) for name in names]
    if first.weight is not None and second.weight is not None:
        joined.append((first.weight, second.weight))
    made = [b.new_empty(int(indptr[-1]), *b.shape[1:]) for _, b in joined]
    for turn, (matrix, before) in enumerate(((first, second.indptr[:-1]), (second, first.indptr[1:]))):
        places = torch.repeat_interleave(before, matrix.indptr.diff(), output_size=matrix.num_edges)
        places += torch.arange(matrix.num_edges, device=places.device)
        for out, both in zip(made, joined, strict=True):
            out[places] = both[turn]
    columns = dict(zip(names, made[1:], strict=False))
    return CSR(indptr, made[0], num_cols, made[-1] if len(made) > 1 + len(names) else None, columns)


def _mean(column: Tensor, slot: Tensor, fresh: Tensor) -> Tensor:
    """The mean of a column over entries that become one; integers are the same in all of them."""
    if not column.is_floating_point():
        return column[fresh]
    count = torch.bincount(slot).to(column)
    total = column.new_zeros(count.numel(), *column.shape[1:]).index_add_(0, slot, column)
    return total / count.view(-1, *[1] * (column.ndim - 1))
