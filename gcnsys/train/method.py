"""Names for points of the exchange's product of choices, and what else is said about it in a run file.

A method fixes some parts and leaves the others free: ``bns`` with ``schedule = pipeline`` and
``codec = int8`` is as good as any. Settings that have no meaning beside the others are left out.
"""

from collections.abc import Mapping
from typing import Any

from gcnsys.errors import InputError
from gcnsys.registry import unknown

CUSTOM = "custom"

METHODS: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "vanilla": (
        "every boundary row, every epoch, exactly",
        {"rows": ("all",), "schedule": ("sync", "overlap"), "codec": ("fp32",), "smoothing": ("off",)},
    ),
    "bns": ("boundary-node sampling: a share of the rows, drawn anew each epoch", {"rows": ("uniform",)}),
    "pipegcn": ("rows of one epoch ago", {"schedule": ("pipeline",), "smoothing": ("off",)}),
    "pipegcn-f": ("the same, features averaged", {"schedule": ("pipeline",), "smoothing": ("features",)}),
    "pipegcn-g": ("the same, gradients averaged", {"schedule": ("pipeline",), "smoothing": ("gradients",)}),
    "pipegcn-gf": ("the same, both averaged", {"schedule": ("pipeline",), "smoothing": ("both",)}),
    CUSTOM: ("parts chosen one by one", {}),
}
"""A method's description and the values it admits for each part, the usual one first."""

PLAIN = {"rows": "all", "schedule": "sync", "codec": "fp32", "smoothing": "off"}
"""Parts that nobody has chosen."""

DEPENDENT: dict[str, tuple[str, Any]] = {
    "rate": ("rows that are drawn, such as method = bns", 0.1),
    "draws_per": ("rows that are drawn, such as method = bns", "epoch"),
    "staleness": ("schedule = pipeline", 1),
    "first_epoch": ("schedule = pipeline", "exact"),
    "gamma": ("smoothing, such as method = pipegcn-gf", 0.95),
    "smoothing_start": ("smoothing, such as method = pipegcn-gf", "corrected"),
}
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
        exact = all(parts[key] in allowed for key, allowed in METHODS["vanilla"][1].items())
        method = "vanilla" if exact else CUSTOM
    if method not in METHODS:
        raise unknown("method", str(method), METHODS)
    for key, allowed in METHODS[method][1].items():
        if found.setdefault(key, allowed[0]) not in allowed:
            raise InputError(
                f"method = {method} means {key} = {' or '.join(allowed)}, not {found[key]}: drop one of the "
                f"two, or choose another method"
            )
    found = {**PLAIN, **found, "method": method}
    meant = {
        "rate": found["rows"] not in ("all", "none"), "staleness": found["schedule"] == "pipeline",
        "gamma": found["smoothing"] != "off",
    }  # fmt: skip
    meant["draws_per"], meant["first_epoch"] = meant["rate"], meant["staleness"]
    meant["smoothing_start"] = meant["gamma"]
    for key, (needed, default) in DEPENDENT.items():
        if meant[key]:
            found.setdefault(key, default)
        elif key in found:
            raise InputError(f"{key} = {found[key]} has no meaning without {needed}: add that or drop {key}")
    return found
