"""Small graphs of the published ones' schema: as many features and classes, labels of the same kind.

Letters: N nodes, F features, C classes.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True)
class Schema:
    """What a graph's arrays look like, as its loader gives them.

    Attributes:
        features: of a node.
        classes: of a node, or how many labels it may have.
        multilabel: a node has any number of them.
        directed: edges come one way.
    """

    features: int
    classes: int
    multilabel: bool = False
    directed: bool = False


SCHEMAS = {
    "dgl:reddit": Schema(602, 41),
    "ogb:ogbn-products": Schema(100, 47),
    "dgl:yelp": Schema(300, 100, multilabel=True),
    "ogb:ogbn-papers100M": Schema(128, 172, directed=True),
}
"""By SPEC; the counts are those of DGL's and OGB's own descriptions."""


def write(schema: Schema, path: Path, *, nodes: int = 600, degree: int = 6) -> None:
    """An archive for ``npz:``, drawn by a fixed seed: two thirds of the edges join nodes of one class.

    Nodes of a directed graph may have no label, as in papers100M.
    """
    draw = np.random.default_rng(0)
    group = np.arange(nodes) % schema.classes
    near = group[:, None] + schema.classes * draw.integers(
        0, max(1, nodes // schema.classes), (nodes, degree)
    )
    far = draw.integers(0, nodes, (nodes, degree))
    ends = np.where(draw.random((nodes, degree)) < 2 / 3, near % nodes, far)
    pairs = np.stack([np.repeat(np.arange(nodes), degree), ends.ravel()])
    pairs = np.unique(pairs[:, pairs[0] != pairs[1]], axis=1)
    if not schema.directed:
        pairs = np.unique(np.concatenate([pairs, pairs[::-1]], axis=1), axis=1)
    centers = draw.standard_normal((schema.classes, schema.features))
    x = (centers[group] + draw.standard_normal((nodes, schema.features))).astype(np.float32)
    y = group.astype(np.int64)
    if schema.multilabel:
        y = (draw.random((schema.classes, schema.classes)) < 0.1)[group].astype(np.int64)
    elif schema.directed:
        y[draw.random(nodes) < 0.3] = -1
    part = draw.permutation(nodes) % 10
    masks = {"train_mask": part < 6, "val_mask": (part == 6) | (part == 7), "test_mask": part > 7}
    if y.ndim == 1:
        masks = {name: mask & (y >= 0) for name, mask in masks.items()}
    np.savez(path, edge_index=pairs, x=x, y=y, **masks)
