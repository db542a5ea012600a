"""What a model asks of an accelerator: products of layers, with the zeros that are in them.

A layer multiplies rows by weights (combination) and adds up neighbours (aggregation). Which comes first is
the accelerator's choice, so that a :class:`Work` says what a layer is and :meth:`Work.steps` what it takes in
an order. Training adds the steps back through the layers and the update of the weights.

Letters: N nodes, F and C the widths of a layer's inputs and outputs, nnz entries that are not zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from gcnsys.accel.step import Layer, Product, Step, WeightGroups
from gcnsys.accel.structure import Counts, Kind, Structure
from gcnsys.errors import InputError
from gcnsys.graph import CSR

Order = Literal["xw", "ax", "narrower"]


@dataclass(frozen=True, eq=False, slots=True)
class Work:
    """A model on a graph.

    Attributes:
        name: for people.
        structure: the graph.
        layers: of the model, first to last.
        training: an epoch, forth, back and the update; else one inference.
        bits: of a value; None: what the accelerator has.
    """

    name: str
    structure: Structure
    layers: tuple[Layer, ...]
    training: bool = False
    bits: int | None = None

    def __post_init__(self) -> None:
        if not self.layers:
            raise InputError(f"{self.name}: a model needs a layer")
        for before, after in zip(self.layers[:-1], self.layers[1:], strict=True):
            if before.outputs != after.inputs:
                raise InputError(
                    f"{self.name}: a layer gives {before.outputs} columns, the next one reads {after.inputs}"
                )
        if self.bits is not None and not 1 <= self.bits <= 64:
            raise InputError(f"{self.name}: a value has 1 to 64 bits, got {self.bits}")

    def steps(self, order: Order = "xw") -> list[Step]:
        """What is computed in an order; with training, back from the last layer to the first as well."""
        forth = [self._forth(number, order) for number in range(len(self.layers))]
        if not self.training:
            return forth
        return forth + [self._back(number, order) for number in reversed(range(len(self.layers)))]

    def macs(self, order: Order = "xw") -> float:
        """Multiply-accumulates of all steps."""
        return sum(step.macs for step in self.steps(order))

    @property
    def update(self) -> float:
        """Weights that training updates."""
        steps = (self._forth(number, "xw") for number in range(len(self.layers)))
        return float(sum(product.inner * product.columns for step in steps for product in step.products))

    def narrowed(self, entries: int) -> "Work":
        """The same work with fewer entries in the matrix, known by their count alone."""
        return replace(self, structure=Structure(self.structure.num_nodes, entries))

    def _aggregates_first(self, layer: Layer, order: Order) -> bool:
        return order == "ax" or (order == "narrower" and layer.inputs < layer.outputs)

    def _forth(self, number: int, order: Order) -> Step:
        layer, nodes = self.layers[number], self.structure.num_nodes
        dense = float(nodes * layer.inputs)
        first = self._aggregates_first(layer, order)
        own = Product(
            layer.nonzeros, dense, layer.inputs, layer.outputs, layer.row_nonzeros, layer.weight_density,
            layer.weight_groups,
        )  # fmt: skip
        summed = replace(own, nonzeros=self.filled(layer), row_nonzeros=None) if first else own
        products = [summed]
        if layer.kind == "sage":
            products.append(own)
        if layer.kind == "gin":
            full = float(nodes * layer.outputs)
            products.append(replace(own, nonzeros=full, dense=full, inner=layer.outputs, row_nonzeros=None))
        return Step(
            f"layer {number + 1}", tuple(products), layer.inputs if first else layer.outputs, layer.inputs,
            layer.outputs, layer.nonzeros, number == 0, number == len(self.layers) - 1,
            self.structure.entries,
        )  # fmt: skip

    def _back(self, number: int, order: Order) -> Step:
        """Gradients of weights, and of inputs but those of the first layer; the transpose aggregates.

        Where the first layer aggregates first, its sums are constant and nothing is aggregated backwards.
        """
        layer, nodes = self.layers[number], self.structure.num_nodes
        first = self._aggregates_first(layer, order)
        forth = self._forth(number, order)
        # Gradients of weights: the rows' transpose times gradients, as many products as forth.
        # Those of weights that are zero are made as well: they may grow.
        products = [replace(product, row_nonzeros=None, weight_groups=None) for product in forth.products]
        if number > 0:
            full = float(nodes * layer.outputs)
            products += [
                Product(full, full, layer.outputs, product.inner, None, layer.weight_density)
                for product in forth.products
            ]
        width = 0 if first and number == 0 else forth.width
        return Step(
            f"layer {number + 1} back", tuple(products), width, layer.outputs, layer.inputs,
            float(nodes * layer.outputs), False, number == 0, self.structure.entries, True,
        )  # fmt: skip

    def filled(self, layer: Layer) -> float:
        """Entries of ``A X`` that are expected not to be zero, each column of X filled at random alike."""
        nodes, share = self.structure.num_nodes, layer.nonzeros / (self.structure.num_nodes * layer.inputs)
        rows = self.structure.row_entries
        if share >= 1:
            return float(nodes * layer.inputs)
        if rows is None:
            return float(nodes * layer.inputs * (1 - (1 - share) ** (self.structure.entries / nodes)))
        return float(layer.inputs * (1 - (1 - share) ** rows.astype(float)).sum())


def model_work(
    name: str, structure: Structure, widths: Sequence[int], x: Tensor | CSR | float | None = None, *,
    kind: Kind = "gcn", hidden_density: float | Sequence[float] = 1.0, training: bool = False,
    bits: int | None = None, weight_groups: WeightGroups | None = None,
) -> Work:  # fmt: skip
    """The work of a stack of layers.

    Args:
        name: for people.
        structure: the graph.
        widths: of features, between layers, of results.
        x: features, of which zeros are counted; or the share of them that is not zero; None: all.
        kind: of all layers.
        hidden_density: the share of hidden rows that is not zero, one for all or one each.
        training: see :class:`Work`.
        bits: see :class:`Work`.
        weight_groups: of all layers; None: no weight is zero.

    Raises:
        InputError: widths, shares or kinds make no model.
    """
    if len(widths) < 2:
        raise InputError(f"{name}: a model needs the widths of its inputs and outputs, got {list(widths)}")
    hidden = len(widths) - 2
    shares = [hidden_density] * hidden if isinstance(hidden_density, int | float) else list(hidden_density)
    if len(shares) != hidden or any(not 0 <= share <= 1 for share in shares):
        raise InputError(f"{name}: needs a share in [0, 1] for each of {hidden} hidden layers, got {shares}")
    nodes = structure.num_nodes
    given, rows = _nonzeros(name, x, nodes, widths[0])
    nonzeros = [given, *(share * nodes * width for share, width in zip(shares, widths[1:-1], strict=True))]
    layers = tuple(
        Layer(
            kind, before, after, count, rows if number == 0 else None,
            1.0 if weight_groups is None else weight_groups.columns(after) / after, weight_groups,
        )
        for number, (before, after, count) in enumerate(zip(widths[:-1], widths[1:], nonzeros, strict=True))
    )  # fmt: skip
    return Work(name, structure, layers, training, bits)


def _nonzeros(
    name: str, x: Tensor | CSR | float | None, nodes: int, width: int
) -> tuple[float, Counts | None]:
    if x is None or isinstance(x, int | float):
        share = 1.0 if x is None else float(x)
        if not 0 <= share <= 1:
            raise InputError(f"{name}: a share of features lies in [0, 1], got {share}")
        return share * nodes * width, None
    shape = (x.num_rows, x.num_cols) if isinstance(x, CSR) else tuple(x.shape)
    if shape != (nodes, width):
        raise InputError(f"{name}: features must be [{nodes}, {width}], got {list(shape)}")
    rows = x.indptr.diff() if isinstance(x, CSR) else torch.count_nonzero(x, dim=1)
    counts: Counts = rows.to(torch.int64).numpy()
    return float(counts.sum()), counts
