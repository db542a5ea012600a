"""All parts of a dataset in memory, for tests and for graphs that fit one process."""

import torch
from torch import Tensor

from gcnsys.datasets.dataset import Dataset
from gcnsys.graph import CSR
from gcnsys.kernels import SparseRows
from gcnsys.partition.order import Ordered
from gcnsys.partition.part import NodeData, Part, induced
from gcnsys.partition.pieces import Pieces


def cut_dataset(
    dataset: Dataset, assignment: Tensor, num_parts: int | None = None, *,
    inductive: bool = False, order: Ordered = "natural",
) -> list[Part]:  # fmt: skip
    """Cut a dataset by an assignment; the same parts that a partitioning on disk holds.

    Args:
        dataset: of N nodes.
        assignment: ``[N]`` integers, the part of every node, from 0.
        num_parts: P; None: as many as the assignment names.
        inductive: parts hold the subgraph of training nodes besides, to train on.
        order: of each part's nodes; changes no result.

    Raises:
        InputError: the assignment does not fit the graph or P.
    """
    count = num_parts if num_parts is not None else int(assignment.max()) + 1
    train_mask = dataset.train_mask if inductive else None
    pieces = Pieces(dataset.graph, assignment, count, train_mask, order=order)
    made = list(pieces)
    links = [None] * count if dataset.held_out is None else pieces.over(dataset.held_out).parts()
    parts = []
    for piece in made:
        plan, sent, sent_edges = pieces.plan(piece.rank, [other.boundary for other in made])
        whole = pieces.part_graph(piece, plan)
        training, rows = whole, None
        if inductive:
            cut = pieces.training_cut(piece, sent, sent_edges)
            training, rows = induced(whole, cut), torch.nonzero(cut.inner).flatten()
        parts.append(Part(whole, training, rows, _node_data(dataset, piece.inner_ids), links[piece.rank]))
    return parts


def _node_data(dataset: Dataset, ids: Tensor) -> NodeData:
    x = dataset.x
    rows = SparseRows.from_csr(x.take_rows(ids)) if isinstance(x, CSR) else x[ids]
    kinds = None if dataset.node_type is None else dataset.node_type[ids]
    masks = dataset.train_mask[ids], dataset.val_mask[ids], dataset.test_mask[ids]
    return NodeData(rows, dataset.y[ids], *masks, kinds)
