"""Going on from a checkpoint: on its own parts bit for bit, on others of the same graph exactly."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gcnsys.errors import InputError, known_to_all
from gcnsys.partition import Partitioning
from gcnsys.runtime import Comm
from gcnsys.train import state
from gcnsys.train.best import Best
from gcnsys.train.checkpoint import SHARED, Checkpoint, data_of, named, rank_file
from gcnsys.train.config import RunConfig
from gcnsys.train.trainer import Trainer

log = logging.getLogger(__name__)

FREE = {
    "data", "parts", "epochs", "eval_every", "patience", "device", "threads", "timeout", "startup_timeout",
    "checkpoint_every", "checkpoint_minutes", "keep_checkpoints", "partition_method", "objective", "balance",
    "order", "partition_seed", "recompute", "prefetch", "profile",
}  # fmt: skip
"""Settings that may change when a run goes on: they decide neither the model nor what a step does to it."""


def configured(path: Path, given: Mapping[str, Any]) -> RunConfig:
    """The configuration of a run that goes on: its own, with what may be changed.

    Args:
        path: of the run or one of its checkpoints.
        given: settings to change.

    Raises:
        InputError: a setting that may not change, or a run of other settings than its checkpoint's.
    """
    checkpoint = named(path)
    settings = dict(checkpoint.manifest.settings)
    if given.get("parts") not in (None, checkpoint.manifest.parts) and "data" not in given:
        given = {**given, "data": checkpoint.manifest.spec}
    if "data" in given:
        settings.pop("parts", None)  # how many the other data had
    values = {**settings, **given}
    config = RunConfig.checked({key: value for key, value in values.items() if value is not None})
    check_settings(checkpoint, config)
    return config


def check_settings(checkpoint: Checkpoint, config: RunConfig) -> None:
    """Refuse to go on with other settings.

    Raises:
        InputError: naming the first that differs.
    """
    here, there = config.model_dump(mode="json"), checkpoint.manifest.settings
    for name, field in RunConfig.model_fields.items():
        # What an earlier version did not know of was as it is by default.
        then = there.get(name, field.default)
        if name not in FREE and here[name] != then:
            raise InputError(
                f"{name} = {here[name]}, but {checkpoint.folder} was made with {then}, which cannot change "
                f"on the way; leave it as it was, or start another run"
            )
    if config.lr_schedule != "constant" and config.epochs != there.get("epochs"):
        raise InputError(
            f"epochs = {config.epochs}, but the learning rate of {checkpoint.folder} follows a schedule over "
            f"{there.get('epochs')}, which cannot change on the way; start another run"
        )
    if config.epochs <= checkpoint.manifest.epoch:
        raise InputError(
            f"{checkpoint.folder}: {checkpoint.manifest.epoch} epochs are done already; give more with "
            f"--epochs"
        )


def check_graph(checkpoint: Checkpoint, partitioning: Partitioning) -> None:
    """Refuse to go on with another graph.

    Raises:
        InputError: the partitioning is of another.
    """
    if checkpoint.manifest.graph != partitioning.manifest.graph:
        raise InputError(
            f"{partitioning.folder} is of another graph than {checkpoint.folder} was trained on; name a "
            f"partitioning of the same one"
        )
    here, there = data_of(partitioning.manifest), checkpoint.manifest.data
    for name in here:
        # A partitioning made by an earlier version has no digest of its nodes.
        if here[name] != there.get(name) and (name != "nodes" or (here[name] and there.get(name))):
            raise InputError(
                f"{partitioning.folder} has {name} = {here[name]}, but {checkpoint.folder} was trained with "
                f"{there.get(name)}; name a partitioning of the same data"
            )


def take_up(
    path: Path, trainer: Trainer, best: Best, config: RunConfig, partitioning: Partitioning, comm: Comm,
) -> int:  # fmt: skip
    """Put a run back to where a checkpoint was made; collective.

    Args:
        path: of a run or one of its checkpoints; rank 0's counts.
        trainer: of the run, newly made.
        best: of the run.
        config: of the run.
        partitioning: of the run.
        comm: the ranks.

    Returns:
        how many epochs are done.

    Raises:
        DamagedFileError: a file is not what was written.
        InputError: it is of another run.
    """
    with comm.agreed():
        chosen = str(named(path).folder) if comm.rank == 0 else ""
    chosen = comm.texts(chosen)[0]
    with comm.agreed():
        checkpoint = Checkpoint.open(Path(chosen))
        about = checkpoint.manifest
        check_settings(checkpoint, config)
        check_graph(checkpoint, partitioning)
        same_parts = about.partitioning == partitioning.manifest.fingerprint
        state.put_back_shared(checkpoint.state(SHARED), trainer, best)
        if same_parts:
            state.put_back_own(checkpoint.state(rank_file(comm.rank)), trainer)
    looked = about.epoch % config.eval_every == 0  # only then does a run end early
    if looked and config.patience and about.epoch - 1 - best.epoch >= config.patience:
        raise known_to_all(
            f"{checkpoint.folder}: the run ended there, as validation had not improved for {config.patience} "
            f"epochs; give a longer --patience to go on", InputError,
        )  # fmt: skip
    if comm.rank == 0:
        log.info("going on after epoch %d, from %s", about.epoch, checkpoint.folder)
        if not same_parts and config.choices().pipelined:
            log.info(
                "rows that were under way%s belong to other parts and are dropped: the next epoch is a first "
                "one (first_epoch = %s)",
                "" if config.smoothing == "off" else ", and their averages,", config.first_epoch or "exact",
            )  # fmt: skip
    return about.epoch
