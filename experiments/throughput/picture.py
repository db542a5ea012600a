"""Where an epoch's time goes, by network and method, as a picture.

python -m experiments.throughput.picture throughput.png results.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

from gcnsys.report.style import COLOURS, figure, save

PARTS = ("compute", "waiting", "reduce")


def title(name: str, network: dict[str, Any]) -> str:
    if name == "loopback":
        return "loopback"
    return f"links of {network['rate']}: {network['trace']['share']:.0%} of vanilla's epoch is halo traffic"


def draw(result: dict[str, Any], path: Path) -> None:
    """Stacked bars; a line where a method has a bound."""
    networks = result["networks"]
    made, axes = figure(1, len(networks), width=5.2 * len(networks), height=4.0)
    for place, (axis, (name, network)) in enumerate(zip(axes.flat, networks.items(), strict=True)):
        methods = list(network["methods"])[::-1]
        left = [0.0] * len(methods)
        for part, colour in zip(PARTS, COLOURS, strict=False):
            seconds = [network["methods"][method][part] for method in methods]
            axis.barh(range(len(methods)), seconds, left=left, color=colour, label=part)
            left = [a + b for a, b in zip(left, seconds, strict=True)]
        for row, method in enumerate(methods):
            record = network["methods"][method]
            axis.text(left[row], row, f" {record['times_as_fast']:.2f}x", va="center", fontsize=8)
            if "bound" in record:
                axis.plot([record["bound"]] * 2, [row - 0.45, row + 0.45], color="black", linewidth=1.5)
        axis.set_yticks(range(len(methods)), methods if place == 0 else [""] * len(methods))
        axis.set(xlabel="seconds an epoch", title=title(name, network))
        axis.title.set_fontsize(9)
    axes.flat[0].legend(fontsize=8)
    made.suptitle(
        f"{result['data']}, {result['parts']} ranks, 4 layers of 256; black: what a method may take"
    )
    save(made, path)


def main() -> None:
    style = argparse.RawDescriptionHelpFormatter
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    cli.add_argument("picture", type=Path)
    cli.add_argument("results", type=Path, help="what experiments.throughput.run --out wrote")
    options = cli.parse_args()
    draw(json.loads(options.results.read_text()), options.picture)


if __name__ == "__main__":
    main()
