"""From a partitioning and a configuration to what trains this rank's part."""

from dataclasses import replace

import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.graph import Graph
from gcnsys.nn import Model, build_model
from gcnsys.partition import Manifest, Part, Partitioning
from gcnsys.partition.metis import metis
from gcnsys.runtime import Comm, Placement
from gcnsys.runtime.neighbourhood import neighbourhood
from gcnsys.runtime.node_store import NodeStore
from gcnsys.sampling import Locality, Neighbourhood, Standard, samplers
from gcnsys.train.batches import Batches
from gcnsys.train.config import RunConfig
from gcnsys.train.link_prediction import LinkPrediction
from gcnsys.train.links import Links
from gcnsys.train.minibatch import MinibatchTrainer
from gcnsys.train.optimizer import make_optimizer, make_scheduler
from gcnsys.train.task import Regression, Task
from gcnsys.train.trainer import Trainer
from gcnsys.train.view import evaluation_view, views

FANOUT = 10
"""Neighbours that a node draws where nothing else is said."""

CLUSTER = 150
"""About how many nodes a cluster has then."""


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
    if config.sampler is not None:
        return minibatch_trainer(part, model, task or task_of(manifest, config), config, comm, placement)
    training, evaluation = views(
        part, model, comm, choice=config.first_hop, prune=config.prune,
        choices=config.choices(), device=placement.device, dtype=config.stored,
    )  # fmt: skip
    if part.links is not None:
        links = Links(part, comm, placement.device, seed=config.seed)
        training, evaluation = replace(training, links=links), replace(evaluation, links=links)
    if config.profile:
        training, evaluation = training.numbered(), evaluation.numbered()
    optimizer = make_optimizer(model, config)
    return Trainer(
        model, training, evaluation, task or task_of(manifest, config), optimizer, comm,
        seed=config.seed, scheduler=make_scheduler(optimizer, config),
    )  # fmt: skip


def minibatch_trainer(
    part: Part, model: Model, task: Task, config: RunConfig, comm: Comm, placement: Placement
) -> MinibatchTrainer:
    """What trains on the batches of the sampler of a configuration; collective."""
    assert config.sampler is not None
    assert config.batch is not None
    assert config.prefetch is not None
    evaluation = evaluation_view(
        part, model, comm, choice=config.first_hop, prune=config.prune, device=placement.device,
        dtype=config.stored,
    )  # fmt: skip
    evaluation = evaluation.numbered() if config.profile else evaluation
    helper = comm.helper() if config.prefetch else comm
    graph = neighbourhood(part.training, helper)
    with comm.agreed():
        inner = Graph(part.training.inner.pattern, part.training.is_symmetric)
        standard = make_standard(config, graph, inner, model.num_blocks)
    try:
        sampler = samplers.get(config.sampler)(graph, standard)
    except InputError as error:  # a matter of settings, which all ranks share
        error.everywhere = True
        raise
    nodes = part.nodes if part.training_rows is None else part.nodes.take(part.training_rows)
    batches = Batches(
        sampler, NodeStore(nodes, graph, helper, config.stored),
        torch.nonzero(nodes.train_mask).flatten() + graph.own.start, helper, comm, size=config.batch,
        seed=config.seed, ahead=config.prefetch, device=placement.device,
    )  # fmt: skip
    optimizer = make_optimizer(model, config)
    return MinibatchTrainer(
        model, evaluation, task, optimizer, comm, batches=batches, seed=config.seed,
        scheduler=make_scheduler(optimizer, config),
    )  # fmt: skip


def make_standard(config: RunConfig, graph: Neighbourhood, inner: Graph, num_layers: int) -> Standard:
    """How much a configuration's sampler draws.

    Args:
        config: with a sampler.
        graph: that is drawn from.
        inner: its edges between the nodes that this process holds.
        num_layers: aggregations of the model.

    Raises:
        InputError: the settings do not fit each other, or the model.
    """
    names = ("budget", "walk", "walks", "restart", "repeated", "runs")
    chosen = {name: getattr(config, name) for name in names}
    return Standard(
        layers=num_layers, fanouts=config.fanouts or (FANOUT,) * num_layers,
        groups=_clusters(config, graph, inner) if config.sampler == "cluster" else None,
        preference=None if config.locality is None else _preference(config, graph),
        **{name: value for name, value in chosen.items() if value is not None},
    )  # fmt: skip


def _preference(config: RunConfig, graph: Neighbourhood) -> Tensor:
    """How readily each node that this process holds is drawn, ``[n]``."""
    assert config.locality is not None
    usual, least = Locality(), config.locality_degree
    threshold, floor = config.locality_threshold, config.locality_floor
    locality = Locality(
        config.locality, usual.threshold if threshold is None else threshold,
        usual.min_degree if least is None else least, floor or 0.0, config.seed,
    )  # fmt: skip
    return locality.preference(graph.adjacency(), torch.arange(graph.own.start, graph.own.stop))


def _clusters(config: RunConfig, graph: Neighbourhood, inner: Graph) -> Tensor:
    """The cluster of each node that this process holds, ``[n]``."""
    nodes, number = inner.num_nodes, config.clusters or max(1, graph.num_nodes // CLUSTER)
    number = min(nodes, max(1, round(number * nodes / max(1, graph.num_nodes))))
    if number < 2:
        return torch.zeros(nodes, dtype=torch.int64)
    return metis(inner, number, volume=False, seed=config.seed).long()


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
