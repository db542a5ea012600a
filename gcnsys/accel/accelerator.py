"""Accelerators as data: a TOML file each, in which every number says where it comes from.

A file has the tables ``[chip]`` (:class:`gcnsys.accel.chip.Chip`), ``[mechanism]`` (one of
:mod:`gcnsys.accel.mechanisms`, by ``kind``), ``[fit]`` and ``[sources]``: one sentence for each field that
the other tables hold, by the field's dotted name. Users add files of their own.
"""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from gcnsys.accel.chip import Chip
from gcnsys.accel.estimate import Estimate, StepCost, added
from gcnsys.accel.mechanisms import AnyMechanism
from gcnsys.accel.settings import Settings
from gcnsys.accel.work import Work
from gcnsys.registry import unknown

_UNSOURCED = {"mechanism.kind"}


class Fit(Settings):
    """What was fitted, and how far estimates were off.

    Attributes:
        efficiency: the share of the modelled rate that is reached. 1: nothing was fitted.
        uncertainty: estimates are likely wrong by no more than this factor.
    """

    efficiency: float = Field(1.0, gt=0, le=1)
    uncertainty: float = Field(2.0, ge=1)


class Accelerator(Settings):
    """An accelerator.

    Attributes:
        name: as users type it.
        summary: a line about it.
        scale: its own size, or that of a comparison at equal resources.
        chip: rates and sizes.
        mechanism: how it computes.
        fit: constants.
        sources: where each field comes from.
    """

    name: str = Field(min_length=1)
    summary: str = ""
    scale: Literal["own", "equal"] = "own"
    chip: Chip
    mechanism: AnyMechanism
    fit: Fit = Field(default_factory=lambda: Fit.model_validate({}))
    sources: dict[str, str]

    @model_validator(mode="after")
    def _sourced(self) -> Self:
        given = {
            f"{table}.{field}" for table in ("chip", "mechanism", "fit")
            for field in getattr(self, table).model_fields_set
        } - _UNSOURCED  # fmt: skip
        for field in sorted(given - set(self.sources)):
            raise ValueError(f"sources: {field} has no source; say where its value comes from")
        for field in sorted(set(self.sources) - given):
            raise ValueError(f"sources: {field} is no field that the file sets")
        return self

    def changed(self, field: str, value: float) -> Self:
        """A copy with another value of a field, for what-if questions.

        Args:
            field: dotted (``chip.macs``), or its last word where that is clear.
            value: of it.

        Raises:
            InputError: no such field, or not such a value.
        """
        tables: dict[str, Settings] = {"chip": self.chip, "mechanism": self.mechanism, "fit": self.fit}
        known = {
            f"{table}.{name}": kind for table, each in tables.items() for name, kind in _numbers(each).items()
        }
        found = [name for name in known if field in (name, name.partition(".")[2])]
        if not found:
            raise unknown(f"number of {self.name}", field, known)
        table, _, name = found[0].partition(".")
        number = int(value) if known[found[0]] is int and float(value).is_integer() else value
        values = self.model_dump(exclude_unset=True)
        values.setdefault(table, {})[name] = number
        values["sources"] = {**self.sources, found[0]: "what if"}
        return self.checked(values, self.name)

    def estimate(self, work: Work) -> Estimate:
        """What some work costs."""
        chip = self.chip
        if work.bits is not None:
            chip = chip.model_copy(update={"value_bits": work.bits})
        steps = tuple(self.mechanism.steps(work, chip, self.fit.efficiency))
        seconds = chip.seconds(sum(step.cycles for step in steps))
        reason = self.sources.get("fit.uncertainty", "not validated: a factor of 2 is presumed")
        return Estimate(
            self.name, work.name, steps, seconds, chip.clock_mhz, chip.macs, _joules(steps, seconds, chip),
            self.fit.uncertainty, reason,
        )  # fmt: skip


def _joules(steps: tuple[StepCost, ...], seconds: float, chip: Chip) -> dict[str, float] | None:
    """The chip's power times time, shared among what keeps it busy; what moves off chip costs by the bit.

    Where a bit's energy is known, published power is the chip's own and memory comes on top.
    """
    if chip.power_watt is None:
        return None
    total = chip.power_watt * seconds
    busy = {
        "combination": sum(step.combination for step in steps),
        "aggregation": sum(step.aggregation for step in steps),
    }
    whole = sum(busy.values()) or 1.0
    joules = {use: total * cycles / whole for use, cycles in busy.items()}
    if chip.off_chip_pj_per_bit is not None:
        moved = added(step.traffic for step in steps)
        joules["off chip"] = sum(moved.values()) * 8 * chip.off_chip_pj_per_bit * 1e-12
    return joules


def _numbers(settings: Settings) -> dict[str, type]:
    """Fields that hold a number, with their types."""
    return {
        name: int if isinstance(getattr(settings, name), int) else float
        for name in type(settings).model_fields
        if isinstance(getattr(settings, name), int | float) and not isinstance(getattr(settings, name), bool)
    }


def names() -> list[str]:
    """The accelerators that come with gcnsys."""
    return sorted(
        entry.name.removesuffix(".toml") for entry in _folder().iterdir() if entry.name.endswith(".toml")
    )


def load(name: str) -> Accelerator:
    """An accelerator that comes with gcnsys, or the one of a file ``*.toml``.

    Raises:
        InputError: no such accelerator, or not such a file.
    """
    if name.endswith(".toml"):
        return Accelerator.read(Path(name), "an accelerator")
    if name not in names():
        raise unknown("accelerator", name, names())
    return Accelerator.checked(tomllib.loads((_folder() / f"{name}.toml").read_text()), f"accelerator {name}")


def _folder() -> Any:
    return files("gcnsys.accel") / "catalogue" / "accelerators"
