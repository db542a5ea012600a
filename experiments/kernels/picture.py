"""How far ahead of the better peer our sums over neighbours are, by graph and width, as a picture.

python -m experiments.kernels.picture spmm.png spmm.json ...
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from gcnsys.report.style import figure, save


def leads(records: list[dict[str, Any]], threads: int) -> tuple[list[str], list[int], np.ndarray]:
    """Graphs, widths, and the fastest peer's time over ours, in the worse direction ``[graph, width]``."""
    graphs = list(dict.fromkeys(record["graph"].removesuffix(".npz") for record in records))
    widths = sorted({record["width"] for record in records})
    least = np.full((len(graphs), len(widths)), np.nan)
    for record in records:
        if record["threads"] == threads:
            place = graphs.index(record["graph"].removesuffix(".npz")), widths.index(record["width"])
            ratios = [ratio for peer, ratio in record["times_ours"].items() if not peer.startswith("ours")]
            least[place] = np.fmin(least[place], min(ratios))
    return graphs, widths, least


def draw(records: list[dict[str, Any]], path: Path) -> None:
    """A field for each number of threads; above 1 ours is the faster."""
    counts = sorted({record["threads"] for record in records})
    made, axes = figure(1, len(counts), width=5.5 * len(counts), height=4.2)
    for place, (axis, threads) in enumerate(zip(axes.flat, counts, strict=True)):
        graphs, widths, least = leads(records, threads)
        axis.grid(visible=False)
        axis.imshow(np.log2(least), cmap="PuOr", vmin=-2, vmax=2, aspect="auto")
        axis.set_xticks(range(len(widths)), map(str, widths))
        axis.set_yticks(range(len(graphs)), graphs if place == 0 else [""] * len(graphs))
        axis.set(xlabel="features", title=f"{threads} thread{'s' * (threads > 1)}")
        for (row, column), ratio in np.ndenumerate(least):
            if not np.isnan(ratio):
                colour = "white" if ratio > 2 else "black"
                axis.text(column, row, f"{ratio:.2f}", ha="center", va="center", fontsize=8, color=colour)
    made.suptitle("Time of the fastest of torch, DGL and PyG over ours, the worse of forward and backward")
    save(made, path)


def main() -> None:
    style = argparse.RawDescriptionHelpFormatter
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    cli.add_argument("picture", type=Path)
    cli.add_argument("results", type=Path, nargs="+", help="what experiments.kernels.spmm --out wrote")
    options = cli.parse_args()
    draw([r for path in options.results for r in json.loads(path.read_text())["records"]], options.picture)


if __name__ == "__main__":
    main()
