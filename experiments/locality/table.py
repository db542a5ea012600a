"""Recorded locality as a table.

python -m experiments.locality.table experiments/locality/results/*.json
"""

import json
import sys
from pathlib import Path
from typing import Any

MODES = ("published", "compact", "random")


def cell(each: dict[str, Any], plain: dict[str, Any]) -> str:
    """Processor time, rows and misses against plain, accuracy in points; bold where locality gains."""
    less, rows = each["seconds_less_than_plain"], each["rows"][0] / plain["rows"][0] - 1
    text = f"{100 * less[0]:+.0f} ± {100 * less[1]:.0f}, {100 * rows:+.0f}, {each['points']:+.1f}"
    return f"**{text}**" if each["locality_gains"] else text


def main() -> None:
    print("| graph | sampler | " + " | ".join(MODES) + " | published, compact over the coin |")
    print("|---" * (len(MODES) + 3) + "|")
    for path in map(Path, sys.argv[1:]):
        record = json.loads(path.read_text())
        for sampler, found in record.get("samplers", {}).items():
            cells = [cell(found[mode], found["plain"]) for mode in MODES]
            over = [found[mode]["seconds_less_than_random"] for mode in MODES[:2]]
            control = ", ".join(f"{100 * mean:+.0f} ± {100 * error:.0f}" for mean, error in over)
            print(f"| `{path.stem}` | `{sampler}` | " + " | ".join(cells) + f" | {control} |")


if __name__ == "__main__":
    main()
