"""Faults at random moments, and what they come to.

python -m experiments.faults.run kill|silence|writing|damage [--trials N] [--seed S] [--out FILE]
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from experiments.faults import damage, kill, silence, writing
from experiments.machine import report

HARNESSES = {
    "kill": (kill, 100),
    "silence": (silence, 100),
    "writing": (writing, 200),
    "damage": (damage, 2000),
}


def counted(records: list[dict[str, object]]) -> list[dict[str, object]]:
    """How often each fault came to each outcome."""
    keys = [key for key in ("fault", "method", "parts", "writes", "file") if key in records[0]]
    counts = Counter((*(record[key] for key in keys), str(record["outcome"])[:60]) for record in records)
    rows = sorted(counts.items(), key=lambda row: list(map(str, row[0])))
    return [dict(zip((*keys, "outcome", "trials"), (*row, count), strict=True)) for row, count in rows]


def table(rows: list[dict[str, object]]) -> str:
    """The same for people."""
    cells = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def wrong(records: list[dict[str, object]]) -> list[dict[str, object]]:
    """Trials that came to what must not be: their outcomes are in capital letters."""
    return [record for record in records if str(record["outcome"]).split(" ")[0].isupper()]


def main() -> None:
    """Run one harness; exit code 1 if a trial came to what must not be."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("harness", choices=HARNESSES)
    cli.add_argument("--trials", type=int, help="how many (default: 100, 100, 200, 2000)")
    cli.add_argument("--seed", type=int, default=0)
    cli.add_argument("--work", type=Path, help="a folder to work in (default: one that goes afterwards)")
    cli.add_argument("--out", type=Path, help="write the result here, too")
    options = cli.parse_args()
    module, count = HARNESSES[options.harness]
    records, began = [], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gcnsys-faults-") as temporary:
        for record in module.trials(options.trials or count, options.work or Path(temporary), options.seed):
            records.append(record)
            if len(records) % 100 == 0 or options.harness in ("kill", "silence"):
                print(f"{len(records)}: {record}", file=sys.stderr, flush=True)
    outcomes = counted(records)
    print(table(outcomes))
    bad = wrong(records)
    result = {
        "harness": options.harness, "seed": options.seed, "trials": len(records), "wrong": bad,
        "seconds": round(time.monotonic() - began), "outcomes": outcomes,
    }  # fmt: skip
    report(result, options.out, show=False)
    print(f"{len(records)} trials, {len(bad)} of them wrong, {time.monotonic() - began:.0f} s")
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    main()
