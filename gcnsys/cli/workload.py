"""From what a person names (a dataset, counts, a run, a polarized graph) to an accelerator's work."""

import argparse
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gcnsys.accel import Blocks, IslandTasks, Structure, WeightGroups, Work, counts, model_work
from gcnsys.accel.structure import Kind
from gcnsys.datasets import Dataset, load
from gcnsys.errors import InputError
from gcnsys.graph import CSR, Graph, Layout
from gcnsys.islands import disk, locate, windows
from gcnsys.kernels import LocalBlock, SparseRows
from gcnsys.nn.stack import GNN
from gcnsys.polarize import disk as polarized
from gcnsys.search.layouts import blocks_of, island_tasks
from gcnsys.search.space import GROUP
from gcnsys.train.folder import CONFIG
from gcnsys.train.source import is_partitioning
from gcnsys.train.trained import TrainedRun

COUNTS = "counts:"
KINDS: tuple[Kind, ...] = ("gcn", "sage", "gin")


def work_of(options: argparse.Namespace) -> Work:
    """The work that the options of ``gcnsys estimate`` ask for.

    Raises:
        InputError: it cannot be known.
    """
    spec: str = options.spec
    if spec.startswith(COUNTS):
        for flag in ("islands", "blocks"):
            if getattr(options, flag) is not None:
                raise InputError(f"--{flag} needs the graph itself; {spec} is known by its counts alone")
        graph = counts(spec.removeprefix(COUNTS))
        return graph.work(
            spec.removeprefix(COUNTS), hidden=options.hidden, layers=options.layers or 2,
            kind=options.model or "gcn", hidden_density=options.density, training=options.training,
            bits=options.bits, weight_groups=_groups(options),
        )  # fmt: skip
    if (Path(spec) / CONFIG).is_file():
        return _of_run(Path(spec), options)
    saved = polarized.load(Path(spec)) if (Path(spec) / polarized.FILE).is_file() else None
    dataset = load(spec if saved is None else f"npz:{Path(spec) / polarized.DATASET}")
    kind: Kind = options.model or "gcn"
    widths = [
        dataset.num_features,
        *[options.hidden or 16] * ((options.layers or 2) - 1),
        dataset.num_classes,
    ]
    density = 1.0 if options.density is None else options.density
    return model_work(
        dataset.name, _structure(dataset.graph, kind, options, saved), widths, dataset.x, kind=kind,
        hidden_density=density, training=options.training, bits=options.bits,
        weight_groups=_groups(options),
    )  # fmt: skip


def _groups(options: argparse.Namespace) -> WeightGroups | None:
    """The pattern of weights that are not zero."""
    if options.kept in (None, GROUP):
        return None
    if not 1 <= options.kept <= GROUP:
        raise InputError(f"--kept {options.kept}: of each {GROUP} weights, 1 to {GROUP} are kept")
    return WeightGroups(GROUP, options.kept)


def _of_run(folder: Path, options: argparse.Namespace) -> Work:
    """A trained model on its graph, the zeros of its hidden rows and weights counted."""
    for flag in ("hidden", "layers", "model", "density", "kept"):
        if getattr(options, flag) is not None:
            raise InputError(f"--{flag} says what {folder} says already; drop it, or name the dataset")
    run = TrainedRun.open(folder)
    config = run.config
    if config.model not in KINDS or config.linear_layers or run.links:
        raise InputError(
            f"{folder}: a stack of {', '.join(KINDS)} layers can be estimated, not "
            f"{config.model}{' with linear layers' if config.linear_layers else ''}"
            f"{' for links' if run.links else ''}"
        )
    data = options.data or config.data
    if is_partitioning(Path(data)):
        raise InputError(
            f"{folder}: was trained on a partitioning; name the dataset it was made of with --data"
        )
    dataset = run.preparation.load(data)
    if dataset.num_features != run.num_features:
        raise InputError(
            f"{data} has {dataset.num_features} features, {folder} was trained on {run.num_features}"
        )
    model = run.model()
    assert isinstance(model, GNN)
    shares = _hidden_density(model, dataset)
    widths = [run.num_features, *[config.hidden] * (config.layers - 1), run.num_classes]
    kind: Kind = config.model
    work = model_work(
        f"{dataset.name}, {config.model} of {folder.name}", _structure(dataset.graph, kind, options), widths,
        dataset.x, kind=kind, hidden_density=shares, training=options.training, bits=options.bits,
    )  # fmt: skip
    layers = tuple(
        replace(layer, weight_density=_weight_density(conv))
        for layer, conv in zip(work.layers, model.convs, strict=True)
    )
    return replace(work, layers=layers)


