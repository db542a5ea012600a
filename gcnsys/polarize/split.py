"""Nodes by degree into classes, classes into subgraphs of equal work, subgraphs into groups.

Classes have different degrees, so that an accelerator can give each its own share of processing elements;
the subgraphs of a class have about as many edges, so that these work in step (GCoD, section IV-B).

Letters: N nodes, S subgraphs, C classes, G groups.
"""

from dataclasses import dataclass, replace
from math import isfinite

import torch
from torch import Tensor

from gcnsys.datasets import Dataset
from gcnsys.errors import InputError
from gcnsys.graph import CSR, Graph, Layout
from gcnsys.partition.metis import metis

PUBLISHED: dict[str, tuple[float, ...]] = {
    "cora": (4,), "citeseer": (3, 6), "pubmed": (7, 12), "nell": (1.5,), "reddit": (500, 1000),
}  # fmt: skip
"""In-degrees at which the released code begins a new class, by the last word of a dataset's name."""

RELEASED = 12
"""S of the released code, for any number of classes."""

PER_CLASS = 3
"""Subgraphs of a class in a group, on average: with Cora's two classes and two groups, the released 12."""

MOST = 8192
"""S at most: tables of all blocks have S x S numbers."""

TOLERANCE = 0.05
"""By how much the edges of a subgraph may differ from the mean of its class."""


@dataclass(frozen=True, slots=True)
class SplitSettings:
    """How nodes are split.

    Attributes:
        thresholds: in-degrees, ascending, at which a new class begins; None: published ones where there are
            any and they make more than one class, else quantiles of the degrees.
        classes: C, where quantiles are taken.
        subgraphs: S, a multiple of G, at most 8192; None: three a class in each group.
        groups: G.
        seed: of METIS.
    """

    thresholds: tuple[float, ...] | None = None
    classes: int = 3
    subgraphs: int | None = None
    groups: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.classes < 1 or self.groups < 1:
            raise InputError(f"classes and groups must be at least 1, got {self.classes} and {self.groups}")
        if self.subgraphs is not None and (self.subgraphs < 1 or self.subgraphs % self.groups):
            raise InputError(
                f"{self.subgraphs} subgraphs cannot be spread over {self.groups} groups; use a multiple"
            )
        given = self.thresholds or ()
        if not all(map(isfinite, given)) or list(given) != sorted(set(given)):
            raise InputError(f"thresholds of degrees must ascend, and be finite, got {self.thresholds}")
        if (self.subgraphs or 0) > MOST:
            raise InputError(f"{self.subgraphs:,} subgraphs are too many; use {MOST:,} at most")


@dataclass(frozen=True, eq=False, slots=True)
class Split:
    """A layout whose groups are subgraphs, and what each of them is.

    Attributes:
        layout: order group, class, subgraph; its groups are the S subgraphs.
        class_of: ``[S]`` int64 degree class of each subgraph, low degrees first.
        group_of: ``[S]`` int64 group of each subgraph.
        thresholds: in-degrees at which a new class begins.
    """

    layout: Layout
    class_of: Tensor
    group_of: Tensor
    thresholds: tuple[float, ...]

    @property
    def num_subgraphs(self) -> int:
        """How many there are."""
        return self.layout.num_groups

    @property
    def subgraph_at(self) -> Tensor:
        """The subgraph of every place in the order, ``[N]`` int64."""
        return torch.repeat_interleave(self.layout.group_ptr.diff())


