"""A graph with features, labels and masks, checked once at the door.

Every loader hands over arrays under the names of the npz schema (``README.md``, "Your own
graph"); :meth:`Dataset.from_arrays` checks them and is the only way in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.graph import CSR, EDGE_COLUMNS, Graph, index_dtype

MASKS = ("train_mask", "val_mask", "test_mask")
_ROWS_AT_ONCE = 1 << 14


@dataclass(frozen=True, slots=True)
class Split:
    """How nodes are split where a dataset brings no masks: shares of the labelled nodes, seeded."""

    train: float = 0.6
    val: float = 0.2
    test: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        shares = self.train, self.val, self.test
        if not (min(shares) >= 0 and self.train > 0 and sum(shares) <= 1 + 1e-9):
            raise InputError(f"split shares must be positive and add up to at most 1, got {shares}")
        if self.seed < 0:
            raise InputError(f"the split's seed must be at least 0, got {self.seed}")

    def masks(self, labelled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three masks ``[N]`` over the nodes under ``labelled`` ``[N]``."""
        nodes = torch.nonzero(labelled).flatten()
        order = nodes[torch.from_numpy(np.random.default_rng(self.seed).permutation(nodes.numel()))]
        count = order.numel()
        ends = [round(count * share) for share in (self.train, self.train + self.val)]
        ends.append(min(count, round(count * (self.train + self.val + self.test))))
        masks = []
        for low, high in zip([0, *ends[:2]], ends, strict=True):
            mask = torch.zeros_like(labelled)
            mask[order[low:high]] = True
            masks.append(mask)
        return masks[0], masks[1], masks[2]


@dataclass(frozen=True, eq=False, slots=True)
class Dataset:
    """A graph ready to be cut.

    Attributes:
        name: for people; also picks published defaults.
        graph: N nodes.
        x: ``[N, F]`` float32, dense, or CSR with its values as weights.
        y: ``[N]`` int64 with -1 for "no label", ``[N, C]`` bool for multilabel targets, or ``[N, C]`` float32
            for regression, NaN where there is no target.
        num_classes: C.
        train_mask, val_mask, test_mask: ``[N]`` bool, disjoint; only labelled nodes.
        notes: what a person should know about how this came to be.
        node_type: ``[N]`` int32, the kind of every node; None: there is one kind.
    """

    name: str
    graph: Graph
    x: Tensor | CSR
    y: Tensor
    num_classes: int
    train_mask: Tensor
    val_mask: Tensor
    test_mask: Tensor
    notes: tuple[str, ...] = ()
    node_type: Tensor | None = None

    @property
    def num_features(self) -> int:
        return self.x.num_cols if isinstance(self.x, CSR) else self.x.shape[1]

    @property
    def is_multilabel(self) -> bool:
        return self.y.ndim == 2 and self.y.dtype == torch.bool

    @property
    def is_regression(self) -> bool:
        return self.y.is_floating_point()

    def noted(self, note: str, **changes: Any) -> "Dataset":
        """A changed copy that says what was changed."""
        return replace(self, notes=(*self.notes, note), **changes)

    def undirected(self) -> "Dataset":
        """With every edge both ways, as a GCN usually wants it."""
        if self.graph.is_symmetric:
            return self
        graph = self.graph.symmetrized()
        note = (
            f"edges were stored one way ({self.graph.num_edges:,}) and made undirected "
            f"({graph.num_edges:,}); --directed keeps them as stored"
        )
        return self.noted(note, graph=graph)

    @classmethod
    def from_arrays(cls, name: str, arrays: Mapping[str, Any], split: Split | None = None) -> "Dataset":
        """Check arrays in the npz schema and build a dataset.

        Raises:
            InputError: one sentence that names the array.
        """
        arrays = _Named(name, arrays)
        y, num_classes = _labels(arrays)
        num_nodes = y.shape[0]
        if num_nodes == 0:
            raise InputError(f"{name}: the graph has no nodes")
        x = _features(arrays, num_nodes)
        weight = arrays.tensor("edge_weight") if "edge_weight" in arrays else None
        symmetric = arrays.flag("is_symmetric") or None if "is_symmetric" in arrays else None
        pairs = arrays.tensor("edge_index")
        try:
            columns = {column: arrays.tensor(column) for column in EDGE_COLUMNS if column in arrays}
            graph = Graph.from_edge_index(
                pairs, num_nodes=num_nodes, weight=weight, is_symmetric=symmetric, columns=columns
            )
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        notes = []
        if graph.num_edges < pairs.shape[1]:
            action = "added up" if weight is not None else "kept once"
            notes.append(f"{pairs.shape[1] - graph.num_edges:,} duplicate edges were {action}")
        if graph.num_edges == 0:
            notes.append("the graph has no edges")
        labelled = _labelled(y)
        masks = _masks(arrays, labelled, num_nodes)
        if masks is None:
            split = split or Split()
            masks = split.masks(labelled)
            notes.append(
                f"no split is stored; a random one of {split.train:g}/{split.val:g}/{split.test:g} "
                f"with seed {split.seed} is used"
            )
        if not bool(masks[0].any()):
            raise InputError(f"{name}: train_mask selects no labelled node; nothing can be trained")
        kinds = _kinds(arrays, num_nodes)
        return cls(name, graph, x, y, num_classes, *masks, notes=tuple(notes), node_type=kinds)

    def to_arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """The arrays of the npz schema."""
        arrays = {"edge_index": self.graph.edge_index().numpy()}
        if self.graph.weight is not None:
            arrays["edge_weight"] = self.graph.weight.numpy()
        for column, values in self.graph.adjacency.columns.items():
            arrays[column] = values.numpy()
        if self.node_type is not None:
            arrays["node_type"] = self.node_type.numpy()
        if isinstance(self.x, CSR):
            assert self.x.weight is not None
            arrays["x_indptr"], arrays["x_indices"] = self.x.indptr.numpy(), self.x.indices.numpy()
            arrays["x_data"] = self.x.weight.numpy()
            arrays["x_shape"] = np.array([self.x.num_rows, self.x.num_cols])
        else:
            arrays["x"] = self.x.numpy()
        name = "target" if self.is_regression else "y"
        arrays[name] = self.y.numpy().astype(np.uint8) if self.is_multilabel else self.y.numpy()
        for mask in MASKS:
            arrays[mask] = getattr(self, mask).numpy()
        arrays["is_symmetric"] = np.array(self.graph.is_symmetric)
        return arrays


class _Named(Mapping[str, Any]):
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


def _targets(arrays: _Named) -> tuple[Tensor, int]:
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


def _labelled(y: Tensor) -> Tensor:
    if y.is_floating_point():
        return ~y[:, 0].isnan()
    return torch.ones(y.shape[0], dtype=torch.bool) if y.ndim == 2 else y >= 0


def _labels(arrays: _Named) -> tuple[Tensor, int]:
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


def _kinds(arrays: _Named, num_nodes: int) -> Tensor | None:
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


def _features(arrays: _Named, num_nodes: int) -> Tensor | CSR:
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


def _sparse_features(arrays: _Named, num_nodes: int) -> CSR:
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


def _masks(arrays: _Named, labelled: Tensor, num_nodes: int) -> tuple[Tensor, Tensor, Tensor] | None:
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
