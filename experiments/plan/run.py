"""Plan, then train, and compare: bytes, memory and time of every method on cuts of real graphs."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.machine import report
from experiments.runfile import data_folder
from gcnsys.files import write_json

RESULTS = Path(__file__).parent / "results"
GRAPHS = ("coauthor_cs", "facebook_pages")
MODELS = {
    "gcn": ["--model", "gcn", "--hidden", "64"],
    "sage": ["--model", "sage", "--hidden", "128", "--layers", "3"],
    "gat": ["--model", "gat", "--hidden", "64", "--heads", "4"],
}
METHODS = ("vanilla", "bns 0.1", "pipegcn", "overlap bf16")
TIMES = ("epoch", "compute", "comm", "reduction")
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


def link() -> list[str]:
    """Bandwidth and latency between two ranks of this machine, over gloo, as options of a plan."""
    command = ["torchrun", "--standalone", "--nproc-per-node", "2", "-m", "experiments.plan.link"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the link could not be measured:\n{done.stderr}")
    found = json.loads(done.stdout)
    return [
        "--bandwidth",
        f"{found['bandwidth'] / 1e6:.0f}MB",
        "--latency",
        f"{found['latency'] * 1e6:.0f}us",
    ]


def cut(graph: str, parts: int, folder: Path) -> Path:
    """A partitioning, made where it is not there yet."""
    made = folder / f"{graph}-{parts}"
    if not made.exists():
        spec = f"npz:{data_folder() / f'{graph}.npz'}"
        gcnsys("partition", "build", spec, "--parts", parts, "--out", made)
    return made


def planned(graph: str, model: str, parts: int, network: Sequence[str], folder: Path) -> dict[str, Any]:
    """The predictions for a model on a cut, by method."""
    found = gcnsys(
        "plan",
        cut(graph, parts, folder),
        *MODELS[model],
        "--threads",
        1,
        "--ranks-a-machine",
        parts,
        *network,
    )
    return {each["method"]: each for each in found["predictions"] if each["method"] in METHODS}


def measured(
    graph: str, model: str, epochs: int, folder: Path, known: Sequence[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The runs of a model on a graph that are not known yet, one after the other.

    Each is planned for before it and after it, and a plan is the mean of both: a machine that others share is
    now faster and now slower, by more than is asked of a plan, within minutes.
    """
    have = {(run["parts"], run["method"]) for run in known}
    for parts in (1, 2):
        left = [name for name in (METHODS if parts > 1 else METHODS[:1]) if (parts, name) not in have]
        if not left:
            continue
        network = link()
        before = planned(graph, model, parts, network, folder)
        for name in left:
            about = {"graph": graph, "model": model, "method": name, "parts": parts, "network": network}
            seen = trained(before[name], graph, model, parts, epochs, folder)
            network = link()
            after = planned(graph, model, parts, network, folder)
            plans = [taken(each[name]) for each in (before, after)]
            yield about | {"planned": halfway(*plans), "measured": taken(seen), "plans": plans}
            before = after


def halfway(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What two plans of one run say of its time, on average; of all else they say the same."""
    return one | {kind: (one[kind] + other[kind]) / 2 for kind in TIMES}


def trained(
    predicted: dict[str, Any], graph: str, model: str, parts: int, epochs: int, folder: Path
) -> dict[str, Any]:
    """The summary of a run by a plan."""
    given = [piece for key, value in predicted["settings"].items() for piece in (f"--{key}", value)]
    with tempfile.TemporaryDirectory(dir=folder) as out:
        return gcnsys(
            "train", cut(graph, parts, folder), *MODELS[model], "--threads", 1, *given, "--epochs", epochs,
            "--out", Path(out) / "run",
        )  # fmt: skip


def again(runs: Sequence[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """The runs on record beside plans that are made now, for a link that is measured now."""
    found, plans, network = [], {}, link()
    for run in runs:
        key = run["graph"], run["model"], run["parts"]
        if key not in plans:
            plans[key] = planned(*key, network, folder)
        found.append(run | {"network": network, "planned": taken(plans[key][run["method"]])})
    return found


def taken(figures: dict[str, Any]) -> dict[str, Any]:
    """What is compared, of a prediction or of a summary."""
    end = "seconds" if "risk" in figures else "seconds_median"
    return {
        **{name: figures[f"{name}_bytes_sent_per_epoch"] for name in ("halo", "reduce")},
        "memory": max(figures["memory_bytes" if "risk" in figures else "peak_rss_bytes"]),
        **{kind: figures[f"{kind}_{end}"] for kind in ("epoch", "compute", "comm")},
        "reduction": figures[f"reduce_{end}"],
    }  # fmt: skip


def off(run: dict[str, Any], name: str) -> float:
    """By what share a prediction is above what was measured."""
    return float(run["planned"][name] / run["measured"][name] - 1)


def exact(run: dict[str, Any]) -> bool:
    """Whether all bytes of all ranks are as planned."""
    return all(run["planned"][name] == run["measured"][name] for name in ("halo", "reduce"))


def table(runs: Sequence[dict[str, Any]]) -> str:
    """The runs as a Markdown table, and how many of them are near enough."""
    lines = [
        "| graph | model | P | method | MB sent | exact | memory, MB: planned, measured | off | "
        "epoch, ms: planned, measured | off |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        plan, seen = run["planned"], run["measured"]
        cells = [
            run["graph"], run["model"], run["parts"], run["method"],
            f"{(sum(seen['halo']) + sum(seen['reduce'])) / 1e6:.2f}", "yes" if exact(run) else "NO",
            f"{plan['memory'] / 1e6:.0f}, {seen['memory'] / 1e6:.0f}", f"{off(run, 'memory'):+.0%}",
            f"{plan['epoch'] * 1e3:.1f}, {seen['epoch'] * 1e3:.1f}", f"{off(run, 'epoch'):+.0%}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    counts = [
        sum(map(exact, runs)), sum(abs(off(run, "memory")) <= MEMORY for run in runs),
        sum(abs(off(run, "epoch")) <= SECONDS for run in runs),
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
    cli.add_argument(
        "--out", type=Path, help="a folder for the records, to which runs that are missing are added"
    )
    cli.add_argument("--cuts", type=Path, help="a folder that keeps the cuts (default: a temporary one)")
    cli.add_argument("--minutes", type=float, help="begin no run after so many; the next call goes on")
    cli.add_argument("--table", action="store_true", help="show what is on record instead")
    cli.add_argument("--again", action="store_true", help="plan anew for the runs on record")
    options = cli.parse_args()
    if options.table:
        print(table([run for path in on_record() for run in json.loads(path.read_text())["runs"]]))
        return
    with tempfile.TemporaryDirectory() as folder:
        if options.again:
            for path in on_record():
                record = json.loads(path.read_text())
                write_json(path, record | {"runs": again(record["runs"], options.cuts or Path(folder))})
            return
        began = time.monotonic()
        for graph in options.graphs:
            for model in options.models.split(","):
                out = None if options.out is None else options.out / f"{graph}-{model}.json"
                runs = json.loads(out.read_text())["runs"] if out is not None and out.exists() else []
                for run in measured(graph, model, options.epochs, options.cuts or Path(folder), runs):
                    runs.append(run)
                    report({"epochs": options.epochs, "runs": runs}, out, show=False)
                    if options.minutes and time.monotonic() - began > 60 * options.minutes:
                        return
                print(table(runs), flush=True)


def on_record() -> list[Path]:
    """The files of records."""
    return sorted(RESULTS.glob("*.json"))


if __name__ == "__main__":
    main()
