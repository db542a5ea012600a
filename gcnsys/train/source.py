"""From what a run was asked to train on to a partitioning on disk."""

import hashlib
import json
import logging
import os
from pathlib import Path

from gcnsys.datasets import loaders
from gcnsys.datasets.spec import canonical, short_name
from gcnsys.datasets.stamp import stamp
from gcnsys.errors import InputError
from gcnsys.manifest import NAME
from gcnsys.partition import Partitioning, build
from gcnsys.runtime import Comm
from gcnsys.train.config import RunConfig
from gcnsys.train.preparation import Preparation

log = logging.getLogger(__name__)

_UNSURE = "; its dataset does not say when it changes: remove the folder if it did"


def partitions_home() -> Path:
    """Where partitionings live by default: ``$GCNSYS_PARTITIONS``, or ``partitions`` here."""
    return Path(os.environ.get("GCNSYS_PARTITIONS", "partitions"))


def default_partitioning(config: RunConfig, preparation: Preparation | None = None) -> Path:
    """The folder of the partitioning that this configuration, or a preparation beside it, asks for.

    Its name ends in a digest of everything that decides its content, the size and date of the
    input files included, so that a partitioning is never taken for one of other data, as far as the
    dataset's loader can tell (:mod:`gcnsys.datasets.stamp`).
    """
    spec, cutting = canonical(config.data), config.cutting()
    stamps = list(stamp(spec) or ())
    if cutting.method.startswith("file:"):
        own = Path(cutting.method[5:]).expanduser()
        stamps.append([str(own), own.stat().st_mtime_ns if own.exists() else 0])
    asked = [config.directed, config.normalize, config.split, config.split_seed, config.task]
    decided = [
        spec, stamps, cutting.num_parts, cutting.method, cutting.objective, cutting.balanced,
        cutting.inductive, cutting.order, cutting.seed,
        *(asked if preparation is None else preparation.decided()),
    ]  # fmt: skip
    digest = hashlib.sha256(json.dumps(decided).encode()).hexdigest()[:8]
    method = cutting.method.partition(":")[0]
    tail = "-inductive" if cutting.inductive else ""
    return partitions_home() / f"{short_name(spec)}-{cutting.num_parts}-{method}{tail}-{digest}"


def is_partitioning(path: Path) -> bool:
    """Whether a folder looks like a partitioning."""
    return (path / NAME).is_file()


def build_partitioning(
    config: RunConfig, folder: Path, preparation: Preparation | None = None, *, overwrite: bool = False
) -> Partitioning:
    """Load the dataset a configuration names, cut it, and write it to a folder."""
    dataset = (preparation or Preparation.asked(config)).load(config.data)
    for note in dataset.notes:
        log.info("%s: %s", dataset.name, note)
    return build(dataset, config.cutting(), folder, spec=canonical(config.data), overwrite=overwrite)


def shared_partitioning(
    config: RunConfig, comm: Comm, preparation: Preparation | None = None
) -> Partitioning:
    """The partitioning that all ranks train on, a part each: rank 0 alone cuts a dataset; collective.

    Args:
        config: names the data.
        comm: the ranks.
        preparation: of a dataset, in place of the configuration's.

    Raises:
        InputError: it has another number of parts than there are ranks, or cannot be found or made.
    """
    found, made = None, ""
    with comm.agreed():
        if is_partitioning(Path(config.data)):
            found = find_partitioning(config, preparation)
        elif comm.rank == 0:
            found = find_partitioning(_with_parts(config, comm.size), preparation)
            made = str(found.folder.resolve())
    made = comm.texts(made)[0]
    with comm.agreed():
        if found is None:
            if not is_partitioning(Path(made)):
                raise InputError(
                    f"rank {comm.rank} does not see {made}, which rank 0 cut; name a folder on a disk that "
                    f"all share in GCNSYS_PARTITIONS, or build the partitioning and copy it"
                )
            found = Partitioning.open(Path(made))
        if found.num_parts != comm.size:
            raise InputError(
                f"{found.folder} has {found.num_parts} parts but {comm.size} ranks were started; start one "
                f"rank a part"
            )
    return found


def _with_parts(config: RunConfig, size: int) -> RunConfig:
    if config.parts not in (None, size):
        raise InputError(f"--parts {config.parts} but {size} ranks were started; start one rank a part")
    return config.model_copy(update={"parts": size})


def find_partitioning(config: RunConfig, preparation: Preparation | None = None) -> Partitioning:
    """The partitioning a run trains on: the folder it names, or one made from the dataset it names.

    Args:
        config: names it.
        preparation: of a dataset, in place of the configuration's.

    Raises:
        InputError: neither, the folder holds another number of parts than was asked for, or what was made
            ready in another way.
    """
    path = Path(config.data).expanduser()
    if is_partitioning(path):
        found = Partitioning.open(path)
        if config.parts is not None and config.parts != found.num_parts:
            raise InputError(
                f"{path} has {found.num_parts} parts, but --parts {config.parts} was asked for; drop --parts "
                f"or build another partitioning"
            )
        if config.inductive and not found.manifest.inductive:
            raise InputError(
                f"{path} was cut for transductive training; build one with: partition build --inductive"
            )
        (preparation or Preparation.asked(config)).check(found.manifest, path)
        return found
    named = ":" in config.data or config.data in loaders.names() or canonical(config.data) != config.data
    if path.is_dir() and not named:
        raise InputError(f"{path} is a folder but not a partitioning ({NAME} is missing)")
    folder = default_partitioning(config, preparation)
    if is_partitioning(folder):
        unsure = stamp(canonical(config.data)) is None
        log.info("using the partitioning in %s%s", folder, _UNSURE if unsure else "")
        return Partitioning.open(folder)
    return build_partitioning(config, folder, preparation, overwrite=folder.exists())
