"""``dgl:NAME``: the node classification graphs that come with DGL, through its own classes.

Files are looked for in and fetched to ``GCNSYS_DATA_ROOT`` (default ``data``), which is DGL's
``raw_dir``; to use what DGL has already fetched, set it to ``~/.dgl``. DGL unpickles some of what it
fetches (the citation graphs): use it with files you trust.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gcnsys.datasets.arrays import MASKS
from gcnsys.datasets.foreign import data_root, foreign_code, labels
from gcnsys.errors import InputError
from gcnsys.registry import require, unknown

CLASSES = {
    "actor": "ActorDataset",
    "amazon-computer": "AmazonCoBuyComputerDataset",
    "amazon-photo": "AmazonCoBuyPhotoDataset",
    "chameleon": "ChameleonDataset",
    "citeseer": "CiteseerGraphDataset",
    "coauthor-cs": "CoauthorCSDataset",
    "coauthor-physics": "CoauthorPhysicsDataset",
    "cora": "CoraGraphDataset",
    "cora-full": "CoraFullDataset",
    "cornell": "CornellDataset",
    "flickr": "FlickrDataset",
    "pubmed": "PubmedGraphDataset",
    "reddit": "RedditDataset",
    "squirrel": "SquirrelDataset",
    "texas": "TexasDataset",
    "wikics": "WikiCSDataset",
    "wisconsin": "WisconsinDataset",
    "yelp": "YelpDataset",
}


def read(argument: str) -> Mapping[str, Any]:
    """The arrays of a DGL graph.

    Returns:
        ``edge_index`` ``[2, E]``, ``x`` ``[N, F]``, ``y`` ``[N]`` or, for several labels a node,
        ``[N, C]``; masks ``[N]`` if the graph has all three, the first of several splits.

    Raises:
        InputError: no such graph, or its files are neither there nor to be had.
    """
    if argument not in CLASSES:
        raise unknown("DGL graph", argument, CLASSES)
    root = data_root()
    with foreign_code(f"dgl:{argument}", root), _pytorch():
        data = require("dgl.data", extra="dgl", purpose=f"dgl:{argument}")
        graph = getattr(data, CLASSES[argument])(raw_dir=str(root), verbose=False)[0]
        arrays = {"edge_index": np.stack([end.numpy() for end in graph.edges()])}
        for name, stored in {"x": "feat", "y": "label"}.items():
            if stored not in graph.ndata:
                raise InputError(f"dgl:{argument}: the graph has no node data {stored!r}")
            arrays[name] = graph.ndata[stored].numpy()
        arrays["y"] = labels(arrays["y"])
        if all(name in graph.ndata for name in MASKS):
            masks = {name: graph.ndata[name].numpy().astype(bool) for name in MASKS}
            arrays |= {name: mask if mask.ndim == 1 else mask[:, 0] for name, mask in masks.items()}
    return arrays


@contextlib.contextmanager
def _pytorch() -> Iterator[None]:
    """Tell DGL its backend, or at its first import it writes a configuration to the home folder."""
    before = os.environ.get("DGLBACKEND")
    os.environ["DGLBACKEND"] = "pytorch"
    try:
        yield
    finally:
        del os.environ["DGLBACKEND"]
        if before is not None:
            os.environ["DGLBACKEND"] = before
