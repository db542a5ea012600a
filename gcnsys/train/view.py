"""What a model runs on: a rank's share of one graph, ready for the device."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.kernels import Block, SparseRows
from gcnsys.nn import GNN, first_hop
from gcnsys.nn.dropout import Inputs
from gcnsys.partition import Part
from gcnsys.runtime import Comm, PartBlock

FirstHopChoice = Literal["auto", "on", "off"]


@dataclass(frozen=True, eq=False, slots=True)
class View:
    """A graph as one rank sees it.

    Attributes:
        blocks: one a convolution.
        inputs: what the first layer reads.
        y: ``[n]`` or ``[n, C]`` targets of the inner rows.
        rows: for each of ``train, val, test``, the inner rows under that mask.
    """

    blocks: tuple[Block, ...]
    inputs: Inputs
    y: Tensor
    rows: dict[str, Tensor]


def precomputes(choice: FirstHopChoice, *, sparse: bool) -> bool:
    """Whether the first hop is precomputed: ``auto`` means for dense features.

    Raises:
        InputError: ``on`` for sparse features, which would fill in.
    """
    if choice == "on" and sparse:
        raise InputError("first_hop = on would make sparse features dense; use off or auto")
    return choice == "on" or (choice == "auto" and not sparse)


def views(
    part: Part, model: GNN, comm: Comm, *, choice: FirstHopChoice, device: torch.device, dtype: torch.dtype
) -> tuple[View, View]:
    """The view that is trained on and the one that is evaluated; the same one if transductive.

    Collective: precomputing the first hop exchanges the halo once for each of the two graphs.
    """
    with comm.agreed():
        on = precomputes(choice, sparse=isinstance(part.nodes.x, SparseRows))
    whole = PartBlock(part.whole, comm, device)
    training = whole if part.training_rows is None else PartBlock(part.training, comm, device)
    with comm.agreed():  # a degree that is not positive may lie on one rank only
        like = torch.empty(0, dtype=dtype, device=device)
        whole.prepare(model.first.aggregation, like)
        training.prepare(model.first.aggregation, like)
    x = part.nodes.x.to(dtype).to(device)
    y = part.nodes.y.to(device)
    masks = {"train": part.nodes.train_mask, "val": part.nodes.val_mask, "test": part.nodes.test_mask}
    rows = {name: torch.nonzero(mask).flatten().to(device) for name, mask in masks.items()}
    evaluation = View((whole,) * model.num_blocks, _inputs(whole, model, x, on=on), y, rows)
    if part.training_rows is None:
        return evaluation, evaluation
    taken = _taken(part.nodes.x, part.training_rows).to(dtype).to(device)
    # Induced on training nodes, every inner row is one.
    everyone = {"train": torch.arange(part.training_rows.numel(), device=device)}
    inputs = _inputs(training, model, taken, on=on)
    return View(
        (training,) * model.num_blocks, inputs, y[part.training_rows.to(device)], everyone
    ), evaluation


def _inputs(block: PartBlock, model: GNN, x: Tensor | SparseRows, *, on: bool) -> Inputs:
    if not on or isinstance(x, SparseRows):
        return x
    conv = model.first
    return first_hop(block, conv.aggregation, x, needs_own=conv.needs_own)


def _taken(x: Tensor | SparseRows, rows: Tensor) -> Tensor | SparseRows:
    return x.take_rows(rows) if isinstance(x, SparseRows) else x[rows]
