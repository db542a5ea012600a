"""What a model runs on: a rank's share of one graph, ready for the device.

Where a model works row by row, a view is pruned to the receptive field of the rows that are looked
at: training nodes for training, all nodes under a mask for evaluation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.kernels import Block, SparseRows
from gcnsys.nn import FirstHop, Model
from gcnsys.nn.dropout import Inputs
from gcnsys.nn.model import readable
from gcnsys.partition import NodeData, Part, PartGraph
from gcnsys.partition.layers import Need, layer_graphs
from gcnsys.runtime import Comm, PartBlock
from gcnsys.runtime.choices import Choices
from gcnsys.runtime.crossing import Drawer, agree_on_draws
from gcnsys.runtime.exchange import Exchange
from gcnsys.runtime.receptive_field import ReceptiveField, receptive_field
from gcnsys.runtime.rows import Occasion
from gcnsys.train.links import Links

FirstHopChoice = Literal["auto", "on", "off"]
PruneChoice = Literal["auto", "on", "off"]

WORTHWHILE = 0.25
"""The share of all layers' rows from which leaving them out is worth reordering the part."""


@dataclass(frozen=True, eq=False, slots=True)
class View:
    """A graph as one rank sees it. Letters: D inner rows that the last convolution computes.

    Attributes:
        blocks: one a convolution.
        inputs: what the first layer reads.
        y: ``[D]`` or ``[D, C]`` targets.
        rows: for each of ``train, val, test``, which of the D rows are under that mask.
        links: what is known of links, where they are what is learnt; the D rows are then all of the part's.
    """

    blocks: tuple[Block, ...]
    inputs: Inputs
    y: Tensor
    rows: dict[str, Tensor]
    links: Links | None = None

    @property
    def ids(self) -> Tensor:
        """``[D]`` int64 global ids of the rows that come out; in the part's order where nothing is pruned."""
        return self.blocks[-1].output_ids

    @property
    def stored(self) -> torch.dtype:
        """The type of rows between layers."""
        inputs = self.inputs
        if isinstance(inputs, FirstHop):
            return inputs.neighbours.dtype
        return inputs.values.dtype if isinstance(inputs, SparseRows) else inputs.dtype

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """What boundary rows go through, one a convolution."""
        return tuple(block.exchange for block in self.blocks if isinstance(block, PartBlock))

    def numbered(self) -> "View":
        """The same view, its blocks saying to a profiler which aggregation they are for."""
        blocks = (
            block.numbered(layer) if isinstance(block, PartBlock) else block
            for layer, block in enumerate(self.blocks)
        )
        return replace(self, blocks=tuple(blocks))

    @property
    def num_rows(self) -> tuple[int, ...]:
        """How many inner rows each convolution computes."""
        return tuple(block.output_ids.numel() for block in self.blocks)


def precomputes(choice: FirstHopChoice, *, sparse: bool, sums: bool) -> bool:
    """Whether the first hop is precomputed: ``auto`` means for dense features that are only summed.

    Args:
        choice: the configuration's.
        sparse: the features are.
        sums: all that the first layer needs of neighbours is a sum.

    Raises:
        InputError: ``on`` for sparse features, which would fill in, or for a layer that looks at every edge.
    """
    if choice == "on" and sparse:
        raise InputError("first_hop = on would make sparse features dense; use off or auto")
    if choice == "on" and not sums:
        raise InputError(
            "first_hop = on needs a first layer that sums, which attention does not; use off or auto"
        )
    return choice == "on" or (choice == "auto" and not sparse and sums)


def prunes(choice: PruneChoice, model: Model) -> bool:
    """Whether rows may be left out at all: ``auto`` means where the model works row by row.

    Raises:
        InputError: ``on`` for a model that does not.
    """
    if choice == "on" and not model.row_wise:
        raise InputError(
            "prune = on needs layers and norms that work row by row, which batch norm does not; "
            "use auto or off"
        )
    return choice != "off" and model.row_wise


def views(
    part: Part, model: Model, comm: Comm, *, choice: FirstHopChoice, prune: PruneChoice = "auto",
    choices: Choices | None = None, device: torch.device, dtype: torch.dtype,
) -> tuple[View, View]:  # fmt: skip
    """The view that is trained on and the one that is evaluated; the same one where nothing differs.

    Collective: receptive fields are found together, precomputing the first hop exchanges the halo once
    for each of the two, and ranks compare what they draw. Evaluation is exact however rows cross in
    training.

    Args:
        part: this rank's.
        model: what will compute on them.
        comm: the ranks.
        choice: whether constant inputs are aggregated once.
        prune: whether rows are left out that nothing depends on.
        choices: how boundary rows cross in training; None: exactly.
        device: of rows and blocks.
        dtype: of rows.

    Raises:
        InputError: a choice that this model or graph does not admit.
    """
    choices = choices or Choices()
    training, evaluation = _exact_views(part, model, comm, choice, prune, device, dtype)
    if choices.exact and choices.schedule == "sync":
        return training, evaluation
    return crossing(training, comm, choices, device=device, keep=model.recompute), evaluation


