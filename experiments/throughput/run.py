"""Epochs by method, on loopback and on emulated networks, beside what the parts of an exact epoch allow.

The rate of a network's links is chosen so that an exact epoch spends a given share of its time on halo
traffic. C is what an exact epoch computes, M its halo traffic, R its reduction of gradients, H what could
be hidden: for each exchange the smaller of its transfer and of the work that can run beside it. All are
means over ranks of the vanilla run's own trace on the same network. Emulated networks need root.

python -m experiments.throughput.run DATA [--parts 2] [--shares 0.5,0.8] [--method metis] [--out results.json]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.machine import report
from experiments.network import on_cluster

HERE = Path(__file__).parent

METHODS: dict[str, dict[str, Any]] = {
    "vanilla": {},
    "overlap": {"schedule": "overlap"},
    "pipegcn": {"method": "pipegcn"},
    "pipegcn-gf": {"method": "pipegcn-gf"},
    "bns 0.1": {"method": "bns", "rate": 0.1},
    "bns 0.01": {"method": "bns", "rate": 0.01},
    "int8": {"codec": "int8"},
    "bns 0.1 x pipeline x int8": {"method": "bns", "rate": 0.1, "schedule": "pipeline", "codec": "int8"},
}

HEADERS = 1.05
"""Bytes on a link for a byte of payload, about."""


def ranks_of(
    base: dict[str, Any], methods: dict[str, dict[str, Any]], parts: int, rounds: int, epochs: int,
    rate: str | None,
) -> dict[str, Any]:  # fmt: skip
    """Methods on every rank, on an emulated network of this rate or on loopback."""
    words = json.dumps(base), json.dumps(methods), str(rounds), str(epochs)
    arguments = ["-m", "experiments.throughput.rank", *words]
    if rate is not None:
        return on_cluster(parts, rate, arguments)[0]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(parts)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run([*command, *arguments], check=True, env=environment, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def mean(values: Sequence[float]) -> float:
    return statistics.fmean(values)


def bounds(trace: dict[str, float]) -> dict[str, float]:
    """What each method may take, from the parts of an exact epoch."""
    c, m, r, h = (trace[name] for name in ("C", "M", "R", "H"))
    return {
        "overlap": 1.1 * (c + m + r - h), "pipegcn": 1.15 * max(c, m) + r, "pipegcn-gf": 1.15 * max(c, m) + r,
        "bns 0.1": 1.2 * (c + 0.1 * m) + r,
    }  # fmt: skip


def network(base: dict[str, Any], options: argparse.Namespace, rate: str | None) -> dict[str, Any]:
    """Every method on one network."""
    ranks = ranks_of(base, METHODS, options.parts, options.rounds, options.epochs, rate)
    methods = {
        name: {
            "epoch": max(rank["seconds"] for rank in each),
            "compute": mean([rank["compute_seconds"] for rank in each]),
            "waiting": mean([rank["comm_seconds"] for rank in each]),
            "reduce": mean([rank["reduce_seconds"] for rank in each]),
            "halo_bytes": [rank["halo_bytes"] for rank in each],
            "buffer_bytes": [rank["buffer_bytes"] for rank in each],
        }
        for name, each in ranks.items()
    }
    exact = methods["vanilla"]
    trace = {"C": exact["compute"], "M": exact["waiting"], "R": exact["reduce"]}
    trace["H"] = mean([rank["hidable_seconds"] for rank in ranks["vanilla"]])
    limits = bounds(trace)
    for name, record in methods.items():
        record["times_as_fast"] = exact["epoch"] / record["epoch"]
        if name in limits:
            record["bound"], record["of_bound"] = limits[name], record["epoch"] / limits[name]
        print(line(name, record), file=sys.stderr, flush=True)
    return {
        "rate": rate or "loopback",
        "trace": trace | {"share": trace["M"] / exact["epoch"]},
        "methods": methods,
    }


def line(name: str, record: dict[str, Any]) -> str:
    """A method as a line of the table."""
    of_bound = f"  {record['of_bound']:4.0%} of its bound" if "of_bound" in record else ""
    return (
        f"  {name:26s} {record['epoch']:7.3f} s an epoch, {record['times_as_fast']:5.2f}x: compute "
        f"{record['compute']:.3f}, waiting {record['waiting']:.3f}, reduce {record['reduce']:.3f}{of_bound}"
    )


def link_rate(base: dict[str, Any], parts: int, exact: dict[str, Any], share: float) -> str:
    """The rate of links at which an exact epoch spends this share of its time on halo traffic.

    Chosen from an epoch on loopback, then once more from some on a network of that rate, beside whose
    transfers the rest of an epoch takes longer.
    """
    bits = 8 * HEADERS * mean(exact["halo_bytes"])
    other = exact["compute"] + exact["reduce"]
    rate = bits / (other * share / (1 - share))
    ranks = ranks_of(base, {"vanilla": {}}, parts, 1, 4, f"{round(rate / 1e6)}mbit")["vanilla"]
    other = mean([rank["compute_seconds"] + rank["reduce_seconds"] for rank in ranks])
    transfer = mean([rank["comm_seconds"] for rank in ranks])
    return f"{round(rate * transfer / (other * share / (1 - share)) / 1e6)}mbit"


def main() -> None:
    style = argparse.RawDescriptionHelpFormatter
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    cli.add_argument("data", help="SPEC of a dataset with dense features and labels")
    cli.add_argument("--parts", type=int, default=2)
    cli.add_argument(
        "--shares", default="0.5,0.8", help="of halo traffic in an exact epoch; empty: loopback only"
    )
    cli.add_argument("--rounds", type=int, default=4, help="in which each method takes a turn")
    cli.add_argument("--epochs", type=int, default=4, help="of a turn; its first one is not measured")
    cli.add_argument("--method", default="metis", help="of cutting the graph")
    cli.add_argument("--out", type=Path, help="write the result here, too")
    options = cli.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = str(Path(folder) / "cut")
        command = ["gcnsys", "partition", "build", options.data, "--parts", str(options.parts)]
        command += ["--method", options.method, "--out", place]
        subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.DEVNULL)
        base = tomllib.loads((HERE / "run.toml").read_text()) | {"data": place}
        print("loopback", file=sys.stderr)
        found = {"loopback": network(base, options, None)}
        for share in filter(None, options.shares.split(",")):
            rate = link_rate(base, options.parts, found["loopback"]["methods"]["vanilla"], float(share))
            print(f"links of {rate}, for {float(share):.0%} of halo traffic", file=sys.stderr)
            found[share] = network(base, options, rate)
            print(f"  {found[share]['trace']}", file=sys.stderr)
    data = {"data": Path(options.data.partition(":")[2]).stem, "parts": options.parts, "cut": options.method}
    report(data | {"networks": found}, options.out)


if __name__ == "__main__":
    main()
