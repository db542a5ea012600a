"""Bytes and buffers of every method as recorded; on the recorded network, gains about as recorded."""

import subprocess
import sys
import tomllib
from collections.abc import Iterator

from experiments.bench import Bench
from experiments.figures import Figure, at_least, same
from experiments.throughput.run import HERE, METHODS, ranks_of

NETWORK = "0.5"
"""Of the record: its links make halo traffic half of an exact epoch."""

SHOWN = ("vanilla", "pipegcn", "bns 0.1", "bns 0.1 x pipeline x int8")


def check(at: Bench) -> Iterator[Figure]:
    yield from at.parts(loopback, network)


def loopback(at: Bench) -> Iterator[Figure]:
    """What every method sends and holds."""
    recorded = at.record("results.json")
    parts, then = recorded["parts"], recorded["networks"]["loopback"]["methods"]
    for name, ranks in ranks_of(_base(at, parts), METHODS, parts, 1, 2, None).items():
        for key, now in (("halo_bytes", "halo_bytes"), ("buffer_bytes", "buffer_bytes")):
            what = f"{name}: {key.replace('_', ' ')} by rank"
            yield same(what, [rank[now] for rank in ranks], then[name][key])


def network(at: Bench) -> Iterator[Figure]:
    """How much sooner an epoch ends where halo traffic is half of an exact one."""
    at.need("root")
    recorded = at.record("results.json")
    parts, there, why = recorded["parts"], recorded["networks"][NETWORK], at.other_processor(recorded)
    ranks = ranks_of(_base(at, parts), {name: METHODS[name] for name in SHOWN}, parts, 1, 3, there["rate"])
    seconds = {name: max(rank["seconds"] for rank in each) for name, each in ranks.items()}
    for name in SHOWN[1:]:
        gain = seconds["vanilla"] / seconds[name]
        what = f"links of {there['rate']}, {name}: times as fast as exact epochs"
        if why is None:
            bound = at.within("gain") * there["methods"][name]["times_as_fast"]
            yield at_least(what, gain, bound, why="a share of the recorded gain,")
        else:
            yield at_least(what, gain, at.within("shorter"), why=f"{why}: at least")


def _base(at: Bench, parts: int) -> dict[str, object]:
    """The run file on the cut of the record."""
    place = at.work / "cut"
    if not place.exists():
        command = ["gcnsys", "partition", "build", at.spec("reddit60k"), "--parts", str(parts)]
        command += ["--out", str(place)]
        subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.DEVNULL)
    return tomllib.loads((HERE / "run.toml").read_text()) | {"data": str(place)}
