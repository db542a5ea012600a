"""Peaks of two depths about as recorded, and what a further layer adds to them."""

import argparse
import subprocess
import sys
from collections.abc import Iterator

from experiments.bench import Bench
from experiments.depth.run import trained
from experiments.figures import Figure, at_most, close
from gcnsys.partition import Partitioning

DEPTHS, NUM_PARTS, EPOCHS = (4, 12), 2, 2


def check(at: Bench) -> Iterator[Figure]:
    recorded = at.record("results.json")
    then = dict(
        zip(recorded["computed_again"]["layers"], recorded["computed_again"]["peak_bytes"], strict=True)
    )
    parts = at.work / "parts"
    build = ["partition", "build", at.spec("reddit60k"), "--parts", str(NUM_PARTS), "--out", str(parts)]
    subprocess.run([sys.executable, "-m", "gcnsys", *build], check=True, stdout=subprocess.DEVNULL)
    inner = max(part.inner for part in Partitioning.open(parts).manifest.parts)
    asked = argparse.Namespace(hidden=recorded["hidden"], epochs=EPOCHS)
    matrix, peaks = inner * recorded["hidden"] * 4, []
    for layers in DEPTHS:
        run = trained(parts, at.work / str(layers), layers, asked, True)
        peaks.append(max(run["peak_rss_bytes"]))
        yield close(
            f"{layers} layers, computed again: peak bytes", peaks[-1], then[layers], at.within("peak")
        )
    grown = (peaks[1] - peaks[0]) / (DEPTHS[1] - DEPTHS[0]) / matrix
    yield at_most("matrices that a further layer adds to the peak", grown, at.within("matrices"))
