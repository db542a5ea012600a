"""Layers that keep only their input and are computed again in backward (Chen et al. 2016).

What a layer draws and exchanges is the same the second time: masks are keyed, the state of torch's own
random numbers, which layers of other libraries draw from, is put back, and every rank comes by the same
layers in the same order.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeVar

from torch.utils.checkpoint import checkpoint

T = TypeVar("T")

_again: ContextVar[bool] = ContextVar("again", default=False)


def recomputed(layer: Callable[..., T], *inputs: object) -> T:
    """``layer(*inputs)``, of which backward keeps the inputs alone."""
    out: T = checkpoint(
        layer, *inputs, use_reentrant=False,
        context_fn=lambda: (contextlib.nullcontext(), _second_time()),
    )  # fmt: skip
    return out


def recomputing() -> bool:
    """Whether a layer is being computed again: running statistics were updated the first time."""
    return _again.get()


@contextlib.contextmanager
def _second_time() -> Iterator[None]:
    token = _again.set(True)
    try:
        yield
    finally:
        _again.reset(token)
