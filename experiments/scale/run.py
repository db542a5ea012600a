"""Make, cut and train the Reddit-like graph; report seconds and peak memory of each step."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.machine import report

GIB = 2**30


def timed(*arguments: object) -> tuple[dict[str, Any], dict[str, float]]:
    """Run a gcnsys command; its JSON result, its seconds, by the clock and of all cores, and peak memory."""
    command = [sys.executable, "-m", "gcnsys", *map(str, arguments), "--json"]
    print("$ gcnsys", *arguments, file=sys.stderr, flush=True)
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode:
        raise SystemExit(f"gcnsys {arguments[0]} failed with code {process.returncode}")
    cost = {
        "seconds": time.perf_counter() - began, "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_gib": usage.ru_maxrss * 1024 / GIB,
    }  # fmt: skip
    return json.loads(said), cost


def measured(nodes: int, edges: int, folder: Path, counts: Sequence[int]) -> dict[str, Any]:
    """All steps for each number of parts."""
    graph = folder / "graph"
    spec = f"synthetic:reddit,nodes={nodes},edges={edges}"
    _, made = timed("data", "convert", spec, graph)
    result: dict[str, Any] = {"graph": {"spec": spec}, "make": made}
    for parts in counts:
        cut = folder / f"cut-{parts}"
        built, cost = timed("partition", "build", f"npy:{graph}", "--parts", parts, "--out", cut)
        summary, _ = timed(
            "train", cut, "--model", "sage", "--hidden", 64, "--epochs", 3, "--out", folder / f"run-{parts}"
        )
        peaks = [peak / GIB for peak in summary["peak_rss_bytes"]]
        result[f"P={parts}"] = {
            "cut": cost | {"of_which_metis_seconds": built["seconds"]["cut"]},
            "volume_rows": built["volume"], "edge_cut": built["edge_cut"],
            "train": {
                "seconds": summary["seconds_total"], "epoch_seconds": summary["epoch_seconds_median"],
                "peak_gib_per_rank": peaks, "peak_gib_together": sum(peaks),
                "final_loss": summary["final_loss"],
            },
        }  # fmt: skip
    return result


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--nodes", type=int, default=233_000)
    cli.add_argument("--edges", type=int, default=57_300_000, help="undirected")
    cli.add_argument("--parts", type=int, nargs="+", default=[2, 4])
    cli.add_argument("--out", type=Path, help="write the result here, too")
    options = cli.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measured(options.nodes, options.edges, Path(folder), options.parts)
    report(result, options.out)


if __name__ == "__main__":
    main()
