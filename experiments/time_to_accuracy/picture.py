"""Validation accuracy against seconds, a panel a network, from a record of the runner.

python -m experiments.time_to_accuracy.picture time.png results.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

from gcnsys.report.style import COLOURS, LINES, figure, save


def draw(result: dict[str, Any], path: Path) -> None:
    """A line a method; the target dashed."""
    networks = result["networks"]
    made, axes = figure(1, len(networks), width=4.5 * len(networks), height=4.0)
    for place, record in enumerate(networks.values()):
        panel = axes[0, place]
        for number, (method, row) in enumerate(record["methods"].items()):
            curve = result["validation"][method]
            panel.plot(
                [row["epoch_seconds"] * (epoch + 1) for epoch in range(len(curve))], curve, label=method,
                color=COLOURS[number % len(COLOURS)], linestyle=LINES[number % len(LINES)], linewidth=1,
            )  # fmt: skip
        panel.axhline(result["target"], color="black", linestyle="--", linewidth=0.8)
        panel.set(
            title=record["rate"], xlabel="seconds of training", ylabel="" if place else "validation accuracy"
        )
    axes[0, 0].legend(fontsize=7)
    save(made, path)


def main() -> None:
    style = argparse.RawDescriptionHelpFormatter
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    cli.add_argument("picture", type=Path)
    cli.add_argument("result", type=Path, help="what experiments.time_to_accuracy.run wrote")
    options = cli.parse_args()
    draw(json.loads(options.result.read_text()), options.picture)


if __name__ == "__main__":
    main()
