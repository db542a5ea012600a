"""Graph -> partitioning on disk, one part after the other."""

import hashlib
import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gcnsys import __version__
from gcnsys.datasets.arrays import MASKS
from gcnsys.datasets.dataset import Dataset, num_kinds
from gcnsys.datasets.held_out import TEST, VALIDATION
from gcnsys.files import CHUNK, Entry, new_folder, save_arrays
from gcnsys.graph import CSR, Graph
from gcnsys.manifest import NAME, FileEntry
from gcnsys.partition.assign import Balance, Objective, Request, assign, load_of
from gcnsys.partition.disk import (
    EXCHANGE,
    GRAPH,
    LINKS,
    NODES,
    Partitioning,
    exchange_arrays,
    graph_arrays,
    link_arrays,
    node_arrays,
    part_folder,
)  # fmt: skip
from gcnsys.partition.manifest import Manifest, PartSummary
from gcnsys.partition.order import Order, resolved
from gcnsys.partition.part import ExchangePlan
from gcnsys.partition.pieces import Piece, Pieces

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cutting:
    """How a graph is cut.

    Attributes:
        num_parts: P.
        method: a partition method's name, or ``file:PATH``.
        objective: what METIS minimizes.
        balance: what is balanced; None: training nodes if inductive, else all nodes.
        inductive: train on the subgraph of training nodes.
        order: of each part's inner nodes.
        seed: of the method and of the order.
    """

    num_parts: int
    method: str = "metis"
    objective: Objective = "volume"
    balance: Balance | None = None
    inductive: bool = False
    order: Order = "auto"
    seed: int = 0

    @property
    def balanced(self) -> Balance:
        return self.balance or ("train" if self.inductive else "nodes")


def graph_digest(graph: Graph) -> str:
    """A digest of a graph's edges and of what is known of them."""
    adjacency = graph.adjacency
    columns = [adjacency.columns[name] for name in sorted(adjacency.columns)]
    return _digest(adjacency.indptr, adjacency.indices, adjacency.weight, *columns)


def node_digest(dataset: Dataset) -> str:
    """A digest of what is known of the nodes: features, labels, masks."""
    x = (
        (dataset.x.indptr, dataset.x.indices, dataset.x.weight)
        if isinstance(dataset.x, CSR)
        else (dataset.x,)
    )
    masks = (getattr(dataset, name) for name in MASKS)
    links: tuple[Tensor, ...] = ()
    if dataset.held_out is not None:
        links = dataset.held_out.adjacency.indptr, dataset.held_out.adjacency.indices
    return _digest(*x, dataset.y, *masks, dataset.node_type, *links)


def _digest(*tensors: Tensor | None) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        if tensor is not None:
            content = tensor.contiguous().numpy().reshape(-1).view(np.uint8).data
            for start in range(0, len(content), CHUNK):
                digest.update(content[start : start + CHUNK])
    return digest.hexdigest()[:16]


def build(
    dataset: Dataset, cutting: Cutting, folder: Path, *, spec: str = "", overwrite: bool = False
) -> Partitioning:
    """Cut a dataset and write the partitioning, whole or not at all.

    Args:
        dataset: what to cut.
        cutting: how.
        folder: where to; must not exist unless ``overwrite``.
        spec: what the dataset was loaded by, for the record.
        overwrite: replace what is there.

    Raises:
        InputError: the graph cannot be cut like this, or the folder exists.
    """
    with new_folder(folder, holding=NAME, overwrite=overwrite) as temporary:
        began = time.perf_counter()
        load = load_of(dataset.graph, cutting.balanced, dataset.train_mask)
        request = Request(cutting.num_parts, cutting.objective, load, cutting.seed)
        log.info("cutting %s nodes, %s edges with %s",
                 f"{dataset.graph.num_nodes:,}", f"{dataset.graph.num_edges:,}", cutting.method)  # fmt: skip
        assignment = assign(dataset.graph, cutting.method, request)
        seconds = {"cut": time.perf_counter() - began}
        began = time.perf_counter()
        writer = _Writer(temporary, dataset, assignment, cutting)
        seconds["order"] = time.perf_counter() - began
        began = time.perf_counter()
        writer.write()
        seconds["write"] = time.perf_counter() - began
        writer.manifest(spec, seconds).write(temporary)
    return Partitioning.open(folder)


