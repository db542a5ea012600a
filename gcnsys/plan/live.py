"""How many bytes of tensors and arrays are alive at once while something runs."""

import tracemalloc
import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Live(TorchDispatchMode):
    """Counts, within a block, storages that torch makes there until nobody holds them, and NumPy's arrays.

    What was there before is not counted, nor is what a native kernel takes and gives back by itself. Python's
    own objects are, as NumPy's arrays cannot be told from them: a few hundred kilobytes.

    Attributes:
        peak: the most bytes at once.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self._now = self._start = 0
        self._known: set[int] = set()
        self._traces = False

    def __enter__(self) -> "Live":
        self._traces = not tracemalloc.is_tracing()
        if self._traces:
            tracemalloc.start()
        self._start = tracemalloc.get_traced_memory()[0]
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        self._look()
        if self._traces:
            tracemalloc.stop()

    def restarted(self) -> int:
        """The peak so far, which is forgotten; what is alive stays counted."""
        self._look()
        found, self.peak = self.peak, 0
        return found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {
            id(each.untyped_storage()) for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)
        }
        found = func(*args, **(kwargs or {}))
        for each in tree_leaves(found):
            if isinstance(each, Tensor):
                self._count(each.untyped_storage(), given)
        return found

    def _count(self, storage: torch.UntypedStorage, given: set[int]) -> None:
        number = id(storage)
        if number in given or number in self._known or not storage.nbytes():
            return
        self._known.add(number)
        self._now += storage.nbytes()
        weakref.finalize(storage, self._gone, number, storage.nbytes())
        self._look()

    def _gone(self, number: int, size: int) -> None:
        self._known.discard(number)
        self._now -= size

    def _look(self) -> None:
        """NumPy's arrays come and go between two looks: of them, the most counts."""
        self.peak = max(self.peak, self._now + tracemalloc.get_traced_memory()[1] - self._start)
        tracemalloc.reset_peak()
