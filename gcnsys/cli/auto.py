"""``gcnsys train --auto``: the method that a plan recommends for the cut at hand."""

import argparse
import os

from gcnsys.cli.output import Output
from gcnsys.cli.plan import add_resources, resources
from gcnsys.errors import InputError
from gcnsys.partition import Partitioning
from gcnsys.plan import measured, methods, of_partitioning, plan
from gcnsys.runtime.process import launched_by_torchrun
from gcnsys.train import RunConfig
from gcnsys.train.method import EXCHANGE
from gcnsys.train.run import prepare_process


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--auto`` and what the machine has."""
    automatic = parser.add_argument_group("method by plan")
    automatic.add_argument(
        "--auto", action="store_true", help="take the method that gcnsys plan recommends for this cut"
    )
    add_resources(automatic)


def planned(
    config: RunConfig, partitioning: Partitioning, options: argparse.Namespace, output: Output, *, base: int
) -> RunConfig:
    """The configuration with the method that is recommended for it."""
    memory, network = resources(options)
    threads = config.threads
    if threads is None and "OMP_NUM_THREADS" not in os.environ:  # as many as each rank will have
        threads = max(1, len(os.sched_getaffinity(0)) // partitioning.num_parts)
    prepare_process(config.model_copy(update={"threads": threads}))
    found = of_partitioning(partitioning, config)
    pace = measured(found.job, *found.shape(), partitioning.num_parts)  # all of them on this machine
    made = plan(found, pace, network, methods(), base=base, memory=memory)
    taken = made.recommendation.taken
    output.note(f"taking {taken.method.name}: {made.recommendation.because}")
    kept = {key: value for key, value in config.model_dump(exclude_none=True).items() if key not in EXCHANGE}
    return RunConfig.checked(kept | taken.method.settings)


def refuse_what_no_plan_knows(options: argparse.Namespace, config: RunConfig) -> None:
    """Refuse what a plan does not know, before anything is cut.

    Raises:
        InputError: it was asked for.
    """
    if launched_by_torchrun():
        raise InputError(
            "--auto plans before ranks start: ask gcnsys plan, and give its settings to all of them"
        )
    if options.resume is not None:
        raise InputError("--auto chooses a method for a new run, not for --resume: drop one of the two")
    plain = RunConfig.checked({"data": config.data})
    for name in ("method", *EXCHANGE, "sampler", "recompute", "dtype", "precision", "task"):
        if getattr(config, name) != getattr(plain, name):
            raise InputError(
                f"--auto chooses how rows cross for plain runs in float32, but {name} = "
                f"{getattr(config, name)} was asked for: drop one of the two"
            )
