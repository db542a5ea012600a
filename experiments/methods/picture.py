"""What methods lose in accuracy beside vanilla, by graph and parts, and how they converge, as a picture.

python -m experiments.methods.picture methods.png results/*.json
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gcnsys.report.style import COLOURS, LINES, figure, save

SHOWN = ("vanilla", "bns 0.1", "bns 0.01", "none", "pipegcn", "pipegcn-gf", "bns 0.1 x pipeline x int8")


def draw(results: Sequence[dict[str, Any]], path: Path) -> None:
    """A column a graph: points lost with two standard errors, and validation accuracy by epoch."""
    made, axes = figure(2, len(results), width=4.0 * len(results), height=7.5)
    for place, result in enumerate(results):
        lost, curves = axes[0, place], axes[1, place]
        for number, (count, methods) in enumerate(result["parts"].items()):
            rows = [row + 0.3 * number for row in range(len(methods))]
            lost.errorbar(
                [record["points_lost"] for record in methods.values()], rows,
                xerr=[2 * record["standard_error_of_difference"] for record in methods.values()],
                fmt="os"[number % 2], color=COLOURS[number], markersize=4, linewidth=1, label=f"P = {count}",
            )  # fmt: skip
        names = list(next(iter(result["parts"].values())))
        lost.set_yticks(range(len(names)), names if place == 0 else [""] * len(names))
        lost.invert_yaxis()
        lost.axvline(0, color="black", linewidth=0.8)
        lost.set(xlabel="points below vanilla", title=result["graph"])
        methods = list(result["parts"].values())[-1]
        for number, name in enumerate(SHOWN):
            colour, style = COLOURS[number % len(COLOURS)], LINES[number % len(LINES)]
            curves.plot(methods[name]["validation"], color=colour, linestyle=style, linewidth=1, label=name)
        curves.set(xlabel="epoch", ylabel="validation accuracy" if place == 0 else "")
    axes[0, 0].legend(fontsize=8)
    axes[1, 0].legend(fontsize=7)
    save(made, path)


def main() -> None:
    style = argparse.RawDescriptionHelpFormatter
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    cli.add_argument("picture", type=Path)
    cli.add_argument("results", type=Path, nargs="+", help="what experiments.methods.run wrote")
    options = cli.parse_args()
    draw([json.loads(path.read_text()) for path in options.results], options.picture)


if __name__ == "__main__":
    main()
