"""What runs were asked and what came of them, in tables."""

from collections.abc import Sequence
from typing import Any

from gcnsys.partition import Manifest
from gcnsys.partition.quality import quality
from gcnsys.report.page import Table
from gcnsys.report.run import Run

NOT_KNOWN = "-"


def comparison(runs: Sequence[Run]) -> Table:
    """What came of each run, a row each."""
    columns = (
        "run", "data", "model", "method", "parts", "epochs", "score", "best validation", "test at best",
        "final loss", "ms an epoch", "sent an epoch, MB", "a rank holds, MB", "seconds",
    )  # fmt: skip
    return Table("", columns, [_compared(run) for run in runs])


def _compared(run: Run) -> list[str]:
    found = run.summary
    if not run.finished:
        best = max(run.series("val_acc")[1], default=None)
        last = run.epochs[-1]
        return [
            f"{run.name} (not finished)", str(run.config.get("data", NOT_KNOWN)),
            str(run.config.get("model", NOT_KNOWN)), str(run.config.get("method", NOT_KNOWN)), NOT_KNOWN,
            str(last["epoch"] + 1), NOT_KNOWN, NOT_KNOWN if best is None else f"{best:.4f}", NOT_KNOWN,
            _figure(last.get("loss"), ".4g"), *[NOT_KNOWN] * 4,
        ]  # fmt: skip
    return [
        run.name, found["dataset"], found["model"], found.get("sampler") or found["method"],
        str(found["parts"]), str(found["epochs"]), run.score, _figure(found["best_val_acc"], ".4f"),
        _figure(found["test_acc_at_best_val"], ".4f"), _figure(found["final_loss"], ".4g"),
        f"{1e3 * found['epoch_seconds_median']:.3g}", f"{sum(found['bytes_sent_per_epoch']) / 1e6:,.3g}",
        f"{max(found['peak_rss_bytes']) / 1e6:,.0f}", f"{found['seconds_total']:,.1f}",
    ]  # fmt: skip


def _figure(value: float | None, form: str) -> str:
    return NOT_KNOWN if value is None else format(value, form)


def settings(runs: Sequence[Run]) -> list[Table]:
    """The resolved configurations: what differs between runs, then what all share."""
    keys = list(dict.fromkeys(key for run in runs for key in run.config))
    differs = [key for key in keys if len({_value(run, key) for run in runs}) > 1]
    names = [run.name for run in runs]
    tables = []
    if differs:
        rows = [[key, *(_value(run, key) for run in runs)] for key in differs]
        tables.append(Table("Settings that differ", ["setting", *names], rows, words=True))
    rows = [[key, _value(runs[0], key)] for key in keys if key not in differs]
    title = "Settings" if len(runs) == 1 else "Settings that all share"
    tables.append(Table(title, ["setting", "value"], rows, words=True))
    return tables


def _value(run: Run, key: str) -> str:
    return str(run.config[key]) if key in run.config else NOT_KNOWN


def versions(runs: Sequence[Run]) -> Table:
    """What computed each run."""
    names = list(dict.fromkeys(name for run in runs for name in run.summary.get("versions", {})))
    rows = []
    for run in runs:
        known = run.summary.get("versions", {})
        said = [str(known.get(name, NOT_KNOWN)) for name in names]
        told = [str(run.summary.get(key, NOT_KNOWN)) for key in ("kernels", "seed")]
        rows.append([run.name, *said, *told])
    return Table("Versions", ["run", *names, "kernels", "seed"], rows)


def qualities(manifests: Sequence[tuple[str, Manifest]]) -> Table:
    """How good partitionings are, a row each."""
    columns = (
        "partitioning", "parts", "by", "objective", "cut edges", "cut share", "rows that cross",
        "halo per inner", "node balance", "edge balance", "train balance",
    )  # fmt: skip
    rows = []
    for name, cut in manifests:
        found: dict[str, Any] = quality(cut)
        rows.append([
            name, str(cut.num_parts), cut.method, cut.objective, f"{cut.edge_cut:,}",
            f"{found['cut_share']:.1%}", f"{cut.volume:,}", f"{found['halo_per_inner']:.3f}",
            *(f"{found[f'{kind}_balance']:.3f}" for kind in ("node", "edge", "train")),
        ])  # fmt: skip
    return Table("A balance is the largest part over the mean.", columns, rows)
