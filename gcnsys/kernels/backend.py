"""Which implementation of the kernels runs: the native core, or plain torch with the same results.

``GCNSYS_KERNELS=native`` or ``torch`` forces one. Unforced, the native core runs on CPU tensors
where it was built; without it a warning says so once.
"""

import logging
import os
from functools import cache
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

from gcnsys.errors import InputError

log = logging.getLogger(__name__)

STORED = (torch.float32, torch.float64, torch.bfloat16)


@cache
def core() -> ModuleType | None:
    """The native core, or None where torch does its work.

    Raises:
        InputError: ``GCNSYS_KERNELS`` is neither word, or asks for a core that was not built.
    """
    wanted = os.environ.get("GCNSYS_KERNELS", "")
    if wanted not in ("", "native", "torch"):
        raise InputError(f"GCNSYS_KERNELS={wanted}: it must be native or torch")
    if wanted == "torch":
        return None
    try:
        return import_module("gcnsys.kernels._core")
    except ImportError as error:
        if wanted == "native":
            raise InputError(
                f"GCNSYS_KERNELS=native, but the native core was not built ({error}); install gcnsys where "
                f"there is a C++ compiler, or unset the variable"
            ) from error
        log.warning("the native kernels are not built; torch does their work, more slowly")
        return None


def native_for(*tensors: Tensor) -> ModuleType | None:
    """The native core, if it can work on these tensors."""
    for tensor in tensors:
        if not tensor.is_cpu or tensor.dtype not in STORED:
            return None
    return core()


def name() -> str:
    """What runs on CPU tensors, recorded with every run: ``native-avx512``, ..., or ``torch``."""
    module = core()
    return "torch" if module is None else f"native-{module.VECTOR}"


def summed(dtype: torch.dtype) -> torch.dtype:
    """The type in which numbers stored like this are added up."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def as_rows(x: Tensor) -> Tensor:
    """Features as the native core reads them: each row in one piece, no two over each other."""
    x = x.detach()
    return x if x.stride(1) == 1 and x.stride(0) >= x.shape[1] else x.contiguous()
