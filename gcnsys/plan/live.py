"""How many bytes of tensors and arrays would be alive at once, were some of them larger."""

import tracemalloc
import weakref
from collections.abc import Collection
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Live(TorchDispatchMode):
    """Counts, within a block, storages that torch makes there, until nobody holds them.

    What was there before is not counted, nor is what a native kernel takes and gives back by itself, nor what
    NumPy makes and drops on the way; arrays of NumPy's that stay are, when :meth:`restarted` is called.

    Args:
        growing: a tensor of which a dimension is one of these counts for more.
        times: how much more.
    """

    def __init__(self, growing: Collection[int] = (), times: float = 1.0) -> None:
        super().__init__()
        self.growing, self.times = frozenset(growing), times
        self._now, self._arrays = [0.0, 0.0], [0.0, 0.0]
        self._peak = (0.0, 0.0)
        self._known: set[int] = set()

    def __enter__(self) -> "Live":
        tracemalloc.start()
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        tracemalloc.stop()

    def restarted(self) -> tuple[float, float]:
        """The most bytes at once since the last time: of what does not grow, of what does, as grown."""
        kept = tracemalloc.DomainFilter(inclusive=True, domain=np.lib.tracemalloc_domain)
        self._arrays = [0.0, 0.0]
        for trace in tracemalloc.take_snapshot().filter_traces([kept]).traces:
            _add(self._arrays, self._sized(trace.size, {trace.size // 4, trace.size // 8}))
        found, self._peak = self._peak, (0.0, 0.0)
        self._look()
        return max(found, self._peak, key=sum)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {
            id(each.untyped_storage()) for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)
        }
        found = func(*args, **(kwargs or {}))
        for each in tree_leaves(found):
            if isinstance(each, Tensor):
                self._count(each, given)
        return found

    def _count(self, tensor: Tensor, given: set[int]) -> None:
        storage = tensor.untyped_storage()
        number = id(storage)
        if number in given or number in self._known or not storage.nbytes():
            return
        size = self._sized(storage.nbytes(), tensor.shape)
        self._known.add(number)
        _add(self._now, size)
        weakref.finalize(storage, self._gone, number, size)
        self._look()

    def _gone(self, number: int, size: tuple[float, float]) -> None:
        self._known.discard(number)
        _add(self._now, size, -1.0)

    def _look(self) -> None:
        now = self._now[0] + self._arrays[0], self._now[1] + self._arrays[1]
        self._peak = max(self._peak, now, key=sum)

    def _sized(self, size: int, dimensions: Collection[int]) -> tuple[float, float]:
        return (0.0, self.times * size) if self.growing.intersection(dimensions) else (float(size), 0.0)


def _add(to: list[float], size: tuple[float, float], sign: float = 1.0) -> None:
    to[0] += sign * size[0]
    to[1] += sign * size[1]
