"""papers100M on paper: what an epoch would take, send and hold on 8 to 192 parts, from counts alone.

The published run is PipeGCN's: 32 GPUs, 3 layers of 48, 10.5 s an epoch, of which 6.6 s communication and
1.2 s reduction (vanilla). The 2.7 s that are left fix the rate of computing here; all else is predicted, and
the other published figures are compared.
"""

import argparse
from pathlib import Path
from typing import Any

from experiments.machine import report
from gcnsys.plan import Network, Pace, Prediction, Subject, methods, plan, predict, subject, units
from gcnsys.train import RunConfig

RESULTS = Path(__file__).parent / "papers.json"
PARTS = (8, 16, 32, 64, 128, 192)
SETTINGS = {"data": "counts:papers100m", "model": "sage", "layers": 3, "hidden": 48}
RANKS, COMPUTE = 32, 10.5 - 6.6 - 1.2
BASE = 370_000_000
"""Of the interpreter and its libraries, as measured here."""

PIPELINES = {
    "papers100M, 32 GPUs": (2.7, 6.6, 1.2, 2.6),
    "Reddit, 2 GPUs": (0.17, 0.34, 0.01, 0.0),
    "Reddit, 4 GPUs": (0.07, 0.40, 0.01, 0.10),
}
"""PipeGCN's breakdowns, s: computing, communication, reduction of vanilla; communication of pipegcn."""

TAIL = 8.0
"""The largest halo over inner nodes among 192 parts of papers100M, as BNS-GCN is reported to state it."""


def paced(found: Subject) -> Pace:
    """A rate at which the fullest of 32 ranks computes for as long as is published."""
    a_node, an_edge = found.job.flops
    load = next(cut for cut in found.cuts if cut.num_parts == RANKS).loads[0]
    rate = (a_node * load.inner + an_edge * (load.inner_edges + load.halo_edges)) / COMPUTE
    source = f"{rate / 1e9:.3g} GFLOPS a rank, from PipeGCN's 2.7 s"
    return Pace(0.0, a_node / rate, an_edge / rate, 0.0, source=source)


def compared(found: Subject, pace: Pace, network: Network) -> dict[str, list[float]]:
    """Predicted beside published."""
    at = {cut.num_parts: cut for cut in found.cuts}
    exact = predict(at[RANKS], found.job, methods()[0], pace, network, base=BASE)
    tail = at[192].loads[0]
    figures = {
        "vanilla, 32 parts: communication, s": [exact.comm, 6.6],
        "vanilla, 32 parts: reduction, s": [exact.reduce, 1.2],
        "vanilla, 32 parts: epoch, s": [exact.seconds, 10.5],
        "192 parts: largest halo over inner nodes": [tail.halo / tail.inner, TAIL],
    }
    for name, (compute, transfer, reduce, seen) in PIPELINES.items():
        hidden = max(0.0, transfer - compute - reduce)
        figures[f"pipegcn's wait, from vanilla's published parts: {name}, s"] = [hidden, seen]
    return figures


def row(each: Prediction) -> dict[str, Any]:
    """A line of the record: of the fullest rank, or the slowest."""
    sent = max(a + b for a, b in zip(each.halo_bytes, each.reduce_bytes, strict=True))
    return {
        "parts": each.parts, "method": each.method.name, "epoch_s": each.seconds, "compute_s": each.compute,
        "wait_s": each.comm, "reduce_s": each.reduce, "sent_gb_a_rank": sent / 1e9,
        "sent_gb_together": each.sent / 1e9, "memory_gb_a_rank": each.peak / 1e9,
    }  # fmt: skip


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--bandwidth", default="10Gbit", help="of a rank's link")
    cli.add_argument("--latency", default="50us")
    cli.add_argument("--out", type=Path, help="write the record here, too")
    options = cli.parse_args()
    network = Network(units.bandwidth(options.bandwidth), units.seconds(options.latency))
    found = subject(RunConfig.checked(SETTINGS), PARTS)
    pace = paced(found)
    made = plan(found, pace, network, methods((0.1, 0.01)), base=BASE)
    rows = [row(each) for each in made.predictions]
    result = {
        "settings": SETTINGS, "bandwidth": options.bandwidth, "latency": options.latency,
        "compute": pace.source,
        "published": compared(found, pace, network), "predictions": rows,
        "halo_ratio": {
            cut.num_parts: sum(load.halo for load in cut.loads) / sum(load.inner for load in cut.loads)
            for cut in found.cuts
        },
    }  # fmt: skip
    report(result, options.out, show=False)
    print(table(result))


def table(result: dict[str, Any]) -> str:
    """The record as two Markdown tables."""
    lines = ["| | predicted | published |", "|---|---|---|"]
    lines += [f"| {name} | {a:.3g} | {b:.3g} |" for name, (a, b) in result["published"].items()]
    kept = ("vanilla", "bns 0.1", "bns 0.01", "pipegcn", "pipegcn-gf", "int8", "bns 0.1 pipeline int8")
    lines += ["", "| P | method | epoch, s | compute | wait | reduce | GB sent a rank | GB a rank holds |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for each in result["predictions"]:
        if each["method"] in kept:
            figures = (
                each["epoch_s"], each["compute_s"], each["wait_s"], each["reduce_s"], each["sent_gb_a_rank"],
                each["memory_gb_a_rank"],
            )  # fmt: skip
            shown = " | ".join(f"{figure:.3g}" for figure in figures)
            lines.append(f"| {each['parts']} | {each['method']} | {shown} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
