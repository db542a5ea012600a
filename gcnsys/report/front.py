"""The picture of a search: what was tried, the front, and designs to compare it with."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from gcnsys.report.style import COLOURS, figure, legend, save

Point = tuple[float, float]
"""Seconds, accuracy."""


def plot(
    name: str, tried: Sequence[Point], front: Sequence[Point], others: Mapping[str, Point], path: Path
) -> None:
    """Draw accuracy against latency to a PNG."""
    made, axes = figure(1, 1, width=7.5, height=5)
    from matplotlib.ticker import LogLocator

    axis = axes[0][0]
    axis.scatter(
        [1e6 * each[0] for each in tried], [each[1] for each in tried], s=10, color="#BBBBBB", label="tried"
    )
    axis.step(
        [1e6 * each[0] for each in front], [each[1] for each in front], where="post", color=COLOURS[0],
        marker="o", markersize=4, label="front",
    )  # fmt: skip
    for number, (label, (seconds, accuracy)) in enumerate(others.items(), 1):
        axis.plot(
            1e6 * seconds,
            accuracy,
            marker="*",
            markersize=14,
            linestyle="none",
            color=COLOURS[number],
            label=label,
        )
    axis.set(
        xlabel="latency by estimate, µs",
        ylabel="validation accuracy, shared weights",
        xscale="log",
        title=name,
    )
    low, high = axis.get_xlim()
    if high < 100 * low:  # powers of ten alone would be one or two numbers
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter("")
    legend(axis)
    save(made, path)
