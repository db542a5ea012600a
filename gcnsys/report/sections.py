"""The sections of a report, from runs and from what is named beside them."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gcnsys.errors import InputError
from gcnsys.islands import disk as islands_disk
from gcnsys.manifest import NAME
from gcnsys.partition import Manifest
from gcnsys.report import estimates, islands, partitions, ranks, tables
from gcnsys.report.curves import curves, time_to_score
from gcnsys.report.page import Picture, Section, Table
from gcnsys.report.run import Run
from gcnsys.report.style import figure, png


def of_runs(runs: Sequence[Run]) -> list[Section]:
    """What is to be told of runs."""
    return [_overview(runs), _curves(runs), *_ranks(runs), _partitions(runs), _settings(runs)]


def _overview(runs: Sequence[Run]) -> Section:
    says = []
    if len({run.summary.get("dataset") for run in runs if run.finished}) > 1:
        says.append("These runs are not all of the same data: their scores and times do not compare.")
    going = [run.name for run in runs if not run.finished]
    if going:
        says.append(f"Not finished, so that only their epochs are known: {', '.join(going)}.")
    return Section("runs", "Runs", says, [tables.comparison(runs)])


def _curves(runs: Sequence[Run]) -> Section:
    found, pictures = time_to_score(runs), curves(runs)
    says = ["Time is that of training alone: evaluations, checkpoints and starting are not counted."]
    if found is None:
        return Section("curves", "Curves", [*says, "No evaluation was recorded yet."], (), pictures)
    return Section("curves", "Curves and time to accuracy", says, [found[0]], [*pictures, found[1]])


def _ranks(runs: Sequence[Run]) -> list[Section]:
    names = [f"-{number}" if len(runs) > 1 else "" for number in range(1, len(runs) + 1)]
    times = [ranks.breakdown(run, f"ranks{name}") for run, name in zip(runs, names, strict=True)]
    held = [ranks.memory(run, f"memory{name}") for run, name in zip(runs, names, strict=True)]
    says, sent = [], []
    for run, name in zip(runs, names, strict=True):
        if run.summary.get("parts") == 1:
            says.append(f"{run.name}: one part, so nothing crosses.")
            continue
        try:
            sent.append(ranks.traffic(run, f"traffic{name}"))
        except InputError as error:
            says.append(f"{error}.")
    waiting = "Communication is the time a rank waits for rows, not that which hides beside other work."
    return [
        Section("ranks", "Where time goes", [waiting], (), times),
        Section("traffic", "Traffic", says, (), sent),
        Section("memory", "Memory", _missing(held), (), [each for each in held if each is not None]),
    ]


def _missing(held: Sequence[Picture | None]) -> list[str]:
    return ["Memory is known of finished runs alone."] if None in held else []


def _partitions(runs: Sequence[Run]) -> Section:
    found: dict[str, tuple[str, Manifest]] = {}
    says = []
    for run in runs:
        try:
            manifest = run.partitioning()
        except InputError as error:
            says.append(f"{run.name}: nothing is known of its partitioning: {error}.")
            continue
        found.setdefault(manifest.fingerprint, (str(run.config["data"]), manifest))
    pictures = []
    for number, (name, manifest) in enumerate(found.values(), 1):
        made, axes = figure(1, 1, width=5.4, height=3.9)
        partitions.draw_sizes(axes[0][0], manifest)
        pictures.append(Picture(f"parts-{number}", f"{name}: nodes of each part.", png(made)))
    shown = [tables.qualities(list(found.values()))] if found else []
    return Section("partitions", "Partitionings", says, shown, pictures)


def _settings(runs: Sequence[Run]) -> Section:
    return Section("settings", "Settings and versions", (), [*tables.settings(runs), tables.versions(runs)])


def of_islands(folder: Path, name: str) -> Section:
    """What ``gcnsys islandize`` left in a folder."""
    saved = islands_disk.load(folder)
    about, found = saved.manifest, saved.islands.summary()
    says = [
        f"{about.dataset}: {found['hubs']:,} hubs of {found['nodes']:,} nodes and {found['islands']:,} "
        f"islands, the largest of {found['largest_island']:,} nodes; {found['inter_hub_share']:.1%} of "
        f"{found['edges']:,} directed edges are between hubs. {about.rule}: {saved.plan.num_shared:,} shared "
        f"sums.",
    ]  # fmt: skip
    picture = Picture(
        name, f"{about.dataset}: adjacency before and after, and sizes of islands.",
        png(islands.drawn(saved.islands, about.dataset)), wide=True,
    )  # fmt: skip
    return Section(name, f"Islands of {about.dataset}", says, (), [picture])


def of_estimates(path: Path, name: str) -> Section:
    """What ``gcnsys estimate --json`` printed, kept in a file.

    Raises:
        InputError: it is not that.
    """
    try:
        told = json.loads(path.read_text())
        work, found, baseline = told["work"], told["estimates"], told["baseline"]["accelerator"]
        rows = [
            [
                each["accelerator"], f"{1e6 * each['seconds']:,.4g}", f"{each['uncertainty_factor']:g}",
                f"{each['speedup']:,.1f}", f"{each['utilisation']:.0%}",
                f"{each['off_chip_bytes'] / 1e6:,.3g}",
                tables.NOT_KNOWN if each["joules"] is None else f"{1e6 * each['joules']:,.3g}",
            ]
            for each in found
        ]  # fmt: skip
        picture = png(estimates.drawn(work, found, baseline))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not what gcnsys estimate --json prints ({type(error).__name__}: {error}); sweeps are "
            f"drawn by estimate --plot"
        ) from error
    columns = (
        "by estimate", "latency, µs", "wrong by up to x", f"over {baseline}", "of peak", "off chip, MB",
        "energy, µJ",
    )  # fmt: skip
    says = f"{work}: latency, speedup, bytes off chip and energy by estimate."
    shown = Picture(name, says, picture, wide=True)
    return Section(name, f"Estimates for {work}", (), [Table("", columns, rows)], [shown])


Makers = Mapping[str, tuple[str, Callable[[Path, str], Section]]]
"""What a folder's manifest says it is -> how its section is called, and what makes it."""


def beside(path: Path, number: int, makers: Makers) -> Section | None:
    """The section of something that is no run; None: it may be one.

    Args:
        path: a folder with a manifest, or a file of estimates.
        number: tells sections of one kind apart.
        makers: what becomes of folders.

    Raises:
        InputError: it is nothing that a report shows.
    """
    if path.is_file():
        return of_estimates(path, f"estimates-{number}")
    if not (path / NAME).is_file():
        return None
    kind = _format(path / NAME)
    if kind not in makers:
        raise InputError(
            f"{path}: a folder of {kind}; a report shows runs, folders of "
            f"{', '.join(makers)} and files of estimates"
        )
    name, make = makers[kind]
    return make(path, f"{name}-{number}")


def _format(path: Path) -> Any:
    try:
        return json.loads(path.read_text()).get("format")
    except (OSError, ValueError, AttributeError):
        return "a damaged manifest"
