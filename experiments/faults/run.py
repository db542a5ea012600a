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


def table(records: list[dict[str, object]]) -> str:
    """How often each fault came to each outcome."""
    keys = [key for key in ("fault", "method", "parts", "writes", "file") if key in records[0]]
    counts = Counter((*(str(record[key]) for key in keys), str(record["outcome"])[:60]) for record in records)
    rows = [(*keys, "outcome", "trials"), *((*row, str(count)) for row, count in sorted(counts.items()))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
    )


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
    print(table(records))
    wrong = [record for record in records if str(record["outcome"]).split(" ")[0].isupper()]
    result = {
        "harness": options.harness, "seed": options.seed, "trials": len(records), "wrong": wrong,
        "seconds": round(time.monotonic() - began), "records": records,
    }  # fmt: skip
    report(result, options.out, show=False)
    print(f"{len(records)} trials, {len(wrong)} of them wrong, {time.monotonic() - began:.0f} s")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
