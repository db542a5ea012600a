"""How all pictures look: readable by colour-blind people and in print."""

from io import BytesIO
from pathlib import Path
from typing import Any

from gcnsys.files import write
from gcnsys.registry import require

# Okabe & Ito's palette (2008), which people with any colour vision can tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
LINES = ("-", "--", ":", "-.")


def drawable() -> None:
    """Make sure that pictures can be drawn.

    Raises:
        MissingPackageError: they cannot.
    """
    require("matplotlib", extra="report", purpose="drawing a picture")


def figure(rows: int, columns: int, *, width: float = 10.0, height: float = 4.0) -> tuple[Any, Any]:
    """A figure and its axes, drawn without a display."""
    drawable()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    axes = made.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(visible=True, color="#DDDDDD", linewidth=0.6)
        axis.set_axisbelow(True)
    return made, axes


def png(made: Any) -> bytes:
    """A figure as a PNG."""
    content = BytesIO()
    made.savefig(content, dpi=130, format="png")
    return content.getvalue()


def save(made: Any, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    write(path, png(made))


def line(number: int) -> dict[str, Any]:
    """Colour and dashes of a curve among several: no two of the first 28 look alike."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": LINES[number % len(LINES)]}


def legend(axis: Any) -> None:
    """Say below a picture what its curves are; nothing where there is none."""
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)


def byte_unit(largest: float) -> tuple[float, str]:
    """How many bytes the unit has in which so many are a legible number, and its name."""
    units = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
    return next(((size, name) for size, name in units if largest >= size), (1.0, "bytes"))
