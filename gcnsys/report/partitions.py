"""The picture of a partitioning: sizes of its parts, and who sends how much to whom."""

from pathlib import Path

from gcnsys.partition import Manifest
from gcnsys.report.style import COLOURS, figure, save


def plot(manifest: Manifest, path: Path) -> None:
    """Draw part sizes and the part-to-part traffic matrix to a PNG."""
    made, axes = figure(1, 2, width=11, height=4.2)
    made.suptitle(
        f"{manifest.dataset} in {manifest.num_parts} parts by {manifest.method}: "
        f"{manifest.volume:,} rows cross in one exchange"
    )
    sizes, traffic = axes[0]
    ranks = range(manifest.num_parts)
    inner = [part.inner for part in manifest.parts]
    sizes.bar(ranks, inner, color=COLOURS[0], label="inner nodes")
    halo = [part.halo for part in manifest.parts]
    sizes.bar(ranks, halo, bottom=inner, color=COLOURS[1], hatch="//", edgecolor="white", label="halo nodes")
    sizes.set(xlabel="part", ylabel="nodes", title="what each rank holds")
    sizes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, -0.32), ncols=2)
    sends = [part.sends for part in manifest.parts]
    image = traffic.imshow(sends, cmap="cividis")
    traffic.set(xlabel="to part", ylabel="from part", title="boundary rows sent")
    traffic.grid(visible=False)
    if manifest.num_parts <= 10:
        sizes.set_xticks(list(ranks))
        traffic.set(xticks=list(ranks), yticks=list(ranks))
        middle = max(max(row) for row in sends) / 2
        for sender, row in enumerate(sends):
            for receiver, count in enumerate(row):
                colour = "black" if count > middle else "white"
                traffic.text(
                    receiver, sender, f"{count:,}", ha="center", va="center", color=colour, fontsize=8
                )
    made.colorbar(image, ax=traffic, label="rows")
    save(made, path)
