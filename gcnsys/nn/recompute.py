"""Layers that keep only their input and are computed again in backward (Chen et al. 2016).

What a layer draws and exchanges is the same the second time: masks are keyed, and every rank comes
by the same layers in the same order.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gcnsys.kernels.memory import return_freed_memory

T = TypeVar("T")

_SPARE = 16  # times what a layer keeps; about what computing it takes

_again: ContextVar[bool] = ContextVar("again", default=False)


def recomputed(layer: Callable[..., T], *inputs: object) -> T:
    """``layer(*inputs)``, of which backward keeps the inputs alone; where there is none, nothing."""
    spare = _SPARE * max((x.nbytes for x in inputs if isinstance(x, Tensor)), default=0)
    out: T
    if torch.is_grad_enabled():
        out = checkpoint(
            layer, *inputs, use_reentrant=False, preserve_rng_state=False,
            context_fn=lambda: (contextlib.nullcontext(), _second_time(spare)),
        )  # fmt: skip
    else:
        out = layer(*inputs)
    return_freed_memory(spare)
    return out


def recomputing() -> bool:
    """Whether a layer is being computed again: running statistics were updated the first time."""
    return _again.get()


@contextlib.contextmanager
def _second_time(spare: int) -> Iterator[None]:
    token = _again.set(True)
    try:
        yield
    finally:
        _again.reset(token)
        return_freed_memory(spare)
