"""Accuracy against what is taken off the diagonal, drawn from the record of ``run frontier``.

python -m experiments.polarize.picture FILE --out FILE.png
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean, stdev

from gcnsys.report import style

LAYOUTS = {"degrees": "degree classes", "metis": "METIS alone"}
Points = dict[tuple[str, str, str], dict[float, list[tuple[float, float]]]]
"""Graph, layout, way -> what was aimed at -> reduction and change of accuracy, a seed each."""


def points(path: Path) -> Points:
    """What a record says, changes paired with plain training on the same layout."""
    found: Points = defaultdict(lambda: defaultdict(list))
    for line in path.read_text().splitlines():
        record = json.loads(line)
        ways = record["ways"]
        for name, row in ways.items():
            layout, way, *aim = name.split(", ")
            if not aim:
                continue
            change = row["test"] - ways[f"{layout}, plain"]["test"]
            at = float(aim[0].rstrip("%"))
            found[record["graph"], layout, way][at].append((100 * row["off_diagonal_reduction"], change))
    return found


def drawn(found: Points, path: Path) -> None:
    """A row of pictures for each graph, a column for each layout; bars are two standard errors."""
    graphs = sorted({graph for graph, _, _ in found})
    made, axes = style.figure(len(graphs), len(LAYOUTS), width=10, height=0.6 + 3.2 * len(graphs))
    for axis_row, graph in zip(axes, graphs, strict=True):
        for axis, (layout, title) in zip(axis_row, LAYOUTS.items(), strict=True):
            ways = [way for at, its, way in found if (at, its) == (graph, layout)]
            for number, way in enumerate(ways):
                seeds = list(found[graph, layout, way].values())
                where = [0.0, *(fmean(reduction for reduction, _ in each) for each in seeds)]
                mean = [0.0, *(fmean(change for _, change in each) for each in seeds)]
                error = [0.0, *(_error([change for _, change in each]) for each in seeds)]
                axis.errorbar(where, mean, error, label=way, capsize=2, marker=".", **style.line(number))
            axis.set_title(f"{graph}, {title}", fontsize=10)
            axis.set_xlabel("off-diagonal reduction, %")
            axis.set_ylabel("change of test accuracy, points")
    style.legend(axes[-1][0])
    style.save(made, path)


def _error(changes: list[float]) -> float:
    return 2 * stdev(changes) / len(changes) ** 0.5 if len(changes) > 1 else 0.0


def main() -> None:
    """Draw."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("record", type=Path)
    cli.add_argument("--out", type=Path, required=True)
    options = cli.parse_args()
    drawn(points(options.record), options.out)


if __name__ == "__main__":
    main()
