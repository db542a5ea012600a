"""Names for what a rank does, for a profiler to show; where none looks, they cost a look at a flag."""

import contextlib
from contextlib import AbstractContextManager

from torch.autograd import profiler

_NOTHING: AbstractContextManager[None] = contextlib.nullcontext()


def labelled(what: str, layer: int | None = None, *, back: bool = False) -> AbstractContextManager[object]:
    """What a block of code does, by name, while ``torch.profiler`` looks.

    Args:
        what: it does.
        layer: for which aggregation of the model; None: for none, or it is not known.
        back: in backward.
    """
    if not profiler._is_profiler_enabled:
        return _NOTHING
    where = "" if layer is None else f", layer {layer}"
    return profiler.record_function(f"{what}{where}{', backward' if back else ''}")