class _Writer:
    """Writes parts one at a time; halos stay in memory until every sender knows its lists."""

    def __init__(self, folder: Path, dataset: Dataset, assignment: Tensor, cutting: Cutting) -> None:
        self.folder, self.dataset, self.cutting = folder, dataset, cutting
        train_mask = dataset.train_mask if cutting.inductive else None
        self.order = resolved(cutting.order, dataset.graph.num_nodes, cutting.num_parts)
        log.info("ordering the nodes of each part: %s", self.order)
        self.pieces = Pieces(
            dataset.graph, assignment, cutting.num_parts, train_mask, order=self.order, seed=cutting.seed
        )
        self.masks = {name: getattr(dataset, name) for name in MASKS}
        self.files: dict[str, FileEntry] = {}
        self.parts: list[PartSummary] = []

    def write(self) -> None:
        halos, slim = [], []
        for piece in self.pieces:
            log.info("writing part %d of %d", piece.rank + 1, self.pieces.num_parts)
            halos.append(piece.boundary)
            self._save_piece(piece)
            # Not slices, which would keep all edges alive.
            nothing = CSR(torch.zeros(1, dtype=torch.int64), piece.inner.indices.new_empty(0), 0)
            counts = piece.inner.num_edges, piece.halo.num_edges
            slim.append((replace(piece, inner=nothing, halo=nothing), counts))
        for piece, (inner_edges, halo_edges) in slim:
            plan, sent, sent_edges = self.pieces.plan(piece.rank, halos)
            inductive = self.cutting.inductive
            training = self.pieces.training_cut(piece, sent, sent_edges) if inductive else None
            self._save(piece.rank, EXCHANGE, exchange_arrays(plan, training))
            masks = [int(mask[piece.inner_ids].sum()) for mask in self.masks.values()]
            train_sends = [int(part.sum()) for part in sent.split(list(plan.send_counts))]
            self.parts.append(PartSummary(
                inner=piece.inner_ids.numel(), halo=piece.halo_ids.numel(), boundary=sum(plan.send_counts),
                inner_edges=inner_edges, halo_edges=halo_edges,
                train=masks[0], val=masks[1], test=masks[2],
                sends=list(plan.send_counts), train_sends=train_sends,
            ))  # fmt: skip
        if self.dataset.held_out is not None:
            for part in self.pieces.over(self.dataset.held_out).parts():
                self._save(part.rank, LINKS, link_arrays(part))

    def _save_piece(self, piece: Piece) -> None:
        (self.folder / part_folder(piece.rank)).mkdir()
        empty = piece.inner_ids[:0]
        part = self.pieces.part_graph(piece, _no_plan(piece))
        training = self.pieces.training_cut(piece, empty, empty) if self.cutting.inductive else None
        self._save(piece.rank, GRAPH, graph_arrays(part, training))
        dataset = self.dataset
        self._save(piece.rank, NODES, node_arrays(dataset, piece.inner_ids))

    def _save(self, rank: int, name: str, arrays: dict[str, Tensor]) -> None:
        relative = f"{part_folder(rank)}/{name}"
        entry: Entry = save_arrays(self.folder / relative, arrays)
        self.files[relative] = FileEntry.of(entry)

    def manifest(self, spec: str, seconds: dict[str, float]) -> Manifest:
        dataset, graph = self.dataset, self.dataset.graph
        cut = sum(part.halo_edges for part in self.parts)
        width, edge_kinds, node_kinds = _known(dataset)
        scaling = dataset.scaling
        return Manifest(
            made_by=f"gcnsys {__version__}", dataset=dataset.name, spec=spec or dataset.name,
            graph=graph_digest(graph), nodes=node_digest(dataset), num_nodes=graph.num_nodes,
            num_edges=graph.num_edges, num_parts=self.cutting.num_parts, num_features=dataset.num_features,
            num_classes=dataset.num_classes, num_train=int(dataset.train_mask.sum()),
            num_val=int(dataset.val_mask.sum()), num_test=int(dataset.test_mask.sum()),
            multilabel=dataset.is_multilabel, regression=dataset.is_regression,
            sparse_features=isinstance(dataset.x, CSR),
            weighted=graph.weight is not None, symmetric=graph.is_symmetric,
            edge_features=width, edge_kinds=edge_kinds, node_kinds=node_kinds,
            held_out=_held_out(dataset), inductive=self.cutting.inductive,
            normalization=scaling.how, mean=scaling.mean.tolist(), deviation=scaling.deviation.tolist(),
            mirrored=dataset.mirrored,
            method=self.cutting.method, objective=self.cutting.objective, balance=self.cutting.balanced,
            order=self.order, seed=self.cutting.seed, edge_cut=cut // 2 if graph.is_symmetric else cut,
            volume=sum(part.halo for part in self.parts), seconds=seconds, notes=list(dataset.notes),
            parts=self.parts, files=self.files,
        )  # fmt: skip


def _known(dataset: Dataset) -> tuple[int, int, int]:
    """How wide the features of edges are, and how many kinds of edges and nodes there are; 0: none said."""
    columns = dataset.graph.adjacency.columns
    width = columns["edge_attr"].shape[1] if "edge_attr" in columns else 0
    return width, num_kinds(columns.get("edge_type")), num_kinds(dataset.node_type)


def _held_out(dataset: Dataset) -> tuple[int, int] | None:
    if dataset.held_out is None:
        return None
    kinds = dataset.held_out.adjacency.columns["edge_type"]
    return int((kinds == VALIDATION).sum()), int((kinds == TEST).sum())


def _no_plan(piece: Piece) -> ExchangePlan:
    none = piece.inner_ids[:0]
    return ExchangePlan(none, (), piece.boundary.counts, none)
