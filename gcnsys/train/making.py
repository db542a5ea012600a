"""From a partitioning and a configuration to what trains this rank's part."""

import torch

from gcnsys.nn import Model, build_model
from gcnsys.partition import Partitioning
from gcnsys.runtime import Comm, Placement
from gcnsys.train.config import RunConfig
from gcnsys.train.optimizer import make_optimizer, make_scheduler
from gcnsys.train.task import Task, task_of
from gcnsys.train.trainer import Trainer
from gcnsys.train.view import views


def make_trainer(
    partitioning: Partitioning, config: RunConfig, comm: Comm, placement: Placement, *,
    model: Model | None = None, task: Task | None = None,
) -> Trainer:  # fmt: skip
    """Read this rank's part, every byte of it checked, and make what trains on it; collective.

    Args:
        partitioning: with as many parts as there are ranks.
        config: the same on every rank.
        comm: the ranks.
        placement: where this one computes.
        model: one's own; rank 0's weights count. None: the configuration's.
        task: one's own; None: what the labels suggest.

    Raises:
        GcnsysError: the part is damaged, or model and configuration do not fit each other.
    """
    manifest, dtype = partitioning.manifest, getattr(torch, config.dtype)
    with comm.agreed():
        part = partitioning.part(comm.rank, checked=True)
        if model is None:
            model = build_model(
                config.model_settings(manifest.edge_kinds), manifest.num_features, manifest.num_classes,
                seed=config.seed,
            )  # fmt: skip
        model = model.to(placement.device, dtype)
    training, evaluation = views(
        part, model, comm, choice=config.first_hop, prune=config.prune,
        choices=config.choices(), device=placement.device, dtype=config.stored,
    )  # fmt: skip
    optimizer = make_optimizer(model, config)
    return Trainer(
        model, training, evaluation, task or task_of(manifest), optimizer, comm,
        seed=config.seed, scheduler=make_scheduler(optimizer, config),
    )  # fmt: skip
