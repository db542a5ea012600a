"""Names for points of the exchange's product of choices, and what else is said about it in a run file.

A method fixes some parts and leaves the others free: ``bns`` with ``schedule = pipeline`` and
``codec = int8`` is as good as any. Settings that have no meaning beside the others are left out.
"""

from collections.abc import Mapping
from typing import Any

from gcnsys.errors import InputError
from gcnsys.registry import unknown

CUSTOM = "custom"

METHODS: dict[str, dict[str, tuple[str, ...]]] = {
    "vanilla": {"rows": ("all",), "schedule": ("sync", "overlap"), "codec": ("fp32",), "smoothing": ("off",)},
    "bns": {"rows": ("uniform",)},
    "pipegcn": {"schedule": ("pipeline",), "smoothing": ("off",)},
    "pipegcn-f": {"schedule": ("pipeline",), "smoothing": ("features",)},
    "pipegcn-g": {"schedule": ("pipeline",), "smoothing": ("gradients",)},
    "pipegcn-gf": {"schedule": ("pipeline",), "smoothing": ("both",)},
    CUSTOM: {},
}
"""The values a method admits for each part that it fixes, the usual one first."""

PLAIN = {"rows": "all", "schedule": "sync", "codec": "fp32", "smoothing": "off"}
"""Parts that nobody has chosen."""

_DRAWN = "rows that are drawn, such as method = bns"
_PIPELINED = "schedule = pipeline"
_AVERAGED = "smoothing, such as method = pipegcn-gf"

DEPENDENT: dict[str, tuple[str, Any]] = {
    "rate": (_DRAWN, 0.1), "draws_per": (_DRAWN, "epoch"),
    "staleness": (_PIPELINED, 1), "first_epoch": (_PIPELINED, "exact"),
    "gamma": (_AVERAGED, 0.95), "smoothing_start": (_AVERAGED, "corrected"),
}  # fmt: skip
"""Settings that mean something beside some parts alone: what they need, and their default there."""

EXCHANGE = (*PLAIN, *DEPENDENT)
"""All settings of the exchange."""


def resolved(values: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of the exchange, from those that were given.

    Raises:
        InputError: an unknown method, a part that contradicts it, or a setting without a meaning.
    """
    found = {key: value for key, value in values.items() if value is not None}
    method = found.get("method")
    if method is None:
        parts = {**PLAIN, **{key: found[key] for key in PLAIN if key in found}}
        exact = all(parts[key] in allowed for key, allowed in METHODS["vanilla"].items())
        method = "vanilla" if exact else CUSTOM
    if method not in METHODS:
        raise unknown("method", str(method), METHODS)
    for key, allowed in METHODS[method].items():
        if found.setdefault(key, allowed[0]) not in allowed:
            raise InputError(
                f"method = {method} means {key} = {' or '.join(allowed)}, not {found[key]}: drop one of the "
                f"two, or choose another method"
            )
    found = {**PLAIN, **found, "method": method}
    meant = {
        _DRAWN: found["rows"] not in ("all", "none"), _PIPELINED: found["schedule"] == "pipeline",
        _AVERAGED: found["smoothing"] != "off",
    }  # fmt: skip
    for key, (needed, default) in DEPENDENT.items():
        if meant[needed]:
            found.setdefault(key, default)
        elif key in found:
            raise InputError(f"{key} = {found[key]} has no meaning without {needed}: add that or drop {key}")
    return found
