"""The picture of runs: loss, accuracy and where an epoch's time goes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gcnsys.errors import InputError
from gcnsys.report.style import COLOURS, LINES, figure, save
from gcnsys.train.folder import METRICS, SUMMARY


@dataclass(frozen=True, slots=True)
class Run:
    """A run as its folder tells it.

    Attributes:
        name: of the folder.
        epochs: records of ``metrics.jsonl``.
        summary: of ``summary.json``; empty while the run goes on.
    """

    name: str
    epochs: list[dict[str, Any]]
    summary: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "Run":
        """Read a run folder; a run that is still going is fine.

        Raises:
            InputError: it is not one, or nothing was recorded yet.
        """
        try:
            lines = (folder / METRICS).read_text().splitlines()
        except OSError as error:
            raise InputError(f"{folder}: not a run's folder ({METRICS}: {error.strerror})") from error
        epochs = []
        for number, line in enumerate(lines):
            try:
                epochs.append(json.loads(line))
            except ValueError as error:
                if number + 1 < len(lines):  # the last line may be half-written
                    raise InputError(f"{folder / METRICS}: line {number + 1} is not JSON") from error
        if not epochs:
            raise InputError(f"{folder}: no epoch was recorded yet")
        path = folder / SUMMARY
        return cls(folder.resolve().name, epochs, json.loads(path.read_text()) if path.exists() else {})

    def series(self, key: str) -> tuple[list[int], list[float]]:
        """Epochs and values of a figure, where it was recorded."""
        pairs = [(e["epoch"] + 1, e[key]) for e in self.epochs if e.get(key) is not None]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def plot(runs: list[Run], path: Path) -> None:
    """Draw the curves of runs side by side to a PNG."""
    made, axes = figure(1, 3, width=14)
    loss, accuracy, time = axes[0]
    single = len(runs) == 1
    for number, run in enumerate(runs):
        colour = COLOURS[number % len(COLOURS)]
        loss.plot(*run.series("loss"), color=colour, label=run.name)
        for kind, line in zip(("train", "val", "test"), LINES, strict=False):
            shade = COLOURS[("train", "val", "test").index(kind)] if single else colour
            if single or kind != "train":
                label = kind if single else f"{run.name} {kind}"
                accuracy.plot(*run.series(f"{kind}_acc"), line, color=shade, label=label)
    _draw_time(time, runs)
    loss.set(xlabel="epoch", ylabel="training loss", title="loss")
    accuracy.set(xlabel="epoch", ylabel="accuracy", title="accuracy")
    for axis in (loss, accuracy):
        axis.legend(frameon=False, fontsize=8)
    save(made, path)


def _draw_time(axis: Any, runs: list[Run]) -> None:
    bottoms = [0.0] * len(runs)
    for kind, colour, hatch in zip(("compute", "comm", "reduce"), COLOURS, ("", "//", ".."), strict=False):
        heights = []
        for run in runs:
            values = sorted(run.series(f"{kind}_seconds")[1][1:] or run.series(f"{kind}_seconds")[1])
            heights.append(1e3 * values[len(values) // 2])
        axis.bar([run.name for run in runs], heights, bottom=bottoms, color=colour, hatch=hatch,
                 edgecolor="white", width=0.5, label=kind)  # fmt: skip
        bottoms = [low + high for low, high in zip(bottoms, heights, strict=True)]
    axis.set(ylabel="milliseconds", title="median epoch on rank 0")
    axis.tick_params(axis="x", rotation=0 if len(runs) == 1 else 20, labelsize=8)
    axis.set_xlim(-0.8, len(runs) - 0.2)
    axis.legend(frameon=False, fontsize=8)