def split(graph: Graph, settings: SplitSettings | None = None, *, name: str = "") -> Split:
    """Split the nodes of a graph.

    Args:
        graph: N nodes; in-degrees are numbers of edges, whatever they weigh.
        settings: how.
        name: of the dataset, for published thresholds.

    Raises:
        InputError: there are fewer subgraphs in a group than classes.
    """
    settings = settings or SplitSettings()
    degree = graph.adjacency.indptr.diff()
    thresholds = _thresholds(degree, settings, name)
    class_at = torch.bucketize(degree.double(), torch.tensor(thresholds, dtype=torch.float64), right=True)
    numbers = torch.unique(class_at).tolist()
    subgraphs = settings.subgraphs or PER_CLASS * len(numbers) * settings.groups
    share = subgraphs // settings.groups
    if share < len(numbers):
        raise InputError(
            f"{subgraphs} subgraphs in {settings.groups} groups are {share} a group, fewer than the "
            f"{len(numbers)} classes of degrees; use more subgraphs or fewer thresholds"
        )
    work = torch.tensor([float(degree[class_at == number].sum()) for number in numbers])
    counts = apportioned(work, share)
    keys = torch.zeros(graph.num_nodes, dtype=torch.int64)
    found: list[tuple[int, int, int]] = []  # group, class, place within both
    for number, count in zip(numbers, counts, strict=True):
        nodes = torch.nonzero(class_at == number).flatten()
        parts = _cut(graph, nodes, degree, min(count * settings.groups, nodes.numel()), settings.seed)
        keys[nodes] = len(found) + parts
        pieces = range(int(parts.max()) + 1)
        found += [(piece % settings.groups, number, piece // settings.groups) for piece in pieces]
    order = sorted(range(len(found)), key=found.__getitem__)
    place = torch.empty(len(found), dtype=torch.int64)
    place[torch.tensor(order)] = torch.arange(len(found))
    layout = Layout.from_groups(place[keys], len(found))
    groups, classes = (torch.tensor([found[piece][part] for piece in order]) for part in (0, 1))
    return Split(layout, classes, groups, thresholds)


def _thresholds(degree: Tensor, settings: SplitSettings, name: str) -> tuple[float, ...]:
    if settings.thresholds is not None:
        return settings.thresholds
    known = PUBLISHED.get(name.lower().replace("_", "-").split("-")[-1])
    if known is not None and len(torch.bucketize(degree.double(), torch.tensor(known)).unique()) > 1:
        return known
    shares = torch.arange(1, settings.classes, dtype=torch.float64) / settings.classes
    # Above the quantile: a class begins where it is exceeded, and none is empty.
    found = torch.quantile(_sample(degree.double()), shares, interpolation="lower") + 1
    top = float(degree.max()) if degree.numel() else 0.0
    return tuple(value for value in torch.unique(found).tolist() if value <= top)


def _sample(values: Tensor, most: int = 1 << 23) -> Tensor:
    """Evenly spaced ones of many values: torch's quantile takes 2^24 at most."""
    return values[:: -(-values.numel() // most)] if values.numel() > most else values


def apportioned(work: Tensor, total: int) -> list[int]:
    """Whole numbers of at least 1 that add up to ``total``, proportional to ``work``: largest remainders.

    Args:
        work: ``[k]`` at least 0.
        total: at least k.
    """
    if not float(work.sum()):
        work = torch.ones_like(work)
    exact = work.double() / float(work.sum()) * total
    low = exact < 1
    if bool(low.any()) and not bool(low.all()):  # those below 1 get 1; the others share what is left
        rest = apportioned(work[~low], total - int(low.sum()))
        shares = torch.ones(work.numel(), dtype=torch.int64)
        shares[~low] = torch.tensor(rest)
        return [int(share) for share in shares]
    floor = exact.floor().clamp(min=1)
    order = torch.argsort(exact - floor, descending=True, stable=True)
    floor[order[: total - int(floor.sum())]] += 1
    return [int(share) for share in floor]


def _cut(graph: Graph, nodes: Tensor, degree: Tensor, count: int, seed: int) -> Tensor:
    """The subgraph of each node of a class, ``[n]`` int64, their edges alike."""
    if count < 2:
        return torch.zeros(nodes.numel(), dtype=torch.int64)
    load = degree[nodes]
    inside = Graph(graph.adjacency.pattern, graph.is_symmetric).induced(nodes)
    parts = metis(inside, count, volume=False, load=load.clamp(min=1), seed=seed).long()
    return balanced(parts, load, inside.adjacency, count)


def balanced(parts: Tensor, load: Tensor, inside: CSR, count: int, tolerance: float = TOLERANCE) -> Tensor:
    """Move nodes from the fullest part to the emptiest until loads differ little from their mean.

    Nodes with the fewest neighbours in their part go first. As many moves as parts at a time, at most.

    Args:
        parts: ``[n]`` int64.
        load: ``[n]`` int64.
        inside: edges between the nodes.
        count: of parts.
        tolerance: by which a part may differ from the mean.
    """
    parts, mean = parts.clone(), float(load.sum()) / count
    for _ in range(8 * count):
        loads = torch.bincount(parts, weights=load.double(), minlength=count)
        sizes = torch.bincount(parts, minlength=count)
        if bool((sizes > 0).all()) and float((loads - mean).abs().max()) <= tolerance * mean / 2:
            break
        full, empty = int(loads.argmax()), int((loads - mean * (sizes == 0)).argmin())
        room = min(float(loads[full]) - mean, mean - float(loads[empty]))
        members = torch.nonzero(parts == full).flatten()
        near = inside.take_rows(members)
        same = (parts[near.indices.long()] == full).double()
        ties = torch.zeros(members.numel(), dtype=torch.float64).index_add_(0, near.rows().long(), same)
        members = members[torch.argsort(ties, stable=True)]
        weight = load[members]
        fits = torch.nonzero((weight <= room) & (weight > 0)).flatten()
        moved = fits[weight[fits].cumsum(0) <= room]
        if not moved.numel():
            if int(sizes[empty]) or int(sizes[full]) < 2:
                break  # no node is small enough
            moved = weight.argmin()[None]
        parts[members[moved]] = empty
    return parts


def laid_out(dataset: Dataset, layout: Layout) -> Dataset:
    """The dataset with its nodes in the order of a layout; a node's id is then its place."""
    order = layout.order
    x = dataset.x.take_rows(order) if isinstance(dataset.x, CSR) else dataset.x[order]
    masks = {name: getattr(dataset, name)[order] for name in ("train_mask", "val_mask", "test_mask")}
    kinds = None if dataset.node_type is None else dataset.node_type[order]
    return replace(
        dataset, graph=layout.applied(dataset.graph), x=x, y=dataset.y[order], node_type=kinds, **masks
    )


def plain_layout(graph: Graph, subgraphs: int = RELEASED, *, seed: int = 0) -> Split:
    """METIS alone, of the whole graph: one class and one group, to compare with.

    Raises:
        InputError: there are fewer nodes than subgraphs.
    """
    if subgraphs > graph.num_nodes:
        raise InputError(f"{subgraphs} subgraphs of {graph.num_nodes} nodes; use fewer (--subgraphs)")
    parts = torch.zeros(graph.num_nodes, dtype=torch.int64)
    if subgraphs > 1:
        parts = metis(graph, subgraphs, volume=False, seed=seed).long()
    layout = Layout.from_groups(parts, subgraphs)
    none = torch.zeros(subgraphs, dtype=torch.int64)
    return Split(layout, none, none, ())
