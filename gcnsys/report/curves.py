"""Curves of runs: loss and accuracy by epoch and by time, and how soon an accuracy was reached."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from gcnsys.report.page import Picture, Table
from gcnsys.report.run import Run
from gcnsys.report.style import COLOURS, LINES, figure, legend, line, png

SHARES = (0.8, 0.9, 0.95, 0.99, 1.0)
"""Of the best validation score of any run: when each run came so far."""

_MASKS = ("train", "val", "test")


def curves(runs: Sequence[Run]) -> list[Picture]:
    """Loss and scores by epoch and by time; of a single run the scores under all masks."""
    score = _score(runs)
    found = []
    for by, label in (("epoch", "epoch"), ("time", "seconds of training")):
        made, axes = figure(1, 1, width=5.4, height=3.9)
        axis = axes[0][0]
        for number, run in enumerate(runs):
            axis.plot(*_of(run, "loss", by), **line(number), label=run.label)
        axis.set(xlabel=label, ylabel="training loss", title=f"loss by {by}")
        legend(axis)
        found.append(Picture(f"loss-by-{by}", f"Training loss by {by}.", png(made)))
        made, axes = figure(1, 1, width=5.4, height=3.9)
        axis = axes[0][0]
        _draw_scores(axis, runs, by)
        axis.set(xlabel=label, ylabel=score, title=f"{score} by {by}")
        legend(axis)
        which = "Scores under all masks" if len(runs) == 1 else "Validation scores"
        found.append(Picture(f"score-by-{by}", f"{which} ({score}) by {by}.", png(made)))
    return found


def _draw_scores(axis: Any, runs: Sequence[Run], by: str) -> None:
    if len(runs) == 1:
        for mask, colour, dashes in zip(_MASKS, COLOURS, LINES, strict=False):
            axis.plot(*_of(runs[0], f"{mask}_acc", by), dashes, color=colour, label=mask)
        return
    for number, run in enumerate(runs):
        axis.plot(*_of(run, "val_acc", by), **line(number), label=run.label)


def _of(run: Run, key: str, by: str) -> tuple[Sequence[float], Sequence[float]]:
    return run.by_time(key) if by == "time" else run.series(key)


def best_so_far(run: Run) -> list[tuple[float, int, float]]:
    """Seconds of training, epochs and the best validation score up to then, where one was found."""
    epochs, scores = run.series("val_acc")
    return list(zip(run.by_time("val_acc")[0], epochs, accumulate(scores, max), strict=True))


def time_to(run: Run, wanted: float) -> tuple[float, int] | None:
    """After how many seconds of training and epochs a validation score was first reached; None: never."""
    return next(((seconds, epoch) for seconds, epoch, best in best_so_far(run) if best >= wanted), None)


def time_to_score(runs: Sequence[Run]) -> tuple[Table, Picture] | None:
    """How soon runs reached shares of the best score; None: none was evaluated."""
    reached = [best_so_far(run) for run in runs]
    if not any(reached):
        return None
    score = _score(runs)
    most = max(steps[-1][2] for steps in reached if steps)
    wanted = [share * most for share in (SHARES if most > 0 else SHARES[-1:])]
    rows = [[run.name, *(_told(time_to(run, each)) for each in wanted)] for run in runs]
    table = Table(
        f"Seconds of training (epochs) until the validation {score} is first at least",
        ["run", *(f"{each:.4f}" for each in wanted)], rows,
    )  # fmt: skip
    made, axes = figure(1, 1, width=5.4, height=3.9)
    axis = axes[0][0]
    for number, (run, steps) in enumerate(zip(runs, reached, strict=True)):
        seconds, best = [step[0] for step in steps], [step[2] for step in steps]
        axis.step(seconds, best, where="post", **line(number), label=run.label)
    axis.set(xlabel="seconds of training", ylabel=f"best validation {score} so far", title="time to accuracy")
    legend(axis)
    return table, Picture("time-to-accuracy", f"Best validation {score} so far, by time.", png(made))


def _told(found: tuple[float, int] | None) -> str:
    return "not reached" if found is None else f"{found[0]:.3g} ({found[1]})"


def _score(runs: Sequence[Run]) -> str:
    return " or ".join(dict.fromkeys(run.score for run in runs))
