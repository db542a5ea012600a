"""Ours against the published figures, and the errors of both models: python -m experiments.accel.picture."""

from pathlib import Path

from experiments.accel.run import on_record
from gcnsys.report.style import COLOURS, figure, save

OUT = Path(__file__).with_name("accel.png")


def main() -> None:
    """Draw what was recorded."""
    columns = [column for column in on_record()["columns"] if column["bar"]]
    made, axes = figure(1, 2, width=14, height=6)
    both, errors = axes[0]
    for number, column in enumerate(columns):
        each = column["figures"]
        style = {"color": COLOURS[number % len(COLOURS)], "marker": "os^"[number // len(COLOURS)]}
        both.plot(
            [point["published"] for point in each], [point["ours"] for point in each], linestyle="none",
            label=column["name"], markersize=5, **style,
        )  # fmt: skip
    ends = [0.005, 1e10]
    both.plot(ends, ends, color="#888888", linewidth=0.8)
    both.set(xlabel="published", ylabel="ours", xscale="log", yscale="log", title="in each column's unit")
    places = range(len(columns))
    for shift, key, label in ((-0.2, "mean_error", "mechanism"), (0.2, "mean_error_of_null", "null model")):
        colour = COLOURS[0 if key == "mean_error" else 1]
        sizes = [100 * column[key] for column in columns]
        errors.barh([place + shift for place in places], sizes, height=0.38, color=colour, label=label)
    errors.set_yticks(list(places), [column["name"] for column in columns])
    errors.invert_yaxis()
    errors.set(xlabel="mean error, the dataset left out, %", xlim=(0, 100))
    errors.legend(frameon=False, loc="lower right")
    save(made, OUT)


if __name__ == "__main__":
    main()
