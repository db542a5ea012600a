"""A graph with features, labels and masks, checked once at the door.

Every loader hands over arrays under the names of the npz schema (``README.md``, "Your own
graph"); :meth:`Dataset.from_arrays` checks them and is the only way in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gcnsys.datasets.arrays import (
    MASKS,
    Named,
    has_label,
    read_features,
    read_kinds,
    read_labels,
    read_masks,
    without_labels,
)
from gcnsys.datasets.scaling import Scaling
from gcnsys.errors import InputError
from gcnsys.graph import CSR, EDGE_COLUMNS, Graph


@dataclass(frozen=True, slots=True)
class Split:
    """How nodes are split where a dataset brings no masks, or how its links are: shares, seeded.

    Attributes:
        train, val, test: shares of the labelled nodes, or of the links.
        seed: of the draw.
        of: what is split; where it is not nodes, labels and masks are not looked at.
    """

    train: float = 0.6
    val: float = 0.2
    test: float = 0.2
    seed: int = 0
    of: Literal["nodes", "links", "nothing"] = "nodes"

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


def num_kinds(kinds: Tensor | None) -> int:
    """How many kinds of edges or nodes there are, ``[n]`` from 0; 0: none said."""
    if kinds is None:
        return 0
    return int(kinds.max()) + 1 if kinds.numel() else 1


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
        held_out: links taken out of the graph (:mod:`gcnsys.datasets.held_out`), to be predicted; None: nodes
            are what is learnt.
        scaling: what the features were scaled by.
        mirrored: edges without a reverse one were given it, if there were any.
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
    held_out: Graph | None = None
    scaling: Scaling = field(default_factory=Scaling)
    mirrored: bool = False

    @property
    def num_features(self) -> int:
        """How many features a node has, F."""
        return self.x.num_cols if isinstance(self.x, CSR) else self.x.shape[1]

    @property
    def is_multilabel(self) -> bool:
        """Whether a node may have several labels."""
        return self.y.ndim == 2 and self.y.dtype == torch.bool

    @property
    def is_regression(self) -> bool:
        """Whether numbers are to be told, not classes."""
        return self.y.is_floating_point()

    def noted(self, note: str, **changes: Any) -> "Dataset":
        """A changed copy that says what was changed."""
        return replace(self, notes=(*self.notes, note), **changes)

    def undirected(self) -> "Dataset":
        """With every edge both ways, as a GCN usually wants it."""
        if self.graph.is_symmetric:
            return replace(self, mirrored=True)
        graph = self.graph.symmetrized()
        note = (
            f"edges were stored one way ({self.graph.num_edges:,}) and made undirected "
            f"({graph.num_edges:,}); --directed keeps them as stored"
        )
        return self.noted(note, graph=graph, mirrored=True)

    @classmethod
    def from_arrays(cls, name: str, arrays: Mapping[str, Any], split: Split | None = None) -> "Dataset":
        """Check arrays in the npz schema and build a dataset.

        Raises:
            InputError: one sentence that names the array.
        """
        arrays, split = Named(name, arrays), split or Split()
        y, num_classes = read_labels(arrays) if split.of == "nodes" else (without_labels(arrays), 1)
        num_nodes = y.shape[0]
        if num_nodes == 0:
            raise InputError(f"{name}: the graph has no nodes")
        x = read_features(arrays, num_nodes)
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
        labelled = has_label(y)
        masks: tuple[Tensor, Tensor, Tensor] | None = labelled, ~labelled, ~labelled
        if split.of == "nodes":
            masks = read_masks(arrays, labelled, num_nodes)
        if masks is None:
            masks = split.masks(labelled)
            notes.append(
                f"no split is stored; a random one of {split.train:g}/{split.val:g}/{split.test:g} "
                f"with seed {split.seed} is used"
            )
        if not bool(masks[0].any()):
            raise InputError(f"{name}: train_mask selects no labelled node; nothing can be trained")
        kinds = read_kinds(arrays, num_nodes)
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
