"""Plan, then train on an emulated cluster, two machines joined by a link of a chosen speed, and compare.

The plan is told that speed; what a message takes is measured between the two, as nothing delays it.
"""

import argparse
import json
import tempfile
from pathlib import Path

from experiments.machine import report
from experiments.network import on_cluster
from experiments.plan.run import GRAPHS, METHODS, MODELS, cut, planned, table, taken

RESULTS = Path(__file__).parent / "emulated.json"
PARTS, RATE = 2, "1gbit"
CASES = (("coauthor_cs", "gcn"), ("facebook_pages", "sage"))


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--epochs", type=int, default=15)
    cli.add_argument("--graphs", default=",".join(GRAPHS), help="of them, with commas")
    cli.add_argument("--cuts", type=Path, help="a folder that keeps the cuts (default: a temporary one)")
    cli.add_argument("--out", type=Path, help="the record, to which runs that are missing are added")
    options = cli.parse_args()
    known = options.out is not None and options.out.exists()
    runs = json.loads(options.out.read_text())["runs"] if known else []
    link, _ = on_cluster(PARTS, RATE, ["-m", "experiments.plan.link"], timeout=120)
    network = ["--bandwidth", RATE.replace("gbit", "Gbit"), "--latency", f"{link['latency'] * 1e6:.0f}us"]
    with tempfile.TemporaryDirectory() as folder:
        cuts = options.cuts or Path(folder)
        for graph, model in (case for case in CASES if case[0] in options.graphs.split(",")):
            have = {run["method"] for run in runs if run["graph"] == graph}
            plans = planned(graph, model, PARTS, network, cuts)
            for name in (name for name in METHODS if name not in have):
                given = [
                    piece for item in plans[name]["settings"].items() for piece in (f"--{item[0]}", item[1])
                ]
                arguments = [
                    "-m", "gcnsys", "train", cut(graph, PARTS, cuts), *MODELS[model], "--threads", 1, *given,
                    "--epochs", options.epochs, "--out", Path(folder) / f"{graph}-{name}", "--json",
                ]  # fmt: skip
                seen, _ = on_cluster(PARTS, RATE, [*map(str, arguments)], timeout=600)
                about = {"graph": graph, "model": model, "method": name, "parts": PARTS, "network": network}
                runs.append(about | {"planned": taken(plans[name]), "measured": taken(seen)})
                record = {"rate": RATE, "link": link, "epochs": options.epochs, "runs": runs}
                report(record, options.out, show=False)
    print(table(runs))


if __name__ == "__main__":
    main()
