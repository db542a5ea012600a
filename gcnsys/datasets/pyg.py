"""``pyg:CLASS[/NAME]``: the node classification graphs that come with PyG, through its own classes.

``pyg:Planetoid/Cora`` is ``torch_geometric.datasets.Planetoid(ROOT/Planetoid, name="Cora")`` and
``pyg:Reddit`` is ``Reddit(ROOT/Reddit)``, where ROOT is ``GCNSYS_DATA_ROOT`` (default ``data``):
a class gets a folder of its own, since several keep their files directly under their root. PyG
unpickles some of what it fetches (the citation graphs): use it with files you trust.
"""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gcnsys.datasets.arrays import MASKS
from gcnsys.datasets.foreign import data_root, foreign_code, labels
from gcnsys.errors import InputError
from gcnsys.registry import require, unknown

# Shown when a class is unknown; any other class with one graph works as well.
USUAL = (
    "Actor", "Amazon", "AmazonProducts", "AttributedGraphDataset", "CitationFull", "Coauthor", "CoraFull",
    "FacebookPagePage", "Flickr", "GitHub", "HeterophilousGraphDataset", "KarateClub", "LastFMAsia",
    "Planetoid", "Reddit", "Reddit2", "WebKB", "WikiCS", "WikipediaNetwork", "Yelp",
)  # fmt: skip


def read(argument: str) -> Mapping[str, Any]:
    """The arrays of a PyG graph.

    Returns:
        ``edge_index`` ``[2, E]``; ``x`` ``[N, F]`` or, where stored sparse, its CSR parts; ``y`` ``[N]``
        or, for several labels a node, ``[N, C]``; if the graph has them ``edge_weight`` ``[E]``, and if
        it has all three, masks ``[N]``, the first of several splits.

    Raises:
        InputError: no such class or graph, or its files are neither there nor to be had.
    """
    kind, _, name = argument.partition("/")
    folder = data_root() / kind
    with foreign_code(f"pyg:{argument}", folder):
        datasets = require("torch_geometric.datasets", extra="pyg", purpose=f"pyg:{argument}")
        if kind not in datasets.__all__:
            raise unknown("PyG dataset class", kind, USUAL)
        dataset = _made(getattr(datasets, kind), argument, folder, name)
        if len(dataset) != 1:
            raise InputError(f"pyg:{argument}: holds {len(dataset)} graphs; only single graphs can be used")
        return _arrays(dataset[0], argument)


def _made(maker: Any, argument: str, folder: Path, name: str) -> Any:
    takes = inspect.signature(maker).parameters
    if bool(name) != ("name" in takes):
        usage = "/NAME" if "name" in takes else ""
        raise InputError(f"pyg:{argument}: this class is used as pyg:{maker.__name__}{usage}")
    given = {"root": str(folder), "name": name}
    return maker(**{key: value for key, value in given.items() if key in takes})


def _arrays(data: Any, argument: str) -> dict[str, Any]:
    for key in ("edge_index", "x", "y"):
        if not isinstance(getattr(data, key, None), torch.Tensor):
            raise InputError(f"pyg:{argument}: the graph has no {key}, or more than one kind of node")
    arrays = {"edge_index": data.edge_index.numpy(), "y": labels(data.y.numpy())}
    if data.x.layout == torch.strided:
        arrays["x"] = data.x.numpy()
    else:
        x = data.x.to_sparse_csr()
        arrays |= {"x_indptr": x.crow_indices().numpy(), "x_indices": x.col_indices().numpy()}
        arrays |= {"x_data": x.values().numpy(), "x_shape": torch.tensor(x.shape).numpy()}
    if isinstance(getattr(data, "edge_weight", None), torch.Tensor):
        arrays["edge_weight"] = data.edge_weight.numpy()
    masks = {key: data[key] for key in MASKS if key in data}
    if len(masks) == len(MASKS):
        arrays |= {
            key: (mask if mask.ndim == 1 else mask[:, 0]).bool().numpy() for key, mask in masks.items()
        }
    return arrays
