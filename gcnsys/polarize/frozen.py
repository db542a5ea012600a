"""A model whose weights stay as they are while edges are tuned."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor

from gcnsys.nn import Model
from gcnsys.nn.dropout import Inputs, KeyedDropout
from gcnsys.nn.linear import Factored, Linear


class FrozenModel:
    """A model without gradients by its weights, in which products of its inputs are computed once.

    Inputs times the first layer's weights are the same in every step of tuning.

    Args:
        model: whose weights stay as they are, until :meth:`forget`.
        inputs: rows that never change.
        dropout: keep the model's; inputs of which something is dropped are multiplied every time.
    """

    def __init__(self, model: Model, inputs: Inputs, *, dropout: bool) -> None:
        self.model, self.inputs, self.dropout = model, inputs, dropout
        self._products: dict[tuple[Linear, int], Tensor] = {}

    def forget(self) -> None:
        """Products are computed again: weights have changed, or nobody needs them any more."""
        self._products.clear()

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
        if not self._are_inputs(x):
            return Linear.project(linear, x)
        key = linear, x.shape[0] if isinstance(x, Tensor) else 0
        if key not in self._products:
            self._products[key] = Linear.project(linear, x)
        return self._products[key].clone()  # layers add to it

    def _are_inputs(self, x: Tensor | Factored) -> bool:
        """Whether these are the inputs, or the first rows of them."""
        inputs = self.inputs
        if not isinstance(x, Tensor) or not isinstance(inputs, Tensor):
            return x is inputs
        return x.data_ptr() == inputs.data_ptr() and x.stride() == inputs.stride() and x.dtype == inputs.dtype
