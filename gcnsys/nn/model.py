"""What every model over blocks is, and how one is made by name."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from gcnsys.errors import InputError
from gcnsys.kernels import Block, DroppedRows, SparseRows
from gcnsys.nn.dropout import Inputs
from gcnsys.nn.first_hop import FirstHop, first_hop
from gcnsys.nn.settings import ModelSettings
from gcnsys.registry import Registry

ReadT = TypeVar("ReadT")


class Model(nn.Module, ABC):
    """A model ``model(blocks, x)``, one block an aggregation.

    What a rank does for it beforehand follows from the properties below; one's own model gives
    :attr:`num_blocks` and ``forward``, and the others where they say more than the default.

    Attributes:
        recompute: keep only the inputs of hidden layers and compute them again in backward.
    """

    recompute: bool = False

    @property
    @abstractmethod
    def num_blocks(self) -> int:
        """How many blocks ``forward`` takes."""

    @abstractmethod
    def forward(self, blocks: Sequence[Block], x: Inputs) -> Tensor:
        """Rows of the first block's sources to ``[D, C]`` of the last one's destinations."""

    @property
    def first(self) -> nn.Module:
        """The layer that a penalty on the first layer alone is meant for."""
        return next(self.children())

    @property
    def row_wise(self) -> bool:
        """Whether rows that no later layer looks at can be left out, as every module works row by row."""
        return False

    @property
    def reads_sparse(self) -> bool:
        """Whether ``forward`` takes sparse features as they are; otherwise they are filled in before it."""
        return False

    @property
    def ready_hops(self) -> int:
        """How many of the first aggregations can be computed once from constant inputs."""
        return 0

    @property
    def aggregation(self) -> str | None:
        """Which aggregation those are, ``sum``, ``mean`` or ``gcn:NORM``; None where there are none."""
        return None

    def precompute(self, blocks: Sequence[Block], x: Tensor) -> FirstHop:
        """The inputs with :attr:`ready_hops` aggregations done: ``[S, F]`` -> ``[D, F]``; collective."""
        assert self.aggregation is not None
        found = first_hop(blocks[0], self.aggregation, x, needs_own=self.needs_own)
        for block in blocks[1 : self.ready_hops]:
            found = first_hop(block, self.aggregation, found.neighbours, needs_own=False)
        return found

    @property
    def needs_own(self) -> bool:
        """Whether, where those are precomputed, the features themselves are read as well."""
        return False

    def hops(self, *, sparse: bool) -> list[tuple[int, int]]:
        """In which widths rows cross and their gradients return, an aggregation each; 0: nothing does.

        Args:
            sparse: features are, so that they are projected before anything else.

        Raises:
            InputError: the model does not say.
        """
        raise InputError(
            f"{type(self).__name__} does not say how wide the rows are that it aggregates, so what it will "
            f"send cannot be told; give it a method hops"
        )


def readable(reader: nn.Module, x: ReadT) -> ReadT | Tensor:
    """Rows as a model or a layer reads them: filled in, unless it says ``reads_sparse``."""
    if isinstance(x, SparseRows | DroppedRows) and not getattr(reader, "reads_sparse", False):
        return x.to_dense()
    return x


def all_row_wise(modules: Sequence[nn.Module]) -> bool:
    """Whether each of them says that it works row by row."""
    return all(getattr(module, "row_wise", False) for module in modules)


@runtime_checkable
class Drawn(Protocol):
    """A module with weights to draw."""

    def reset(self, generator: torch.Generator) -> None:
        """Draw them."""


ModelMaker = Callable[[ModelSettings, int, int], Model]
"""Settings, the width of features, the number of classes -> a model; its weights are drawn afterwards."""

models: Registry[ModelMaker] = Registry("model", "gcnsys.models")


def build_model(settings: ModelSettings, num_features: int, num_classes: int, *, seed: int) -> Model:
    """Build a model; the same seed draws the same weights, whatever else draws numbers meanwhile.

    Args:
        settings: its name and sizes.
        num_features: F of the rows that it reads.
        num_classes: C of the rows that come out.
        seed: of the weights.

    Raises:
        InputError: no model has that name, or not such settings.
    """
    return draw(models.get(settings.name)(settings, num_features, num_classes), seed=seed)


ModelT = TypeVar("ModelT", bound=nn.Module)


def draw(model: ModelT, *, seed: int) -> ModelT:
    """Draw the weights of all layers of this package in a model, module by module; returns the model.

    A layer that was just made holds the weights that every layer of its shape does.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, Drawn):
            module.reset(generator)
    return model
