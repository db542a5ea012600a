"""``ogb:NAME``: the node classification graphs of the Open Graph Benchmark (Hu et al. 2020).

``ogbn-arxiv``, ``ogbn-products``, ``ogbn-proteins`` and ``ogbn-papers100M``, read from
``ROOT/ogbn_arxiv`` and so on, where OGB itself keeps them; fetched first if they are not there.
``ROOT`` is the environment variable ``GCNSYS_DATA_ROOT``, by default ``data`` in the current folder;
``dgl:`` and ``pyg:`` share it. Edges are as OGB hands them out: one way for arxiv and papers100M,
both ways for the others. Proteins have no features: a node gets the mean of its edges' features.

OGB's dataset class asks questions on standard input, unpickles its cache in a way that torch 2.6 and
later refuse, and imports every framework it finds. So only its readers of raw files are used, with
its catalog; the cache is neither read nor written, and ``gcnsys data convert`` makes a quick copy.
"""

import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gcnsys.datasets.arrays import MASKS
from gcnsys.datasets.foreign import Array, data_root, foreign_code, labels
from gcnsys.errors import InputError
from gcnsys.registry import require, unknown


def read(argument: str) -> Mapping[str, Any]:
    """The arrays of an OGB graph.

    Returns:
        ``edge_index`` ``[2, E]``, ``x`` ``[N, F]``, ``y`` ``[N]`` (``[N, 112]`` for proteins), three
        masks ``[N]``.

    Raises:
        InputError: no such graph, or its files are neither there nor to be had.
    """
    root = data_root()
    with foreign_code(f"ogb:{argument}", root):
        reader = _imported("ogb.io.read_graph_raw", argument)
        about = _about(argument, Path(reader.__file__).parents[1] / "nodeproppred" / "master.csv")
        folder = _folder(argument, about, root)
        raw = folder / "raw"
        if about["binary"] == "True":
            graph = reader.read_binary_graph_raw(str(raw))[0]
            with np.load(raw / "node-label.npz", allow_pickle=False) as stored:
                y = stored["node_label"]
        else:
            inverse = about["add_inverse_edge"] == "True"
            graph = reader.read_csv_graph_raw(str(raw), add_inverse_edge=inverse)[0]
            y = np.loadtxt(raw / "node-label.csv.gz", delimiter=",", ndmin=2)
        x = graph["node_feat"] if graph["node_feat"] is not None else _edge_means(graph)
        arrays = {"edge_index": graph["edge_index"], "x": x, "y": labels(y)}
        for name, part in zip(MASKS, ("train", "valid", "test"), strict=True):
            nodes = np.loadtxt(folder / "split" / about["split"] / f"{part}.csv.gz", np.int64, ndmin=1)
            arrays[name] = np.zeros(int(graph["num_nodes"]), bool)
            arrays[name][nodes] = True
    return arrays


def _imported(module: str, argument: str) -> Any:
    # At import OGB starts a thread that asks the network for a newer OGB, unless this is missing.
    name = "outdated"
    present = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        return require(module, extra="ogb", purpose=f"ogb:{argument}")
    finally:
        del sys.modules[name]
        if present is not None:
            sys.modules[name] = present


def _about(name: str, catalog: Path) -> dict[str, str]:
    """What OGB's catalog says of a graph: a row a property, a column a graph."""
    with catalog.open(newline="") as file:
        (_, *names), *rows = csv.reader(file)
    graphs = {key: {row[0]: row[at] for row in rows} for at, key in enumerate(names, 1)}
    known = [key for key, about in graphs.items() if about["is hetero"] == "False"]
    if name not in known:
        raise unknown("OGB graph with one kind of node", name, known)
    return graphs[name]


def _folder(name: str, about: Mapping[str, str], root: Path) -> Path:
    """The graph's folder, fetched if it is not there."""
    folder = root / name.replace("-", "_")
    if not folder.exists():
        web = _imported("ogb.utils.url", name)
        archive = web.download_url(about["url"], str(root))
        web.extract_zip(archive, str(root))
        Path(archive).unlink()
        (root / about["download_name"]).rename(folder)
    edges = "raw/data.npz" if about["binary"] == "True" else "raw/edge.csv.gz"
    for file in (f"RELEASE_v{about['version']}.txt", edges):
        if not (folder / file).exists():
            raise InputError(
                f"ogb:{name}: {folder} has no {file}: it is of another release or incomplete; "
                f"remove the folder to have it fetched again"
            )
    return folder


def _edge_means(graph: Mapping[str, Any]) -> Array:
    """The mean feature of the edges that end at each node, ``[N, F]``; 0 where none does."""
    if graph["edge_feat"] is None:
        raise InputError("the graph has features neither on nodes nor on edges")
    dst, num_nodes = graph["edge_index"][1], int(graph["num_nodes"])
    degree = np.maximum(np.bincount(dst, minlength=num_nodes), 1)
    sums = [np.bincount(dst, column, num_nodes) for column in graph["edge_feat"].T]
    return (np.stack(sums, 1) / degree[:, None]).astype(np.float32)
