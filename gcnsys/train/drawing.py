"""What a run file says of samplers."""

from collections.abc import Mapping
from typing import Any

from gcnsys.errors import InputError

ALWAYS = {"batch": 1024, "prefetch": 2}
"""Settings that mean something with any sampler, and their defaults."""

OPTIONAL = (
    "fanouts", "budget", "walk", "walks", "restart", "repeated", "clusters", "locality", "runs",
)  # fmt: skip
"""Settings that mean something with some samplers; those have defaults of their own."""


LOCAL = ("locality_threshold", "locality_degree", "locality_floor")
"""Settings that mean something where locality is looked at."""


def resolved(values: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a sampler, from those that were given.

    Raises:
        InputError: a setting without a sampler.
    """
    found = dict(values)
    for key in LOCAL:
        if found.get(key) is not None and found.get("locality") is None:
            raise InputError(
                f"{key} = {found[key]} has no meaning without locality: add locality = published, or "
                f"drop {key}"
            )
    if found.get("sampler") is not None:
        for key, default in ALWAYS.items():
            if found.get(key) is None:
                found[key] = default
        return found
    for key in (*ALWAYS, *OPTIONAL):
        if found.get(key) is not None:
            raise InputError(
                f"{key} = {found[key]} has no meaning without a sampler: add one, such as sampler = "
                f"neighbour, or drop {key}"
            )
    return found
