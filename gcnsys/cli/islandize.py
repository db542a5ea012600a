"""``gcnsys islandize``: find the islands of a graph, and the sums that its rows can share."""

import argparse
import time
from pathlib import Path
from typing import Any

from gcnsys.cli.output import Output
from gcnsys.datasets import Split, load
from gcnsys.files import refuse_existing
from gcnsys.islands import Islands, Rounds, disk, locate, windows
from gcnsys.islands.plan import ReusePlan, check, looped
from gcnsys.islands.share import shared_sums
from gcnsys.manifest import NAME

EXAMPLES = """examples:
  gcnsys islandize digits
  gcnsys islandize npz:cora.npz --rule exact-windows --cap 64 --plot islands.png
  gcnsys islandize npz:cora.npz --rule shared --least 4 --out islands --json"""

RULES = ("shared", "exact-windows", "published")


def add(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "islandize", help="islands between hubs, and sums that neighbours share",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("spec", metavar="DATA", help="a dataset, as name[:argument]")
    rule = parser.add_argument_group("sums")
    rule.add_argument(
        "--rule", choices=RULES, default="shared",
        help="which sums: of pairs anywhere (default), I-GCN's windows where they pay, or to the letter",
    )  # fmt: skip
    rule.add_argument("--least", type=int, default=2, metavar="ROWS", help="shared: rows that need a sum (2)")
    rule.add_argument("--window", type=int, default=2, metavar="K", help="windows: nodes of one (2)")
    island = parser.add_argument_group("islands")
    island.add_argument("--cap", type=int, default=256, metavar="NODES", help="largest island (256)")
    island.add_argument("--decay", type=float, default=0.9, help="of the hubs' threshold, by round (0.9)")
    island.add_argument("--threshold", type=int, help="of the first round (default: the largest degree)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep islands and sums here")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw adjacency and sizes")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_islandize)


def _islandize(options: argparse.Namespace, output: Output) -> dict[str, Any]:
    rounds = Rounds(options.cap, options.decay, options.threshold)
    if options.out:
        refuse_existing(options.out, overwrite=options.overwrite, holding=NAME)
    with output.working():
        dataset = load(options.spec, split=Split(of="nothing"))
        began = time.perf_counter()
        islands = locate(dataset.graph, rounds)
        located = time.perf_counter()
        plan = _plan(islands, options)
        planned = time.perf_counter()
        matrix = looped(islands.graph)
        check(plan, matrix)
    count, found = plan.count(matrix.num_edges), islands.summary()
    result = found | {
        "dataset": dataset.name, "rule": options.rule, "shared_sums": plan.num_shared,
        "levels": len(plan.levels), "operations_before": count.before, "operations_after": count.after,
        "pruned_share": count.pruned,
        "pruned_share_true_additions": count.pruned_true_additions, "locate_seconds": located - began,
        "plan_seconds": planned - located, "seconds": planned - began,
    }  # fmt: skip
    output.say(
        f"{dataset.name}: {found['hubs']:,} hubs of {found['nodes']:,} nodes, {found['islands']:,} islands "
        f"({found['singletons']:,} of a single node, the largest of {found['largest_island']:,}), "
        f"{found['inter_hub_share']:.1%} of {found['edges']:,} directed edges between hubs"
    )
    output.say(
        f"{options.rule}: {plan.num_shared:,} sums; {count.before:,} operations become {count.after:,}, "
        f"{count.pruned:.1%} less ({count.pruned_true_additions:.1%} of true additions), in "
        f"{result['seconds']:.2f} s"
    )
    if options.out:
        settings = {"cap": rounds.cap, "decay": rounds.decay, "threshold": rounds.first} | (
            {"least": options.least} if options.rule == "shared" else {"window": options.window}
        )
        disk.save(
            options.out, islands, plan, dataset=dataset.name, rule=options.rule, settings=settings,
            overwrite=options.overwrite,
        )  # fmt: skip
        output.say(f"kept in {options.out}")
        result["folder"] = str(options.out)
    if options.plot:
        from gcnsys.report.islands import plot

        plot(islands, dataset.name, options.plot)
        output.say(f"drew {options.plot}")
        result["plot"] = str(options.plot)
    return result


def _plan(islands: Islands, options: argparse.Namespace) -> ReusePlan:
    if options.rule == "shared":
        return shared_sums(looped(islands.graph), least=options.least)
    rule = windows.exact if options.rule == "exact-windows" else windows.published
    return rule(islands, options.window)
