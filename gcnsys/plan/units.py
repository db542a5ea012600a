"""Amounts as people write them: ``11GiB``, ``10Gbit``, ``50us``, ``1.5TFLOPS``."""

import re

from gcnsys.errors import InputError

_PREFIXES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def _table(units: dict[str, float], *, binary: bool = False) -> dict[str, float]:
    prefixes = _PREFIXES | (_BINARY if binary else {})
    return {prefix + unit: size * one for prefix, size in prefixes.items() for unit, one in units.items()}


_MEMORY = _table({"B": 1.0}, binary=True)
_BANDWIDTH = _table({"B": 1.0, "bit": 0.125}, binary=True)
_COMPUTE = _table({"FLOPS": 1.0})


def memory(text: str) -> float:
    """Bytes.

    Raises:
        InputError: no such amount.
    """
    return _amount(text, _MEMORY, "memory", "11GiB or 512MB")


def bandwidth(text: str) -> float:
    """Bytes a second, each way; ``/s`` may follow.

    Raises:
        InputError: no such amount.
    """
    return _amount(text.removesuffix("/s"), _BANDWIDTH, "bandwidth", "10Gbit or 1.2GB/s")


def seconds(text: str) -> float:
    """Seconds; 0 needs no unit.

    Raises:
        InputError: no such amount.
    """
    return 0.0 if text.strip() == "0" else _amount(text, _SECONDS, "latency", "50us or 1ms", least=0.0)


def flops(text: str) -> float:
    """Floating-point operations a second.

    Raises:
        InputError: no such amount.
    """
    return _amount(text, _COMPUTE, "compute", "measured or 1.5TFLOPS")


def _amount(text: str, units: dict[str, float], what: str, example: str, least: float | None = None) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-zµ]+)\s*", text)
    if found is None or found[2] not in units:
        raise InputError(f"--{what} {text}: cannot be read; write it as {example}")
    amount = float(found[1]) * units[found[2]]
    if amount <= 0 and least is None:
        raise InputError(f"--{what} {text}: must be more than 0; write it as {example}")
    return amount


def amount(value: float, unit: str) -> str:
    """Three digits and a prefix: ``1.23 GB``."""
    value = float(f"{value:.3g}")  # rounded first, or 999.6 MB would be 1e+03 of them
    for size, prefix in (
        (1e12, "T"),
        (1e9, "G"),
        (1e6, "M"),
        (1e3, "k"),
        (1.0, ""),
        (1e-3, "m"),
        (1e-6, "µ"),
    ):
        if abs(value) >= size:
            return f"{value / size:.3g} {prefix}{unit}"
    return f"{value / 1e-9:.3g} n{unit}" if value else f"0 {unit}"
