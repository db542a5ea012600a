"""gcnsys: train graph convolutional networks on a whole graph that does not fit one device.

General layout, bottom up (an import only ever points downwards; ``tests/test_layering.py``):

* ``graph``      the graph value, layouts, toy graphs
* ``kernels``    aggregation, keyed dropout, blocks on one device
* ``datasets``   a name or a path -> graph with features, labels, masks
* ``partition``  graph -> assignment -> partitioning on disk -> one part
* ``nn``         models over blocks
* ``sampling``   samples of a graph as blocks
* ``islands``    islands between hubs, sums that rows share
* ``accel``      what a graph would cost on accelerators
* ``runtime``    process group, halo exchange, a part as blocks
* ``train``      configuration, loop, evaluation, run folder
* ``polarize``   a graph trained into dense blocks and a remainder
* ``report``     pictures of runs
* ``plan``       memory, traffic and time before a run
* ``search``     a model and an accelerator that fit each other
* ``cli``        the command line

``testing`` stands beside them: ranks as threads and other helpers for tests, ours and yours.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gcnsys.partition import Partitioning
    from gcnsys.runtime import Comm, Placement, joined
    from gcnsys.train import (
        LinkPrediction,
        Regression,
        RunConfig,
        RunFolder,
        Task,
        Trainer,
        make_trainer,
        prepare_process,
        requests,
        run_part,
        shared_partitioning,
    )

_HOMES = {
    "partition": ("Partitioning",), "runtime": ("Comm", "Placement", "joined"),
    "train": (
        "LinkPrediction", "Regression", "RunConfig", "RunFolder", "Task", "Trainer", "make_trainer",
        "prepare_process", "requests", "run_part", "shared_partitioning",
    ),
}  # fmt: skip

__all__ = [
    "Comm", "LinkPrediction", "Partitioning", "Placement", "Regression", "RunConfig", "RunFolder", "Task",
    "Trainer", "joined", "make_trainer", "prepare_process", "requests", "run_part", "shared_partitioning",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """What a script of one's own needs, imported when it is asked for: torch takes seconds."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"gcnsys.{home}"), name)
    raise AttributeError(f"module 'gcnsys' has no attribute {name!r}")
