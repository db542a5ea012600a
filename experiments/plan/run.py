"""Plan, then train, and compare: bytes, memory and time of every method on cuts of real graphs."""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from experiments.machine import report
from experiments.runfile import data_folder
from gcnsys.runtime.comm import Comm
from gcnsys.testing.ranks import run_ranks

RESULTS = Path(__file__).parent / "results"
GRAPHS = ("coauthor_cs", "facebook_pages")
MODELS = {
    "gcn": ["--model", "gcn", "--hidden", "64"],
    "sage": ["--model", "sage", "--hidden", "128", "--layers", "3"],
    "gat": ["--model", "gat", "--hidden", "64", "--heads", "4"],
}
METHODS = ("vanilla", "bns 0.1", "pipegcn")
MEMORY, SECONDS = 0.15, 0.25
"""By how much predictions may be off."""


def gcnsys(*arguments: object) -> dict[str, Any]:
    """A command's JSON result."""
    command = [sys.executable, "-m", "gcnsys", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"gcnsys {' '.join(map(str, arguments))} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def link(size: int = 1 << 23) -> tuple[float, float]:
    """Bytes a second and seconds of latency between two ranks of this machine, over gloo."""

    def body(comm: Comm) -> list[float]:
        found = []
        for length in (1, size):
            rows, counts = torch.zeros(length, 1), [0, 0]
            counts[1 - comm.rank] = length
            times = []
            for _ in range(9):
                comm.add(torch.zeros(1))
                began = time.perf_counter()
                comm.swap(rows, counts, counts).land()
                times.append(time.perf_counter() - began)
            found.append(statistics.median(times))
        return found

    least, most = (max(times) for times in zip(*run_ranks(2, body), strict=True))
    return 4 * size / max(1e-9, most - least), least


def measured(graph: str, names: Sequence[str], epochs: int, folder: Path) -> dict[str, Any]:
    """All runs of a graph."""
    runs = []
    for parts in (1, 2):
        cut = folder / f"{graph}-{parts}"
        gcnsys("partition", "build", f"npz:{data_folder() / f'{graph}.npz'}", "--parts", parts, "--out", cut)
        for name in names:
            model = [*MODELS[name], "--threads", 1]
            bandwidth, latency = link()
            network = ["--bandwidth", f"{bandwidth / 1e6:.0f}MB", "--latency", f"{latency * 1e6:.0f}us"]
            plan = gcnsys("plan", cut, *model, *network)
            for predicted in plan["predictions"]:
                if predicted["method"] not in METHODS:
                    continue
                given = [
                    piece for pair in predicted["settings"].items() for piece in (f"--{pair[0]}", pair[1])
                ]
                out = folder / f"{graph}-{parts}-{name}-{len(runs)}"
                seen = gcnsys("train", cut, *model, *given, "--epochs", epochs, "--out", out)
                runs.append(compared(graph, name, predicted, seen, network))
                print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    return {"graph": graph, "epochs": epochs, "runs": runs}


def compared(
    graph: str, model: str, predicted: dict[str, Any], seen: dict[str, Any], network: list[str]
) -> dict[str, Any]:
    """Prediction and measurement of one run."""
    kinds = ("epoch", "compute", "comm", "reduce")
    names = ("halo_bytes_sent_per_epoch", "reduce_bytes_sent_per_epoch")
    return {
        "graph": graph, "model": model, "method": predicted["method"], "parts": predicted["parts"],
        "network": network,
        "bytes": all(predicted[name] == seen[name] for name in names),
        "sent": sum(sum(seen[name]) for name in names),
        "memory": [max(predicted["memory_bytes"]), max(seen["peak_rss_bytes"])],
        **{kind: [predicted[f"{kind}_seconds"], seen[f"{kind}_seconds_median"]] for kind in kinds},
    }  # fmt: skip


def off(pair: Sequence[float]) -> float:
    """By what share a prediction is above what was measured."""
    return pair[0] / pair[1] - 1


def table(runs: Sequence[dict[str, Any]]) -> str:
    """The runs as a Markdown table, and how many of them are near enough."""
    lines = [
        "| graph | model | P | method | MB sent | exact | memory, MB: planned, measured | off | "
        "epoch, ms: planned, measured | off |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        memory, epoch = run["memory"], run["epoch"]
        cells = [
            run["graph"], run["model"], run["parts"], run["method"], f"{run['sent'] / 1e6:.2f}",
            "yes" if run["bytes"] else "NO", f"{memory[0] / 1e6:.0f}, {memory[1] / 1e6:.0f}",
            f"{off(memory):+.0%}", f"{epoch[0] * 1e3:.1f}, {epoch[1] * 1e3:.1f}", f"{off(epoch):+.0%}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    counts = [
        sum(bool(run["bytes"]) for run in runs), sum(abs(off(run["memory"])) <= MEMORY for run in runs),
        sum(abs(off(run["epoch"])) <= SECONDS for run in runs),
    ]  # fmt: skip
    lines += [
        "",
        f"Of {len(runs)} runs, bytes are exact in {counts[0]}, memory is within {MEMORY:.0%} in {counts[1]}, "
        f"an epoch within {SECONDS:.0%} in {counts[2]}.",
    ]
    return "\n".join(lines)


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("graphs", nargs="*", default=GRAPHS, help="names of real graphs")
    cli.add_argument("--models", default=",".join(MODELS), help="of them, with commas")
    cli.add_argument("--epochs", type=int, default=30)
    cli.add_argument("--out", type=Path, help="a folder for the records (default: none are written)")
    cli.add_argument("--table", action="store_true", help="show what is on record instead")
    options = cli.parse_args()
    if options.table:
        records = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
        print(table([run for record in records for run in record["runs"]]))
        return
    with tempfile.TemporaryDirectory() as folder:
        for graph in options.graphs:
            for name in options.models.split(","):
                result = measured(graph, [name], options.epochs, Path(folder) / name)
                out = None if options.out is None else options.out / f"{graph}-{name}.json"
                report(result, out, show=False)
                print(table(result["runs"]))


if __name__ == "__main__":
    main()
