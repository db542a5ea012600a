"""What a plan is made for: a partitioning, a dataset that is not cut yet, or a graph known by its counts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from gcnsys.accel.published import counts
from gcnsys.datasets import Dataset
from gcnsys.datasets.dataset import num_kinds
from gcnsys.errors import InputError
from gcnsys.graph import CSR, Graph
from gcnsys.kernels import SparseRows
from gcnsys.partition import Partitioning
from gcnsys.plan.cuts import Counts, Cut
from gcnsys.plan.job import Job
from gcnsys.plan.pace import fits, sample
from gcnsys.train import RunConfig
from gcnsys.train.preparation import Preparation
from gcnsys.train.source import default_partitioning, is_partitioning

COUNTS = "counts:"

Shape = tuple[Graph, Tensor | SparseRows]
"""A graph and its features."""

_MASKS_AND_LABEL = 11
"""Bytes of a node's three masks and its label."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is planned for.

    Attributes:
        job: what is trained.
        cuts: a cut for each number of parts.
        shape: makes what computing is measured on.
    """

    job: Job
    cuts: tuple[Cut, ...]
    shape: Callable[[], Shape]


def subject(config: RunConfig, parts: Sequence[int], ratio: float | None = None) -> Subject:
    """That of a configuration.

    Args:
        config: its ``data`` is a partitioning's folder, a dataset, or ``counts:NAME``.
        parts: how many, one plan each; empty: as many as the partitioning has.
        ratio: of a graph that is not cut: mean of halo nodes an inner node.

    Raises:
        InputError: there is no such thing, or it does not fit the rest.
    """
    if is_partitioning(Path(config.data).expanduser()):
        partitioning = Partitioning.open(Path(config.data).expanduser())
        if list(parts) not in ([], [partitioning.num_parts]):
            raise InputError(
                f"{config.data} has {partitioning.num_parts} parts; drop --parts, or name the dataset to "
                f"plan for others"
            )
        if ratio is not None:
            raise InputError(f"{config.data} is cut, so its halo is known; drop --halo-ratio")
        return of_partitioning(partitioning, config)
    if not parts:
        raise InputError("--parts is missing; say how many, such as --parts 2,4,8")
    if config.data.startswith(COUNTS):
        return _of_counts(config, parts, ratio)
    return _of_dataset(config, parts, ratio)


def of_partitioning(partitioning: Partitioning, config: RunConfig) -> Subject:
    """That of a real cut; computing is measured on its part of most edges, alone."""
    manifest = partitioning.manifest
    if manifest.held_out is not None:
        raise InputError(f"{partitioning.folder} was cut for links; a plan knows tasks on nodes alone")
    sizes = [part.inner_edges + part.halo_edges for part in manifest.parts]
    largest = partitioning.part(max(range(len(sizes)), key=sizes.__getitem__))
    nodes, training = largest.nodes, largest.training
    if largest.training_rows is not None:
        nodes = nodes.take(largest.training_rows)
    job = Job.on(manifest, config, _density(nodes.x))

    def shape() -> Shape:
        graph = Graph(training.inner.pattern, training.is_symmetric)
        return (graph, nodes.x) if fits(job, graph) else sample(job, training.num_inner, max(sizes))

    return Subject(job, (Cut.of(partitioning, job),), shape)


def _of_dataset(config: RunConfig, parts: Sequence[int], ratio: float | None) -> Subject:
    """Drafts, but where the default partitioning is there already."""
    if config.inductive:
        raise InputError(
            "inductive = true: cut the graph first (gcnsys partition build), and plan for the cut"
        )
    dataset = Preparation.asked(config).load(config.data)
    x = dataset.x
    rows = SparseRows.from_csr(x) if isinstance(x, CSR) else x
    density = _density(rows) if isinstance(rows, SparseRows) else None
    job = Job(config, dataset.num_features, dataset.num_classes, density, _kinds(dataset))
    known = _counts(dataset.name, dataset.graph.num_nodes, dataset.graph.num_edges, job)
    cuts = []
    for count in parts:
        folder = default_partitioning(config.model_copy(update={"parts": count}))
        if ratio is None and is_partitioning(folder):
            cuts.append(Cut.of(Partitioning.open(folder), job))
        else:
            cuts.append(known.cut(count, ratio))

    def shape() -> Shape:
        graph = dataset.graph
        return (graph, rows) if fits(job, graph) else sample(job, graph.num_nodes, graph.num_edges)

    return Subject(job, tuple(cuts), shape)


def _of_counts(config: RunConfig, parts: Sequence[int], ratio: float | None) -> Subject:
    name = config.data.removeprefix(COUNTS)
    graph = counts(name)
    density = graph.feature_density if graph.feature_density < 0.25 else None  # above, they are kept dense
    job = Job(config, graph.features, graph.classes, density)
    known = _counts(name, graph.nodes, graph.edges, job)
    cuts = tuple(known.cut(count, ratio) for count in parts)
    return Subject(job, cuts, lambda: sample(job, graph.nodes, graph.edges))


def _counts(name: str, nodes: int, edges: int, job: Job) -> Counts:
    if job.density is None:
        return Counts(name, nodes, edges, 4.0 * job.num_features + _MASKS_AND_LABEL)
    stored = 8.0 * job.density * job.num_features
    return Counts(name, nodes, edges, stored + 8 + _MASKS_AND_LABEL, stored)


def _density(x: Tensor | SparseRows) -> float:
    """The share of sparse features that is not zero; of dense ones, 0: nobody asks."""
    if isinstance(x, Tensor):
        return 0.0
    rows, columns = x.shape
    return x.values.numel() / max(1, rows * columns)


def _kinds(dataset: Dataset) -> int:
    return max(1, num_kinds(dataset.graph.adjacency.columns.get("edge_type")))
