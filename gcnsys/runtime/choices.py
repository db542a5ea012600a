"""A halo exchange as a product of four choices; no part knows the others."""

from dataclasses import dataclass
from typing import Literal

from gcnsys.errors import InputError
from gcnsys.registry import unknown
from gcnsys.runtime.codec import codec
from gcnsys.runtime.lane import Start
from gcnsys.runtime.rows import SAMPLERS, BoundarySampler, Uniform, sampler

Schedule = Literal["sync", "overlap", "pipeline"]
"""When the halo is waited for, at once, after the work that does not need it, or epochs later."""

Smoothing = Literal["off", "features", "gradients", "both"]
"""What stands for a stale row, itself or the average of those that arrived."""

DrawsPer = Literal["epoch", "layer"]
"""Whether all layers of an epoch share a draw."""


SmoothingStart = Literal["corrected", "zero"]
"""Whether that average is freed of the bias of its start at 0."""


@dataclass(frozen=True, slots=True)
class Choices:
    """How boundary rows cross.

    Attributes:
        rows: which: ``all``, ``none``, or drawn by a sampler of this name.
        rate: the share that is drawn.
        draws_per: see :data:`DrawsPer`.
        schedule: when they are waited for.
        staleness: with ``pipeline``, epochs between leaving and use, at least 1.
        first_epoch: with ``pipeline``, what stands for rows of before the first epoch.
        codec: in what form they cross.
        smoothing: with ``pipeline``, what is averaged over arrivals.
        gamma: weight of the past in that average, in ``[0, 1)``.
        smoothing_start: of that average: ``corrected``, or ``zero`` as published.
        seed: of draws and of random rounding.
    """

    rows: str = "all"
    rate: float = 1.0
    draws_per: DrawsPer = "epoch"
    schedule: Schedule = "sync"
    staleness: int = 1
    first_epoch: Start = "exact"
    codec: str = "fp32"
    smoothing: Smoothing = "off"
    gamma: float = 0.95
    smoothing_start: SmoothingStart = "corrected"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rows not in ("all", "none"):
            if self.rows not in SAMPLERS:
                raise unknown("rows", self.rows, ["all", "none", *SAMPLERS.names()])
            self.sampler()
        codec(self.codec)
        if not 0 <= self.gamma < 1:
            raise InputError(f"gamma = {self.gamma:g}: the weight of the past must lie in [0, 1)")
        if self.staleness < 1:
            raise InputError(f"staleness = {self.staleness}: rows are at least one epoch old in a pipeline")
        if self.smoothing != "off" and not self.pipelined:
            raise InputError(
                f"smoothing = {self.smoothing} averages stale rows, but schedule = {self.schedule} has none: "
                f"add schedule = pipeline or drop smoothing"
            )
        if self.rows == "none":
            given = [("schedule", self.schedule, "sync"), ("codec", self.codec, "fp32")]
            for name, value, default in given:
                if value != default:
                    raise InputError(
                        f"rows = none sends nothing, so {name} = {value} has nothing to work on: "
                        f"drop one of them"
                    )

    @property
    def pipelined(self) -> bool:
        """Whether rows are used in a later epoch than they left in."""
        return self.schedule == "pipeline"

    @property
    def exact(self) -> bool:
        """Whether training is that of a single device."""
        return self.rows == "all" and self.codec == "fp32" and not self.pipelined

    @property
    def smooths_features(self) -> bool:
        """Whether rows are averaged over arrivals."""
        return self.smoothing in ("features", "both")

    @property
    def smooths_gradients(self) -> bool:
        """Whether gradients are."""
        return self.smoothing in ("gradients", "both")

    def sampler(self) -> BoundarySampler | None:
        """What draws rows; None: nothing does, all cross.

        Raises:
            InputError: there is no such sampler, or none of this rate.
        """
        if self.rows == "all":
            return None
        return Uniform(0.0) if self.rows == "none" else sampler(self.rows, self.rate)