@torch.no_grad()
def _hidden_density(model: GNN, dataset: Dataset) -> list[float]:
    """The share of each hidden layer's inputs that is not zero."""
    shares: list[float] = []

    def note(_: nn.Module, arguments: Sequence[Any]) -> None:
        rows: Tensor = arguments[1]
        shares.append(float(torch.count_nonzero(rows)) / max(1, rows.numel()))

    hooks = [conv.register_forward_pre_hook(note) for conv in model.convs[1:]]
    x = SparseRows.from_csr(dataset.x) if isinstance(dataset.x, CSR) else dataset.x
    dtype = next(model.parameters()).dtype
    model((LocalBlock.from_graph(dataset.graph),) * model.num_blocks, x.to(dtype))
    for hook in hooks:
        hook.remove()
    return shares


def _weight_density(conv: nn.Module) -> float:
    weights = [weight for weight in conv.parameters() if weight.ndim == 2]
    return sum(int(torch.count_nonzero(weight)) for weight in weights) / sum(
        weight.numel() for weight in weights
    )


def _structure(
    graph: Graph, kind: Kind, options: argparse.Namespace, saved: polarized.Saved | None = None
) -> Structure:
    if saved is not None and options.blocks is not None:
        raise InputError(f"{options.spec} is polarized and says where its blocks are; drop --blocks")
    blocks = None if options.blocks is None else read_blocks(options.blocks, graph.num_nodes)
    if saved is not None:
        blocks = blocks_of(saved.division, in_order=True)
    return Structure.of(graph, blocks, _islands(graph, options.islands), kind=kind)


def _islands(graph: Graph, given: str | None) -> IslandTasks | None:
    """From a folder of ``gcnsys islandize``, or found now."""
    if given is None:
        return None
    if given == "find":
        islands = locate(graph)
        return island_tasks(islands, windows.exact(islands))
    saved = disk.load(Path(given))
    if saved.islands.graph.num_nodes != graph.num_nodes:
        raise InputError(
            f"{given}: islands of {saved.islands.graph.num_nodes} nodes, the graph has {graph.num_nodes}"
        )
    return island_tasks(saved.islands, saved.plan)


def read_blocks(path: Path, num_nodes: int) -> Blocks:
    """Blocks from an ``.npz`` file: ``order`` [N], ``group_ptr`` [B + 1], ``class_of`` and ``group_of`` [B].

    Raises:
        InputError: it is no such file, or of another graph.
    """
    names = ("order", "group_ptr", "class_of", "group_of")
    try:
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            arrays = {name: torch.from_numpy(file[name].astype(np.int64)) for name in names}
    except KeyError as error:
        raise InputError(f"{path}: has no array {error}; blocks need {', '.join(names)}") from error
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path}: cannot be read as blocks ({error}); give an .npz file of arrays"
        ) from error
    try:
        blocks = Blocks(Layout(arrays["order"], arrays["group_ptr"]), arrays["class_of"], arrays["group_of"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if blocks.layout.order.numel() != num_nodes:
        raise InputError(f"{path}: blocks of {blocks.layout.order.numel()} nodes, the graph has {num_nodes}")
    return blocks
