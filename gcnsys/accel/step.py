"""What a layer multiplies and adds up, with the zeros that are left out.

Letters: N nodes, F and C the widths of a layer's inputs and outputs, nnz entries that are not zero.
"""

from dataclasses import dataclass
from typing import get_args

from gcnsys.accel.structure import Counts, Kind
from gcnsys.errors import InputError
from gcnsys.registry import unknown


@dataclass(frozen=True, slots=True)
class WeightGroups:
    """Weights that are not zero in a pattern: of each group of outputs side by side, equally many.

    So an accelerator can leave the others out, and its elements still have equally much to do (Mishra et
    al., "Accelerating Sparse Deep Neural Networks", 2021).

    Attributes:
        size: outputs of a group; the last group may be short.
        kept: weights of a group, for each input, that are not zero.
    """

    size: int
    kept: int

    def __post_init__(self) -> None:
        if not 1 <= self.kept <= self.size:
            raise InputError(f"a group of {self.size} weights keeps 1 to {self.size}, got {self.kept}")

    def columns(self, columns: int) -> int:
        """Weights of an input that are not zero."""
        whole, rest = divmod(columns, self.size)
        return whole * self.kept + min(rest, self.kept)


@dataclass(frozen=True, eq=False, slots=True)
class Layer:
    """One layer.

    Attributes:
        kind: gcn; sage, with a product of a node's own row; gin, with a second product.
        inputs, outputs: F, C.
        nonzeros: of the inputs ``[N, F]``.
        row_nonzeros: ``[N]`` of each row of theirs, where they are known.
        weight_density: the share of weights that is not zero.
        weight_groups: the pattern of those, if they have one.
    """

    kind: Kind
    inputs: int
    outputs: int
    nonzeros: float
    row_nonzeros: Counts | None = None
    weight_density: float = 1.0
    weight_groups: WeightGroups | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise unknown("kind of layer", self.kind, get_args(Kind))
        if self.inputs < 1 or self.outputs < 1 or self.nonzeros < 0:
            raise InputError(
                f"a layer needs widths of at least 1 and inputs, got {self.inputs}, {self.outputs} and "
                f"{self.nonzeros:g} that are not zero"
            )
        if not 0 <= self.weight_density <= 1:
            raise InputError(f"a share of weights lies in [0, 1], got {self.weight_density}")


@dataclass(frozen=True, eq=False, slots=True)
class Product:
    """Rows times weights, in which zeros of the rows are left out.

    Attributes:
        nonzeros: of the rows.
        dense: what they would be without zeros: rows times ``inner``.
        inner: columns of the rows.
        columns: of the result.
        row_nonzeros: ``[N]``, where they are known.
        weight_density: the share of weights that is not zero.
        weight_groups: the pattern of those, if they have one.
    """

    nonzeros: float
    dense: float
    inner: int
    columns: int
    row_nonzeros: Counts | None = None
    weight_density: float = 1.0
    weight_groups: WeightGroups | None = None

    @property
    def macs(self) -> float:
        return self.nonzeros * self.columns

    @property
    def kept_macs(self) -> float:
        """Without those of weights that are zero by a pattern."""
        groups = self.weight_groups
        return self.macs if groups is None else self.nonzeros * groups.columns(self.columns)

    @property
    def weights(self) -> float:
        """Weights that are read."""
        return self.inner * self.columns * self.weight_density


@dataclass(frozen=True, eq=False, slots=True)
class Step:
    """A layer on its way forth or back.

    Attributes:
        name: for people.
        products: combination.
        width: columns that are aggregated; 0: none.
        inputs, outputs: widths of the rows that are read and written.
        nonzeros: of the rows that are read.
        first, last: its inputs are the features; its outputs are the results.
        entries: of the matrix that aggregates.
        back: gradients pass, not rows.
    """

    name: str
    products: tuple[Product, ...]
    width: int
    inputs: int
    outputs: int
    nonzeros: float
    first: bool
    last: bool
    entries: int
    back: bool = False

    @property
    def combination(self) -> float:
        """Multiply-accumulates of rows times weights."""
        return sum(product.macs for product in self.products)

    @property
    def kept_combination(self) -> float:
        """The same without weights that are zero by a pattern."""
        return sum(product.kept_macs for product in self.products)

    @property
    def aggregation(self) -> float:
        """Accumulations of neighbours, an entry and a column each."""
        return float(self.entries * self.width)

    @property
    def macs(self) -> float:
        """Multiply-accumulates, of products and of aggregation."""
        return self.combination + self.aggregation

    @property
    def weights(self) -> float:
        """Weights that are read."""
        return sum(product.weights for product in self.products)
