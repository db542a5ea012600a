"""``gcnsys data``: what datasets there are, what one holds, and copies of it on disk."""

import argparse
import math
from pathlib import Path
from typing import Any

import torch

from gcnsys.cli.options import add_fields, chosen
from gcnsys.cli.output import Output
from gcnsys.datasets import Dataset, loaders
from gcnsys.datasets.npz import save
from gcnsys.datasets.recipe import recipe
from gcnsys.datasets.spec import canonical
from gcnsys.datasets.synthetic import write_npy
from gcnsys.graph import CSR
from gcnsys.train import RunConfig
from gcnsys.train.preparation import Preparation

ABOUT = {
    "digits": "handwritten digits as a nearest-neighbour graph; embedded, needs no network",
    "npz": "npz:PATH, one archive of arrays; see the README, 'Your own graph'",
    "npy": "npy:DIR, the same arrays as .npy files, mapped into memory: for large graphs",
    "synthetic": "synthetic:sbm, synthetic:reddit,nodes=...: generated graphs with planted communities",
    "ogb": "ogb:ogbn-arxiv, ...: Open Graph Benchmark (pip install 'gcnsys[ogb]')",
    "dgl": "dgl:reddit, dgl:yelp, dgl:cora, ...: DGL's datasets (pip install 'gcnsys[dgl]')",
    "pyg": "pyg:Planetoid/Cora, ...: PyG's datasets (pip install 'gcnsys[pyg]')",
}
PREPARE = ("directed", "normalize", "split", "split_seed")


def add(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("data", help="datasets: list, show, convert")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    listing = actions.add_parser("list", help="the kinds of datasets")
    listing.set_defaults(run=_list)

    show = actions.add_parser(
        "show", help="what a dataset holds", epilog="example: gcnsys data show npz:cora.npz"
    )
    show.add_argument("spec", help="name[:argument]")
    show.set_defaults(run=_show)

    convert = actions.add_parser(
        "convert",
        help="copy a dataset to an .npz archive or a folder of .npy files",
        epilog="example: gcnsys data convert pyg:Planetoid/Cora cora.npz",
    )
    convert.add_argument("spec", help="name[:argument]")
    convert.add_argument("out", type=Path, help="FILE.npz, or a folder for .npy files")
    convert.add_argument("--overwrite", action="store_true", help="replace what is there")
    convert.set_defaults(run=_convert)

    add_fields(show.add_argument_group("preparation"), (*PREPARE, "task"))
    add_fields(convert.add_argument_group("preparation"), PREPARE)
    for action in (listing, show, convert):
        action.add_argument("--json", action="store_true", help="print one JSON object")


def _loaded(options: argparse.Namespace) -> Dataset:
    config = RunConfig.checked({"data": options.spec, **chosen(options)})
    return Preparation.asked(config).load(options.spec)


def _list(options: argparse.Namespace, output: Output) -> dict[str, Any]:
    about = {name: ABOUT.get(name, "from a plug-in") for name in loaders.names()}
    for name, text in about.items():
        output.say(f"{name:<12}{text}")
    return {"datasets": about}


def _show(options: argparse.Namespace, output: Output) -> dict[str, Any]:
    with output.working():
        dataset = _loaded(options)
    result = describe(dataset)
    output.table(
        ("", dataset.name), [(key.replace("_", " "), _shown(value)) for key, value in result.items()]
    )
    return result


def describe(dataset: Dataset) -> dict[str, Any]:
    """The figures of a dataset."""
    graph = dataset.graph
    degree = graph.adjacency.indptr.diff()
    x = dataset.x
    filled = x.num_edges / max(1, x.num_rows * x.num_cols) if isinstance(x, CSR) else None
    return {
        "name": dataset.name, "nodes": graph.num_nodes, "edges": graph.num_edges,
        "symmetric": graph.is_symmetric, "weighted": graph.weight is not None,
        "self_loops": int(torch.isfinite(graph.loop_weight()).sum()),
        "isolated_nodes": int((degree == 0).sum()), "mean_degree": float(degree.double().mean()),
        "largest_degree": int(degree.max()), "features": dataset.num_features,
        "features_stored": "dense" if filled is None else f"sparse, {filled:.2%} filled",
        "classes": dataset.num_classes, "multilabel": dataset.is_multilabel,
        "regression": dataset.is_regression,
        "train": int(dataset.train_mask.sum()), "val": int(dataset.val_mask.sum()),
        "test": int(dataset.test_mask.sum()), "notes": list(dataset.notes),
    }  # fmt: skip


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}" if math.isfinite(value) else "-"
    if isinstance(value, list):
        return "; ".join(value) or "-"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _convert(options: argparse.Namespace, output: Output) -> dict[str, Any]:
    kind, _, argument = canonical(options.spec).partition(":")
    with output.working():
        in_place = kind == "synthetic" and options.out.suffix != ".npz" and not chosen(options)
        if in_place and not recipe(argument).directed:
            # Too large to hold, perhaps: made in place.
            write_npy(argument, options.out, overwrite=options.overwrite)
        else:
            save(_loaded(options), options.out, overwrite=options.overwrite)
    output.say(f"wrote {options.out}")
    return {"out": str(options.out)}