def whole_view(
    part: Part, model: Model, comm: Comm, *, choice: FirstHopChoice, device: torch.device, dtype: torch.dtype
) -> View:
    """The view of all rows of a part; collective."""
    make = _Maker.of(part.nodes, model, comm, choice, device, dtype)
    return make.unpruned(make.ready(part.whole), part.nodes)


def evaluation_view(
    part: Part, model: Model, comm: Comm, *, choice: FirstHopChoice, prune: PruneChoice = "auto",
    device: torch.device, dtype: torch.dtype,
) -> View:  # fmt: skip
    """The view of nodes under a mask, where another than that of :func:`views` is trained on; collective."""
    make = _Maker.of(part.nodes, model, comm, choice, device, dtype)
    with comm.agreed():
        may_prune = prunes(prune, model)
    whole = make.ready(part.whole)
    scored = make.field(part.whole, part.nodes.scored, prune) if may_prune else None
    return make.pruned(part.whole, part.nodes, scored) if scored else make.unpruned(whole, part.nodes)


def crossing(
    view: View, comm: Comm, choices: Choices, *, device: torch.device, keep: bool, agree: bool = True
) -> View:
    """A view whose boundary rows cross as chosen; collective.

    Args:
        view: any.
        comm: the ranks.
        choices: how rows cross.
        device: of the rows.
        keep: layers are computed again in backward.
        agree: compare what the ranks draw; not where there is only one of several.
    """
    if choices.pipelined:
        comm.separate_halo()
    drawers: list[Drawer] = []
    anew: list[bool] = []
    blocks: list[Block] = []
    with comm.agreed():
        sampler = choices.sampler()
        for layer, block in enumerate(view.blocks):
            assert isinstance(block, PartBlock)
            # Where a rank needs the same of two layers, it makes one draw for both.
            again = layer > 0 and drawers[-1].graph is block.graph
            drawer = drawers[-1] if again else Drawer(block.graph, choices.rows, sampler, device)
            drawers.append(drawer)
            anew.append(not again or choices.draws_per == "layer")
            exchange = Exchange(
                block.graph, comm, choices, drawer=drawer, layer=layer, device=device, keep=keep
            )
            blocks.append(block.through(exchange))
    if agree and sampler is not None:
        # What one rank draws anew for a layer, others may have drawn before.
        layers = torch.nonzero(comm.greatest(torch.tensor(anew).int())).flatten().tolist()
        looked_at = [
            (drawers[layer], Occasion(choices.seed, epoch, layer if choices.draws_per == "layer" else 0))
            for layer in layers
            for epoch in range(3)
        ]
        agree_on_draws(looked_at, comm)
    return replace(view, blocks=tuple(blocks))


def _exact_views(
    part: Part, model: Model, comm: Comm, choice: FirstHopChoice, prune: PruneChoice, device: torch.device,
    dtype: torch.dtype,
) -> tuple[View, View]:  # fmt: skip
    nodes = part.nodes
    make = _Maker.of(nodes, model, comm, choice, device, dtype)
    with comm.agreed():
        may_prune = prunes(prune, model)
    whole = make.ready(part.whole)
    training = whole if part.training_rows is None else make.ready(part.training)
    scored = make.field(part.whole, nodes.scored, prune) if may_prune else None
    trained = make.field(part.whole, nodes.train_mask, prune) if may_prune and training is whole else None
    if trained is not None and scored is None:
        return make.pruned_beside_whole(part.whole, nodes, trained)
    evaluation = make.pruned(part.whole, nodes, scored) if scored else make.unpruned(whole, nodes)
    if part.training_rows is not None:  # induced on training nodes: all of them are looked at
        return make.unpruned(training, nodes.take(part.training_rows)), evaluation
    return make.pruned(part.whole, nodes, trained) if trained else evaluation, evaluation


