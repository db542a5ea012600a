"""A model whose weights stay as they are while edges are tuned."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor

from gcnsys.nn import Model
from gcnsys.nn.dropout import KeyedDropout
from gcnsys.nn.linear import Factored, Linear

_Product = tuple[Tensor | Factored, tuple[int, ...], Tensor]


class FrozenModel:
    """A model without gradients by its weights, in which products of constant rows are computed once.

    Features times the first layer's weights are the same in every step of tuning: they are kept, and computed
    again once weights have changed.

    Args:
        model: whose weights stay as they are within :meth:`held`.
        dropout: keep the model's.
    """

    def __init__(self, model: Model, *, dropout: bool) -> None:
        self.model, self.dropout = model, dropout
        self._products: dict[Linear, _Product] = {}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within, weights have no gradients, and the model is evaluated, but for dropout that is kept."""
        asked = [p for p in self.model.parameters() if p.requires_grad]
        maps = [module for module in self.model.modules() if type(module) is Linear]
        self.model.eval()
        for module in self.model.modules() if self.dropout else ():
            if isinstance(module, KeyedDropout):
                module.train()
        for parameter in asked:
            parameter.requires_grad = False
        for module in maps:
            module.__dict__["project"] = partial(self._project, module)
        try:
            yield
        finally:
            for module in maps:
                del module.__dict__["project"]
            for parameter in asked:
                parameter.requires_grad = True

    def _project(self, linear: Linear, x: Tensor | Factored) -> Tensor:
        if isinstance(x, Tensor) and x.requires_grad:
            return Linear.project(linear, x)
        known, versions = self._products.get(linear), _versions(linear, x)
        if known is None or known[1] != versions or not _same(known[0], x):
            known = self._products[linear] = x, versions, Linear.project(linear, x)
        return known[2].clone()  # layers add to it


def _versions(linear: Linear, x: Tensor | Factored) -> tuple[int, ...]:
    """What in-place changes count up."""
    return linear.weight._version, x._version if isinstance(x, Tensor) else 0


def _same(one: Tensor | Factored, other: Tensor | Factored) -> bool:
    """Whether they are the same memory; the first is kept alive, so that no other tensor may lie there."""
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return one is other
    laid = ((each.data_ptr(), each.shape, each.stride(), each.dtype) for each in (one, other))
    return len(set(laid)) == 1
