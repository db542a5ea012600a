"""From a partitioning and a configuration to what trains this rank's part."""

from dataclasses import replace

import torch

from gcnsys.errors import InputError
from gcnsys.nn import Model, build_model
from gcnsys.partition import Manifest, Partitioning
from gcnsys.runtime import Comm, Placement
from gcnsys.train.config import RunConfig
from gcnsys.train.link_prediction import LinkPrediction
from gcnsys.train.links import Links
from gcnsys.train.optimizer import make_optimizer, make_scheduler
from gcnsys.train.task import Regression, Task
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
        if config.task == "links" and part.links is None:
            raise InputError(
                f"{partitioning.folder} holds no links to predict; build one with: gcnsys partition build "
                f"--task links"
            )
        if model is None:
            model = build_model(
                config.model_settings(manifest.edge_kinds), manifest.num_features,
                num_outputs(manifest, config), seed=config.seed,
            )  # fmt: skip
        model = model.to(placement.device, dtype)
    training, evaluation = views(
        part, model, comm, choice=config.first_hop, prune=config.prune,
        choices=config.choices(), device=placement.device, dtype=config.stored,
    )  # fmt: skip
    if part.links is not None:
        links = Links(part, comm, placement.device, seed=config.seed)
        training, evaluation = replace(training, links=links), replace(evaluation, links=links)
    optimizer = make_optimizer(model, config)
    return Trainer(
        model, training, evaluation, task or task_of(manifest, config), optimizer, comm,
        seed=config.seed, scheduler=make_scheduler(optimizer, config),
    )  # fmt: skip


def task_of(manifest: Manifest, config: RunConfig) -> Task:
    """What a partitioning was cut for."""
    if manifest.held_out is not None:
        return LinkPrediction(
            num_nodes=manifest.num_nodes, seed=config.seed, negatives=config.negatives,
            pool=config.negative_pool,
        )  # fmt: skip
    return Regression() if manifest.regression else Task(manifest.multilabel)


def num_outputs(manifest: Manifest, config: RunConfig) -> int:
    """How wide the rows are that a model gives: of links, as wide as those between layers."""
    return config.hidden if manifest.held_out is not None else manifest.num_classes
