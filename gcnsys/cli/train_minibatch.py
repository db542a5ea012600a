"""``gcnsys train-minibatch``: training on batches that a sampler draws, here or on every rank of torchrun."""

import argparse
from typing import Any

from gcnsys.cli.train import GROUPS, add_options

SAMPLING = (
    "sampler", "batch", "fanouts", "budget", "walk", "walks", "restart", "repeated", "clusters", "locality",
    "locality_threshold", "locality_degree", "locality_floor", "runs", "prefetch",
)  # fmt: skip

EXAMPLES = """examples:
  gcnsys train-minibatch digits
  gcnsys train-minibatch digits --sampler labor --fanouts 10,5 --batch 256
  gcnsys train-minibatch npz:cora.npz --parts 2 --sampler ladies --budget 512
  gcnsys train-minibatch digits --sampler cluster --clusters 20
  torchrun --nproc-per-node 4 -m gcnsys train-minibatch partitions/mine --model sage --fanouts 15,10"""


def add(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "train-minibatch", help="train on batches that a sampler draws",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    kept = {title: names for title, names in GROUPS.items() if title not in ("exchange", "links")}
    kept["optimization"] = (*kept["optimization"], "first_hop", "prune")
    add_options(parser, {"sampling": SAMPLING, **kept})
    parser.set_defaults(usual={"sampler": "neighbour"})
