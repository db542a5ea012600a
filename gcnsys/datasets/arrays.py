"""The arrays of the npz schema, each read and checked by itself."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.graph import CSR, index_dtype

MASKS = ("train_mask", "val_mask", "test_mask")
_ROWS_AT_ONCE = 1 << 14


class Named(Mapping[str, Any]):
    """Arrays that say whose they are when one is missing."""

    def __init__(self, owner: str, arrays: Mapping[str, Any]) -> None:
        self.owner, self.arrays = owner, arrays

    def __getitem__(self, key: str) -> Any:
        if key not in self.arrays:
            found = ", ".join(sorted(self.arrays)) or "none"
            raise InputError(f"{self.owner}: array {key!r} is missing; found {found}")
        return self.arrays[key]

    def __contains__(self, key: object) -> bool:
        return key in self.arrays

    def __iter__(self) -> Any:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def tensor(self, key: str) -> Tensor:
        array = self[key]
        if isinstance(array, Tensor):
            return array
        if array.dtype.kind not in "biuf":
            raise InputError(f"{self.owner}: array {key!r} must hold numbers, got dtype {array.dtype}")
        if array.dtype.kind == "u" and array.dtype.itemsize > 1:
            array = array.astype(np.int64)
        elif array.dtype.itemsize > 8:
            array = array.astype(np.float64)
        elif not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        if not array.flags.writeable:
            array = array.copy()
        return torch.from_numpy(np.ascontiguousarray(array))

    def flag(self, key: str) -> bool:
        value = self.tensor(key)
        if value.numel() != 1:
            raise InputError(f"{self.owner}: {key} must be one true or false, got shape {list(value.shape)}")
        return bool(value)


def read_labels(arrays: Named) -> tuple[Tensor, int]:
    """``y`` or ``target``, as a dataset holds either, and the number of classes."""
    if "target" in arrays:
        return _targets(arrays)
    y = arrays.tensor("y")
    if y.ndim == 2:
        if y.shape[1] == 0:
            raise InputError(f"{arrays.owner}: multilabel targets y need a column a class, got none")
        if bool(((y != 0) & (y != 1)).any()):
            raise InputError(f"{arrays.owner}: multilabel targets y must be 0 or 1")
        return y.bool(), y.shape[1]
    if y.ndim != 1:
        raise InputError(f"{arrays.owner}: y must have shape [N] or [N, C], got {list(y.shape)}")
    if y.dtype.is_floating_point:
        raise InputError(f"{arrays.owner}: labels y must be integers, got {y.dtype}")
    y = y.long()
    if y.numel() and int(y.min()) < -1:
        raise InputError(f"{arrays.owner}: label {int(y.min())} at node {int(y.argmin())} is below -1")
    num_classes = int(y.max()) + 1 if y.numel() else 0
    if y.numel() and num_classes == 0:
        raise InputError(f"{arrays.owner}: no node has a label; y is -1 everywhere")
    # More classes than nodes is a node id or a real-valued target taken for a label.
    if num_classes > max(y.numel(), 2):
        raise InputError(
            f"{arrays.owner}: label {num_classes - 1} at node {int(y.argmax())} is out of range for "
            f"{y.numel()} nodes; labels must be class numbers from 0"
        )
    return y, num_classes


def _targets(arrays: Named) -> tuple[Tensor, int]:
    """Numbers to tell, ``[N, T]`` float32; a node without one has NaN everywhere."""
    if "y" in arrays:
        raise InputError(f"{arrays.owner}: there are both y (classes) and target (numbers); keep one of them")
    target = arrays.tensor("target")
    target = target[:, None] if target.ndim == 1 else target
    if target.ndim != 2 or target.shape[1] == 0:
        raise InputError(f"{arrays.owner}: target must have shape [N] or [N, T], got {list(target.shape)}")
    target = target.to(torch.float32)
    if bool(target.isinf().any()):
        node = int(torch.nonzero(target.isinf())[0, 0])
        raise InputError(
            f"{arrays.owner}: target of node {node} is infinite; replace it, or leave NaN for none"
        )
    if bool(target.isnan().all()):
        raise InputError(f"{arrays.owner}: no node has a target; it is NaN everywhere")
    target = torch.where(target.isnan().any(1, keepdim=True), torch.nan, target)
    return target, target.shape[1]


def has_label(y: Tensor) -> Tensor:
    """``[N]`` bool: the nodes that say what to learn; of multilabel targets, all do."""
    if y.is_floating_point():
        return ~y[:, 0].isnan()
    return torch.ones(y.shape[0], dtype=torch.bool) if y.ndim == 2 else y >= 0


def without_labels(arrays: Named) -> Tensor:
    """A label 0 for every node that has features, ``[N]`` int64."""
    sparse = "x" not in arrays and "x_indptr" in arrays
    count = int(arrays.tensor("x_indptr").numel()) - 1 if sparse else arrays.tensor("x").shape[0]
    return torch.zeros(max(0, count), dtype=torch.long)


def read_kinds(arrays: Named, num_nodes: int) -> Tensor | None:
    """``node_type``: ``[N]`` int32."""
    if "node_type" not in arrays:
        return None
    kinds = arrays.tensor("node_type")
    if kinds.shape != (num_nodes,) or kinds.dtype.is_floating_point or kinds.dtype == torch.bool:
        raise InputError(
            f"{arrays.owner}: node_type must be [{num_nodes}] integers, got {kinds.dtype} of shape "
            f"{list(kinds.shape)}"
        )
    if kinds.numel() and int(kinds.min()) < 0:
        raise InputError(f"{arrays.owner}: node_type holds {int(kinds.min())}; kinds count from 0")
    return kinds.to(torch.int32)


def read_features(arrays: Named, num_nodes: int) -> Tensor | CSR:
    """``x``: ``[N, F]`` float32, or sparse."""
    if "x" not in arrays and "x_indptr" in arrays:
        return _sparse_features(arrays, num_nodes)
    x = arrays.tensor("x")
    if x.ndim != 2 or x.shape[0] != num_nodes or x.shape[1] == 0:
        raise InputError(f"{arrays.owner}: x must have shape [{num_nodes}, F], got {list(x.shape)}")
    if x.dtype != torch.float32:
        x = x.to(torch.float32)
    for start in range(0, num_nodes, _ROWS_AT_ONCE):
        rows = x[start : start + _ROWS_AT_ONCE]
        finite = torch.isfinite(rows)
        if not bool(finite.all()):
            row, column = torch.nonzero(~finite)[0].tolist()
            raise InputError(
                f"{arrays.owner}: feature x[{start + row}, {column}] is {float(rows[row, column])}; "
                f"replace values that are not finite"
            )
    return x


def _sparse_features(arrays: Named, num_nodes: int) -> CSR:
    shape = arrays.tensor("x_shape").flatten().tolist()
    if len(shape) != 2 or shape[0] != num_nodes or shape[1] < 1:
        raise InputError(f"{arrays.owner}: x_shape must be [{num_nodes}, F], got {shape}")
    values = arrays.tensor("x_data").to(torch.float32)
    indptr, indices = arrays.tensor("x_indptr"), arrays.tensor("x_indices")
    for name, array in (("x_indptr", indptr), ("x_indices", indices)):
        if array.ndim != 1 or array.dtype.is_floating_point or array.dtype == torch.bool:
            raise InputError(
                f"{arrays.owner}: {name} must be a row of integers, "
                f"got {array.dtype} of shape {list(array.shape)}"
            )
    csr = CSR(indptr.long(), indices, int(shape[1]), values)
    if csr.num_rows != num_nodes:
        raise InputError(
            f"{arrays.owner}: x_indptr must have {num_nodes + 1} entries, got {csr.num_rows + 1}"
        )
    csr.check(f"{arrays.owner}: sparse features x")
    csr = CSR(csr.indptr, csr.indices.to(index_dtype(csr.num_cols)), csr.num_cols, csr.weight)
    rows = csr.rows()
    ascending = (csr.indices.diff() > 0) | (rows.diff() > 0)
    if bool(ascending.all()):
        return csr
    return CSR.from_pairs(rows, csr.indices, num_nodes, csr.num_cols, csr.weight)


def read_masks(arrays: Named, labelled: Tensor, num_nodes: int) -> tuple[Tensor, Tensor, Tensor] | None:
    """Three disjoint masks ``[N]``, labelled nodes only; None where none is stored."""
    present = [name for name in MASKS if name in arrays]
    if not present:
        return None
    if len(present) < len(MASKS):
        missing = ", ".join(sorted(set(MASKS) - set(present)))
        raise InputError(f"{arrays.owner}: {missing} missing beside {', '.join(present)}; give all or none")
    masks = []
    for name in MASKS:
        mask = arrays.tensor(name)
        if mask.shape != (num_nodes,):
            raise InputError(f"{arrays.owner}: {name} must have shape [{num_nodes}], got {list(mask.shape)}")
        masks.append(mask.bool() & labelled)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        both = masks[first] & masks[second]
        if bool(both.any()):
            raise InputError(
                f"{arrays.owner}: {MASKS[first]} and {MASKS[second]} share {int(both.sum())} nodes, "
                f"the first is {int(torch.nonzero(both)[0])}; masks must not overlap"
            )
    return masks[0], masks[1], masks[2]
