"""Cut graphs of growing size into eight parts; report seconds and peak memory, and the line through them.

Two families: ``reddit`` has Reddit's 492 edges a node, ``papers`` the 29 that ogbn-papers100M has once its
citations go both ways. A size that is on record is not measured again.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.machine import report
from experiments.scale.run import GIB, timed

PARTS = 8
SIZES = (12.5, 25.0, 50.0, 100.0)
"""Millions of directed edges."""

LIMITS = {"gib": 12.0, "seconds": 360.0}
"""For a hundred millions."""

PAPERS = {"nodes": 111_059_956, "edges": 1_615_685_872}
"""ogbn-papers100M: nodes, citations counted once."""


@dataclass(frozen=True, slots=True)
class Family:
    """Graphs alike but for their size.

    Attributes:
        degree: directed edges a node.
        features: of a node.
        classes: of nodes.
    """

    degree: float
    features: int
    classes: int

    def spec(self, millions: float) -> str:
        """Of a graph of so many directed edges."""
        pairs = round(millions * 1e6 / 2)
        nodes = round(2 * pairs / self.degree)
        return f"synthetic:reddit,nodes={nodes},edges={pairs},features={self.features},classes={self.classes}"


FAMILIES = {
    "reddit": Family(2 * 57_300_000 / 233_000, 602, 41),
    "papers": Family(2 * PAPERS["edges"] / PAPERS["nodes"], 128, 172),
}


def measured(family: str, method: str, millions: float, folder: Path) -> dict[str, Any]:
    """One graph, made where it is not there yet, and cut."""
    graph, parts = folder / f"{family}-{millions:g}", folder / "parts"
    spec = FAMILIES[family].spec(millions)
    made: dict[str, Any] = {}
    if not graph.exists():
        _, made = timed("data", "convert", spec, graph)
    built, cost = timed(
        "partition",
        "build",
        f"npy:{graph}",
        "--parts",
        PARTS,
        "--method",
        method,
        "--out",
        parts,
        "--overwrite",
    )
    shutil.rmtree(parts)
    return {
        "family": family, "method": method, "spec": spec, "nodes": built["num_nodes"],
        "edges": built["num_edges"], **cost, "steps": built["seconds"], "make": made,
        "volume_rows": built["volume"], "edge_cut": built["edge_cut"],
        "features_gib": built["num_nodes"] * built["num_features"] * 4 / GIB,
    }  # fmt: skip


def line(rows: Sequence[dict[str, Any]], what: str) -> dict[str, float]:
    """The least-squares line of a figure over directed edges, and what it says of papers100M."""
    edges, figures = (np.array([row[key] for row in rows], float) for key in ("edges", what))
    slope, start = np.polyfit(edges, figures, 1)
    told = slope * edges + start
    rest = float(((figures - told) ** 2).sum() / max(1e-300, ((figures - figures.mean()) ** 2).sum()))
    return {
        "start": float(start), "per_million_edges": float(slope * 1e6), "r_squared": 1 - rest,
        "worst_off": float(np.abs(figures / told - 1).max()),
        "at_1.6G_edges": float(start + slope * 1.6e9),
        "at_3.2G_edges": float(start + slope * 2 * PAPERS["edges"]),
    }  # fmt: skip


def lines(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of each family and method of which there are three sizes or more."""
    found = {}
    for key in dict.fromkeys((row["family"], row["method"]) for row in rows):
        mine = [row for row in rows if (row["family"], row["method"]) == key]
        if len(mine) > 2:
            found[" ".join(key)] = {what: line(mine, what) for what in ("cpu_seconds", "peak_gib")}
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The record as a Markdown table."""
    lines = [
        "| graph | method | nodes | directed edges | seconds | of a core | cut | order | write | peak, GiB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        steps = " | ".join(f"{row['steps'][name]:.0f}" for name in ("cut", "order", "write"))
        lines.append(
            f"| {row['family']} | {row['method']} | {row['nodes']:,} | {row['edges']:,} | "
            f"{row['seconds']:.0f} | {row['cpu_seconds']:.0f} | {steps} | {row['peak_gib']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--family", choices=list(FAMILIES), default="reddit")
    cli.add_argument("--method", default="metis")
    cli.add_argument("--sizes", default=",".join(f"{size:g}" for size in SIZES), help="millions of edges")
    cli.add_argument("--folder", type=Path, help="where graphs are kept (default: a temporary one)")
    cli.add_argument("--out", type=Path, help="the record: read, added to and written")
    options = cli.parse_args()
    record = json.loads(options.out.read_text()) if options.out and options.out.exists() else {"runs": []}
    rows: list[dict[str, Any]] = record["runs"]
    with tempfile.TemporaryDirectory() as temporary:
        for size in map(float, options.sizes.split(",")):
            spec = FAMILIES[options.family].spec(size)
            if all((row["spec"], row["method"]) != (spec, options.method) for row in rows):
                rows.append(measured(options.family, options.method, size, options.folder or Path(temporary)))
                rows.sort(key=lambda row: (row["family"], row["method"], row["edges"]))
                result = {"parts": PARTS, "limits": LIMITS, "runs": rows, "lines": lines(rows)}
                report(result, options.out, show=False)
    print(table(rows))


if __name__ == "__main__":
    main()
