"""The records of several graphs as one table: what methods lose beside vanilla, in points of test accuracy.

python -m experiments.methods.table results/*.json
"""

import json
import sys
from pathlib import Path
from typing import Any


def cell(record: dict[str, Any]) -> str:
    """Points lost with the standard error of the difference; what must not be is marked."""
    lost = f"{record['points_lost']:+.2f} ± {record['standard_error_of_difference']:.2f}"
    return lost if record.get("within", True) else f"**{lost}**"


def table(results: list[dict[str, Any]]) -> str:
    """A row a method, a column a graph and number of parts."""
    columns = [
        (result["graph"], count, methods) for result in results for count, methods in result["parts"].items()
    ]
    names = list(columns[0][2])
    rows = [["", *(f"{graph}, P = {count}" for graph, count, _ in columns)], ["---"] * (len(columns) + 1)]
    rows.append(["`vanilla`, %", *(f"{100 * methods['vanilla']['mean']:.2f}" for *_, methods in columns)])
    for name in names[1:]:
        rows.append([name, *(cell(methods[name]) for *_, methods in columns)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    print(table([json.loads(Path(path).read_text()) for path in sys.argv[1:]]))