@dataclass(frozen=True, slots=True)
class _Maker:
    """What making a view takes besides a graph."""

    model: Model
    comm: Comm
    device: torch.device
    dtype: torch.dtype
    precomputed: bool

    @classmethod
    def of(
        cls, nodes: NodeData, model: Model, comm: Comm, choice: FirstHopChoice, device: torch.device,
        dtype: torch.dtype,
    ) -> "_Maker":  # fmt: skip
        """What makes views of these nodes; collective."""
        with comm.agreed():
            sparse = isinstance(nodes.x, SparseRows)
            on = precomputes(choice, sparse=sparse, sums=model.ready_hops > 0)
        return cls(model, comm, device, dtype, on)

    def ready(self, graph: PartGraph) -> PartBlock:
        """A block whose edges are weighted for the first layer; collective."""
        block = self.block(graph)
        with self.comm.agreed():  # a degree that is not positive may lie on one rank only
            if self.model.aggregation is not None:
                block.prepare(self.model.aggregation, torch.empty(0, dtype=self.dtype, device=self.device))
        return block

    def block(self, graph: PartGraph) -> PartBlock:
        """A part's edges between this rank's rows and the others'."""
        return PartBlock(graph, self.comm, self.device)

    def field(self, part: PartGraph, wanted: Tensor, prune: PruneChoice) -> ReceptiveField | None:
        """The receptive field of some rows, if it is worth pruning to."""
        left_out = torch.tensor([wanted.numel() - int(wanted.sum())])
        if not int(self.comm.add(left_out, "control")):
            return None
        field = receptive_field(part, wanted, self.model.num_blocks, self.comm)
        least = WORTHWHILE if prune == "auto" else 0.0
        return field if field.saved > least else None

    def unpruned(self, block: PartBlock, nodes: NodeData) -> View:
        """The view of all rows."""
        return self.view([block] * self.model.num_blocks, nodes)

    def pruned(self, part: PartGraph, nodes: NodeData, field: ReceptiveField) -> View:
        """The view of the rows in a receptive field."""
        blocks = self._blocks(layer_graphs(part, field.order, field.needs))
        return self.view(blocks, nodes.take(field.order[: field.needs[0].num_sources]))

    def pruned_beside_whole(
        self, part: PartGraph, nodes: NodeData, field: ReceptiveField
    ) -> tuple[View, View]:
        """A pruned view and one of all rows, in one order, so that they share edges and inputs."""
        graphs = layer_graphs(part, field.order, (Need.all_of(part), *field.needs))
        everything, *blocks = self._blocks(graphs)
        nodes = nodes.take(field.order)
        whole = self.unpruned(everything, nodes)
        return self.view(blocks, nodes, self._first(whole.inputs, nodes, blocks)), whole

    def view(self, blocks: Sequence[PartBlock], nodes: NodeData, inputs: Inputs | None = None) -> View:
        """A view from its blocks.

        Args:
            blocks: one a convolution.
            nodes: of all rows that the first block reads, and perhaps more.
            inputs: None: made from the features of ``nodes``.
        """
        if nodes.kinds is not None:
            for block in blocks:
                block.input_kinds = nodes.kinds[: block.input_ids.numel()].to(self.device)
        if inputs is None:
            inputs = self._inputs(blocks, nodes.x.to(self.dtype).to(self.device))
        last = blocks[-1].output_ids.numel()
        masks = {"train": nodes.train_mask, "val": nodes.val_mask, "test": nodes.test_mask}
        rows = {name: torch.nonzero(mask[:last]).flatten().to(self.device) for name, mask in masks.items()}
        return View(tuple(blocks), inputs, nodes.y[:last].to(self.device), rows)

    def _blocks(self, graphs: Sequence[PartGraph]) -> list[PartBlock]:
        made: list[PartBlock] = []
        for graph in graphs:
            again = made and made[-1].graph is graph
            made.append(made[-1] if again else self.block(graph))
        return made

    def _inputs(self, blocks: Sequence[PartBlock], x: Tensor | SparseRows) -> Inputs:
        if not self.precomputed or isinstance(x, SparseRows):
            return readable(self.model, x)
        return self.model.precompute(blocks, x)

    def _first(self, inputs: Inputs, nodes: NodeData, blocks: Sequence[PartBlock]) -> Inputs:
        """Those of a view's inputs that blocks need, which come first; shares their memory if dense."""
        if isinstance(inputs, FirstHop):
            return inputs.head(blocks[self.model.ready_hops - 1].output_ids.numel())
        rows = blocks[0].input_ids.numel()
        if isinstance(inputs, Tensor):
            return inputs[:rows]
        if rows == inputs.shape[0]:
            return inputs
        return nodes.take(torch.arange(rows)).x.to(self.dtype).to(self.device)
