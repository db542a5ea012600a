"""What ranks do: where an epoch's time goes, who sends how much to whom, and what each of them holds."""

from typing import Any

from gcnsys.errors import InputError
from gcnsys.report.page import Picture
from gcnsys.report.partitions import draw_matrix
from gcnsys.report.run import KINDS, Run
from gcnsys.report.style import COLOURS, byte_unit, figure, legend, png

HATCHES = ("", "//", "..")
"""Beside colours, for print."""

_NAMES = ("compute", "communication", "reduce")


def breakdown(run: Run, name: str) -> Picture:
    """A median epoch's time by rank.

    Args:
        run: whose.
        name: of the file.
    """
    seconds = run.rank_seconds()
    ranks = list(range(len(seconds["compute"])))
    made, axes = figure(1, 1, width=5.4, height=3.9)
    axis, bottoms = axes[0][0], [0.0] * len(ranks)
    for kind, label, colour, hatch in zip(KINDS, _NAMES, COLOURS, HATCHES, strict=False):
        heights = [1e3 * each for each in seconds[kind]]
        axis.bar(ranks, heights, bottom=bottoms, color=colour, hatch=hatch, edgecolor="white", width=0.6,
                 label=label)  # fmt: skip
        bottoms = [low + high for low, high in zip(bottoms, heights, strict=True)]
    axis.set(xlabel="rank", ylabel="milliseconds", title=f"{run.label}: a median epoch")
    _few(axis, ranks)
    legend(axis)
    alone = "" if "seconds_by_rank" in run.summary else " Of rank 0 alone: no more is known of this run."
    return Picture(name, f"{run.name}: where a median epoch's time goes, by rank.{alone}", png(made))


def memory(run: Run, name: str) -> Picture | None:
    """The most memory each rank held, and what its exchanges filled; None while the run goes on."""
    if not run.finished:
        return None
    made, axes = figure(2, 1, width=5.4, height=4.6)
    for axis, key, label, colour in (
        (axes[0][0], "peak_rss_bytes", "at most held", COLOURS[0]),
        (axes[1][0], "exchange_buffer_bytes", "exchange", COLOURS[1]),
    ):
        held = run.summary[key]
        ranks = list(range(len(held)))
        size, unit = byte_unit(max(held))
        axis.bar(ranks, [each / size for each in held], width=0.6, color=colour)
        axis.set_ylabel(f"{label}, {unit}")
        _few(axis, ranks)
    axes[0][0].set_title(f"{run.label}: memory")
    axes[1][0].set_xlabel("rank")
    says = f"{run.name}: the most memory each process held, and the buffers that an epoch's exchanges fill."
    return Picture(name, says, png(made))


def traffic(run: Run, name: str) -> Picture:
    """Who sends how much to whom in an epoch.

    Raises:
        InputError: that is not known; the sentence says why.
    """
    made, axes = figure(1, 1, width=5.4, height=4.2)
    sent = run.summary.get("halo_bytes_sent_to_per_epoch")
    if sent is not None:
        size, unit = byte_unit(max(max(row) for row in sent))
        title = f"{run.label}: sent in an epoch"
        draw_matrix(axes[0][0], [[each / size for each in row] for row in sent], unit, title)
        return Picture(name, f"{run.name}: {unit} of rows and gradients sent in an epoch.", png(made))
    try:
        parts = run.partitioning().parts
    except InputError as error:
        raise InputError(f"{run.name}: who sent how much to whom was not recorded, and {error}") from error
    draw_matrix(axes[0][0], [part.sends for part in parts], "rows", f"{run.label}: boundary rows")
    says = f"{run.name}: boundary rows of the partitioning; bytes were not recorded."
    return Picture(name, says, png(made))


def _few(axis: Any, ranks: list[int]) -> None:
    if len(ranks) <= 16:
        axis.set_xticks(ranks)
