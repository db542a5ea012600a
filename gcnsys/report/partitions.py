"""The picture of a partitioning: sizes of its parts, and who sends how much to whom."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gcnsys.partition import Manifest
from gcnsys.report.style import COLOURS, figure, save

_LEGIBLE = 10
"""Up to so many ranks each number is written down."""


def plot(manifest: Manifest, path: Path) -> None:
    """Draw part sizes and the part-to-part traffic matrix to a PNG."""
    made, axes = figure(1, 2, width=11, height=4.2)
    made.suptitle(
        f"{manifest.dataset} in {manifest.num_parts} parts by {manifest.method}: "
        f"{manifest.volume:,} rows cross in one exchange"
    )
    sizes, traffic = axes[0]
    draw_sizes(sizes, manifest)
    draw_matrix(traffic, [part.sends for part in manifest.parts], "rows", "boundary rows sent")
    save(made, path)


def draw_sizes(axis: Any, manifest: Manifest) -> None:
    """Draw what each rank holds."""
    ranks = range(manifest.num_parts)
    inner = [part.inner for part in manifest.parts]
    axis.bar(ranks, inner, color=COLOURS[0], label="inner nodes")
    halo = [part.halo for part in manifest.parts]
    axis.bar(ranks, halo, bottom=inner, color=COLOURS[1], hatch="//", edgecolor="white", label="halo nodes")
    axis.set(xlabel="part", ylabel="nodes", title="what each rank holds")
    axis.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, -0.32), ncols=2)
    if manifest.num_parts <= _LEGIBLE:
        axis.set_xticks(list(ranks))


def draw_matrix(axis: Any, sends: Sequence[Sequence[float]], unit: str, title: str) -> None:
    """Draw who sends how much to whom: a row a sender, a column a receiver."""
    image = axis.imshow(sends, cmap="cividis")
    axis.set(xlabel="to part", ylabel="from part", title=title)
    axis.grid(visible=False)
    ranks = list(range(len(sends)))
    if len(sends) <= _LEGIBLE:
        axis.set(xticks=ranks, yticks=ranks)
        middle = max(max(row) for row in sends) / 2
        for sender, row in enumerate(sends):
            for receiver, count in enumerate(row):
                said = f"{count:,}" if isinstance(count, int) else f"{count:.3g}"
                colour = "black" if count > middle else "white"
                axis.text(receiver, sender, said, ha="center", va="center", color=colour, fontsize=8)
    axis.figure.colorbar(image, ax=axis, label=unit)
