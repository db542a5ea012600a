"""Pictures of estimates: bars of latency, speedup, traffic and energy, and lines of a sweep."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gcnsys.accel import Estimate
from gcnsys.accel.sweep import Sweep
from gcnsys.report.style import COLOURS, LINES, figure, save


def plot(name: str, estimates: Sequence[Mapping[str, Any]], baseline: str, path: Path) -> None:
    """Draw a bar for each accelerator to a PNG; whiskers are how far an estimate may be off.

    Args:
        name: of the work.
        estimates: as :meth:`gcnsys.accel.Estimate.plain` gives them, with their ``speedup``.
        baseline: what that is over.
        path: of the picture.
    """
    save(drawn(name, estimates, baseline), path)


def drawn(name: str, estimates: Sequence[Mapping[str, Any]], baseline: str) -> Any:
    """The same as a figure."""
    made, axes = figure(2, 2, width=12, height=4.5 + 0.45 * len(estimates))
    made.suptitle(f"{name}, by estimate")
    names = [each["accelerator"] for each in estimates]
    places = range(len(names))
    seconds = [1e6 * each["seconds"] for each in estimates]
    reach = [
        [value - 1e6 * each["seconds_low"] for value, each in zip(seconds, estimates, strict=True)],
        [1e6 * each["seconds_high"] - value for value, each in zip(seconds, estimates, strict=True)],
    ]
    latency, speedup, traffic, energy = axes.flat
    _bars(latency, seconds, COLOURS[0], figures=False)
    latency.errorbar(seconds, places, xerr=reach, fmt="none", ecolor="#555555", capsize=3)
    latency.set(xlabel="latency, µs")
    _bars(speedup, [each["speedup"] for each in estimates], COLOURS[2])
    speedup.set(xlabel=f"times as fast as {baseline}")
    _stacked(traffic, [_by_kind(each["traffic_bytes"]) for each in estimates], 1e-6)
    traffic.set(xlabel="off chip, MB (none: all inputs fit on chip)", xlim=(0, None))
    _bars(energy, [1e6 * (each["joules"] or 0.0) for each in estimates], COLOURS[1])
    energy.set(xlabel="energy, µJ (none: power is not known)")
    for axis in axes.flat:
        axis.set_yticks(list(places), names)
        axis.invert_yaxis()
    return made


def plot_sweep(
    name: str, sweep: Sweep, lines: Mapping[str, Sequence[tuple[float, Estimate]]], path: Path
) -> None:
    """Draw latency and what is used of the peak along a field's values to a PNG."""
    made, axes = figure(1, 2, width=11, height=4.2)
    made.suptitle(f"{name}: what if, by estimate")
    latency, used = axes[0]
    for number, (accelerator, line) in enumerate(lines.items()):
        style = {
            "color": COLOURS[number % len(COLOURS)], "linestyle": LINES[number % len(LINES)],
            "marker": "o", "markersize": 4, "label": accelerator,
        }  # fmt: skip
        values = [value for value, _ in line]
        latency.plot(values, [1e6 * each.seconds for _, each in line], **style)
        used.plot(values, [each.utilisation for _, each in line], **style)
    latency.set(xlabel=sweep.field, ylabel="latency, µs", xscale="log", yscale="log")
    used.set(xlabel=sweep.field, ylabel="share of the peak", xscale="log", ylim=(0, None))
    used.legend(frameon=False)
    save(made, path)


def _by_kind(traffic: Mapping[str, float]) -> dict[str, float]:
    """Bytes of matrices, of weights and of rows."""
    kinds = {"matrix": 0.0, "weights": 0.0, "rows": 0.0}
    for name, size in traffic.items():
        kinds[name if name in kinds else "rows"] += size
    return kinds


def _bars(axis: Any, values: Sequence[float], colour: str, *, figures: bool = True) -> None:
    """Bars that start at a power of ten below all of them, and the figures behind them."""
    bars = axis.barh(range(len(values)), values, color=colour)
    if figures:
        axis.bar_label(bars, [f"{value:,.3g}" if value else "" for value in values], padding=3, fontsize=8)
    there = [value for value in values if value > 0]
    if there:
        axis.set_xscale("log")
        axis.set_xlim(10.0 ** (math.floor(math.log10(min(there))) - 1), 5 * max(there))


def _stacked(axis: Any, parts: Sequence[Mapping[str, float]], unit: float) -> None:
    left = [0.0] * len(parts)
    for number, kind in enumerate(parts[0] if parts else ()):
        sizes = [unit * part[kind] for part in parts]
        axis.barh(range(len(parts)), sizes, left=left, color=COLOURS[number], label=kind)
        left = [before + size for before, size in zip(left, sizes, strict=True)]
    axis.legend(frameon=False)
