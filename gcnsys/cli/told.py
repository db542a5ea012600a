"""What a training run says: while it goes on, and when it is over."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gcnsys.cli.output import Output
from gcnsys.train import RunConfig
from gcnsys.train.run import Watch
from gcnsys.train.summary import score_name


def finished(summary: dict[str, Any], folder: Path, output: Output) -> dict[str, Any]:
    """Say what came out of a run; its summary, with where it lies."""
    said = score_name(summary)
    seconds = {
        name: summary[f"{name}_seconds_median"] * 1e3 for name in ("epoch", "compute", "comm", "reduce")
    }
    output.say(
        f"test {said} {_score(summary['test_acc_at_best_val'])} at the best validation {said} "
        f"{_score(summary['best_val_acc'])} (epoch {summary['best_epoch'] + 1}); last epoch: "
        f"{_score(summary['test_acc'])}"
    )
    if summary.get("links"):
        output.say(
            f"of wrong answers to a held-out link, that share scores less; its mean reciprocal rank is "
            f"{summary['test_mrr_at_best_val']:.4f}, and it is among the first 10 of "
            f"{summary['test_hits10_at_best_val']:.1%}"
        )
    output.say(
        f"median epoch {seconds['epoch']:.1f} ms: compute {seconds['compute']:.1f}, communication "
        f"{seconds['comm']:.1f}, reduce {seconds['reduce']:.1f}; {summary['epochs']} epochs on "
        f"{summary['parts']} part(s) in {summary['seconds_total']:.1f} s; results in {folder}"
    )
    if summary["hidden_comm_seconds_median"] > 0 and summary["schedule"] != "sync":
        output.say(
            f"of {summary['transfer_seconds'] * 1e3:.1f} ms that an epoch's rows take to cross, "
            f"{summary['hidden_comm_seconds_median'] * 1e3:.1f} were hidden beside other work"
        )
    if summary.get("sampler"):
        counts = {name: sum(counted) for name, counted in summary["sampled_per_epoch"].items()}
        times = counts["rows"] / max(1, summary["rows_per_layer"]["training"])
        number = summary["sampled_per_epoch"]["batches"][0]
        output.say(
            f"an epoch drew {number:.0f} batch{'' if number == 1 else 'es'}: {counts['rows']:,.0f} rows were "
            f"gathered, {times:.1f} times those of the graph, for {counts['edges']:,.0f} edges"
        )
    computed, total = summary["rows_computed_per_layer"], summary["rows_per_layer"]
    for name in computed:
        if min(computed[name]) < total[name]:
            rows = ", ".join(f"{count:,}" for count in computed[name])
            output.say(f"{name} computes {rows} of {total[name]:,} rows, layer by layer")
    return {**summary, "folder": str(folder)}


def _score(value: float | None) -> str:
    """A score; none where no node has its mask, which a file of JSON says by null."""
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


@contextlib.contextmanager
def watched(config: RunConfig, output: Output) -> Iterator[Watch]:
    """Live progress on a terminal, about ten lines elsewhere."""
    every = max(1, config.epochs // 10)
    if not output.err.is_terminal:

        def line(record: dict[str, Any]) -> None:
            if (record["epoch"] + 1) % every == 0:
                output.note(f"epoch {record['epoch'] + 1}/{config.epochs}  {_figures(record)}")

        yield line
        return
    columns = (TextColumn("epoch"), MofNCompleteColumn(), BarColumn(20), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn(), console=output.err) as progress:
        bar = progress.add_task("", total=config.epochs)
        yield lambda record: progress.update(bar, advance=1, description=_figures(record))


def _figures(record: dict[str, Any]) -> str:
    seconds = max(record["seconds"], 1e-12)
    shares = "/".join(f"{record[f'{name}_seconds'] / seconds:.0%}" for name in ("compute", "comm", "reduce"))
    accuracies = " ".join(
        f"{name} {record[f'{name}_acc']:.4f}" for name in ("train", "val", "test") if f"{name}_acc" in record
    )
    return f"loss {record['loss']:.4f}  {accuracies}  {seconds * 1e3:.1f} ms (compute/comm/reduce {shares})"
