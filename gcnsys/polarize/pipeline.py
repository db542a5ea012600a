"""From a graph to a polarized one: split, pretrain, tune, prune, drop thin blocks, retrain.

All ranks call it together. Rank 0 holds the graph, as whoever cuts one does, and hands every rank its part;
what is learnt by edge is learnt where the edge lives, and only masks come back.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Literal

import torch
from torch import Tensor

from gcnsys.datasets import Dataset
from gcnsys.errors import InputError
from gcnsys.graph import Graph
from gcnsys.partition import Part
from gcnsys.polarize.distill import distilled
from gcnsys.polarize.edges import PartEdges
from gcnsys.polarize.learn import Learnt, Setting, learn
from gcnsys.polarize.prune import pruned_dataset, sparsified
from gcnsys.polarize.quantize import QuantizedModel
from gcnsys.polarize.split import Split, SplitSettings, laid_out, split
from gcnsys.polarize.tune import (
    Tuned,
    TuneSettings,
    TuningLoss,
    changed,
    first_derivatives,
    first_step,
    tune,
)
from gcnsys.train import Trainer
from gcnsys.train.task import Regression
from gcnsys.train.trainer import Epoch

log = logging.getLogger(__name__)

Share = Callable[[Dataset | None], Part]
"""This rank's part of a dataset that rank 0 holds; collective."""

From = Literal["rest", "pretrained", "scratch"]


@dataclass(frozen=True, slots=True)
class PolarizeSettings:
    """What polarization does.

    Attributes:
        split: see :class:`SplitSettings`.
        tuning: see :class:`TuneSettings`.
        eta: blocks off the diagonal with fewer edges are dropped, the thinnest first.
        most: as long as at most this share of all edges is gone, tuning included; None: a fiftieth more than
            tuning prunes.
        diagonal: blocks on it, too, as the released code does.
        pretrain: epochs before tuning, at most; None: three quarters of a full training.
        pretrain_stop: end them once at most this share of the edges that would be pruned has changed over
            5 epochs (``LOOK``), twice; 0: never.
        retrain: ``rest``: from the pretrained weights, for as many epochs as a full training has left, looks
            and steps of tuning counted as two of them (``STEP``), and a quarter of one at least;
            ``pretrained``: from them for a full training; ``scratch``: from the weights drawn first.
        distill: weight of what the pretrained model says of every node, in retraining and in the second
            reference; 0: labels alone.
        keep_factors: the tuned factors stay as weights of the edges that are kept.
        reference: also train on the whole graph, to compare with.
    """

    split: SplitSettings = field(default_factory=SplitSettings)
    tuning: TuneSettings = field(default_factory=TuneSettings)
    eta: int = 10
    most: float | None = None
    diagonal: bool = False
    pretrain: int | None = None
    pretrain_stop: float = 0.02
    retrain: From = "rest"
    distill: float = 0.0
    keep_factors: bool = False
    reference: bool = True

    def __post_init__(self) -> None:
        if self.eta < 0:
            raise InputError(f"eta = {self.eta}: a block cannot have fewer than 0 edges")
        if self.most is not None and not self.tuning.ratio <= self.most <= 1:
            raise InputError(
                f"most = {self.most:g}: the share of edges that may go lies between that which tuning prunes "
                f"(ratio = {self.tuning.ratio:g}) and 1"
            )
        if self.pretrain is not None and self.pretrain < 1:
            raise InputError(f"pretrain = {self.pretrain}: there must be at least one epoch before tuning")
        if not 0 <= self.distill < inf:
            raise InputError(f"distill = {self.distill:g}: a weight must be at least 0, and finite")
        if not 0 <= self.pretrain_stop <= 1:
            raise InputError(f"pretrain_stop = {self.pretrain_stop:g}: a share lies in [0, 1]")

    @property
    def room(self) -> float:
        """The share of all edges that may be gone in the end."""
        return min(1.0, self.tuning.ratio + ROOM) if self.most is None else self.most


ROOM = 0.02
"""Share of all edges that thin blocks may take beside tuning, where nothing else is said."""

STEP = 2
"""Epochs of training that a step of tuning takes the time of, or a look at what would be pruned, about."""

LOOK = 5
"""Epochs of pretraining between two looks at what would be pruned."""

PAST = 0.8
"""Weight of earlier looks in their running mean: single ones go on changing, as dropout moves weights."""


@dataclass(frozen=True, eq=False, slots=True)
class Polarized:
    """What came of it; masks, factors and datasets on rank 0 alone.

    Attributes:
        division: the split.
        original: the dataset in the order of the layout.
        factors: ``[E]`` of the original's edges.
        after_tuning: ``[E]`` bool: kept by the tuned mask.
        kept: ``[E]`` bool: kept in the end, without the blocks that were too thin.
        dataset: what is kept.
        tuned: this rank's tuning.
        pretrained, retrained: this rank's training.
        reference: on the whole graph; None: not asked for.
        distilled_reference: the same with what retraining was given beside the labels; None: it was not.
        pretrain_distances: between successive masks of pretraining.
    """

    division: Split | None
    original: Dataset | None
    factors: Tensor | None
    after_tuning: Tensor | None
    kept: Tensor | None
    dataset: Dataset | None
    tuned: Tuned
    pretrained: Learnt
    retrained: Learnt
    reference: Learnt | None
    distilled_reference: Learnt | None
    pretrain_distances: list[float]

    @property
    def cost(self) -> tuple[float, float] | None:
        """Epochs, and seconds, of all phases over those of plain training; None where that was not done.

        A look and a step of tuning count as two epochs (``STEP``).
        """
        if self.reference is None:
            return None
        steps = _steps(self.tuned, self.pretrain_distances)
        epochs = self.pretrained.epochs + STEP * steps + self.retrained.epochs
        seconds = sum(phase.seconds for phase in (self.pretrained, self.tuned, self.retrained))
        return epochs / self.reference.epochs, seconds / max(self.reference.seconds, 1e-9)


def polarize(
    dataset: Dataset | None, setting: Setting, settings: PolarizeSettings, share: Share,
    division: Split | None = None,
) -> Polarized:  # fmt: skip
    """Polarize a graph; collective.

    Args:
        dataset: on rank 0.
        setting: see :class:`gcnsys.polarize.learn.Setting`.
        settings: see :class:`PolarizeSettings`.
        share: hands every rank its part.
        division: another split than that of the settings, on rank 0.

    Raises:
        InputError: the graph cannot be split or tuned like this.
    """
    comm, original = setting.comm, None
    with comm.agreed():
        if dataset is not None:
            if bool(dataset.graph.adjacency.repeated.any()):
                raise InputError(
                    f"{dataset.name}: some nodes are joined by edges of several kinds, and polarization "
                    f"prunes pairs of nodes; leave edge_type out"
                )
            division = division or split(dataset.graph, settings.split, name=dataset.name)
            log.info("%s: %d subgraphs", dataset.name, division.num_subgraphs)
            original = laid_out(dataset, division.layout)
    part = share(original)
    pretrained, loss, distances = pretrain(part, setting, settings)
    reference = None
    if settings.reference:
        log.info("training on the whole graph, to compare with")
        reference = learn(part, setting)
    log.info("pretrained for %d epochs; tuning", pretrained.epochs)
    further, distilled_reference = setting, None
    if settings.distill and not isinstance(setting.task, Regression):
        further = distilled(setting, part, loss.logits(), settings.distill)
        if settings.reference:
            log.info("training on the whole graph, with what the pretrained model says")
            distilled_reference = learn(part, further)
    tuned = tune(loss, settings.tuning)
    log.info("tuned for %d steps", tuned.epochs)
    graph = None if original is None else original.graph
    gone = gathered(tuned.edges, tuned.pruned, graph)
    factors = gathered(tuned.edges, tuned.factors, graph)
    after = kept = polarized = None
    with comm.agreed():
        if original is not None and gone is not None and division is not None:
            after = ~gone
            kept = sparsified(
                original.graph, division, after, settings.eta, diagonal=settings.diagonal, most=settings.room
            )
            polarized = pruned_dataset(original, kept, factors if settings.keep_factors else None)
    last = share(polarized)
    log.info("retraining")
    retrained = retrain(last, further, settings.retrain, pretrained, _steps(tuned, distances))
    return Polarized(
        division, original, factors, after, kept, polarized, tuned, pretrained, retrained, reference,
        distilled_reference, distances,
    )  # fmt: skip


def pretrain(
    part: Part, setting: Setting, settings: PolarizeSettings
) -> tuple[Learnt, TuningLoss, list[float]]:
    """Train until the edges that would be pruned hardly change any more; collective.

    Raises:
        InputError: edges cannot be tuned by this model.

    Returns:
        what was learnt, the loss that edges of it are tuned by, and the distances between successive masks.
    """
    model, tuning = setting.model(exact=True), settings.tuning
    loss = TuningLoss(part, model, setting, pseudo=tuning.pseudo, dropout=tuning.dropout)
    loss.check()
    looks = _Looks(loss, tuning, settings.pretrain_stop)
    watch = looks.over if settings.pretrain_stop else None
    epochs = settings.pretrain or max(1, 3 * setting.config.epochs // 4)
    return learn(part, setting, epochs=epochs, model=model, watch=watch), loss, looks.distances


def _steps(tuned: Tuned, distances: list[float]) -> int:
    """How many steps of tuning and looks there were, of which there is one more than distances between."""
    return tuned.epochs + len(distances) + bool(distances)


def retrain(part: Part, setting: Setting, start: From, pretrained: Learnt, steps: int) -> Learnt:
    """Train on the edges that are left; collective.

    Args:
        part: this rank's, of the pruned graph.
        setting: see :class:`Setting`.
        start: from what weights, and so for how long; see :class:`PolarizeSettings`.
        pretrained: the training before edges were tuned.
        steps: how many of tuning there were, and looks.
    """
    if start == "scratch":
        return learn(part, setting)
    model = setting.model()
    inner = model.model if isinstance(model, QuantizedModel) else model
    # Linear maps of a quantized model have scales, which start anew.
    inner.load_state_dict(pretrained.model.state_dict(), strict=False)
    first = min(pretrained.epochs + STEP * steps, 3 * setting.config.epochs // 4)
    return learn(part, setting, model=model, first=first if start == "rest" else 0)


class _Looks:
    """What a step of tuning would prune, by the running mean of what is seen every few epochs."""

    def __init__(self, loss: TuningLoss, tuning: TuneSettings, stop: float) -> None:
        self.loss, self.tuning, self.stop = loss, tuning, stop
        self.mean: Tensor | None = None
        self.before: Tensor | None = None
        self.distances: list[float] = []

    def over(self, trainer: Trainer, epoch: Epoch) -> bool:
        """Whether training may end after this epoch."""
        if (epoch.number + 1) % LOOK:
            return False
        found = first_derivatives(self.loss, self.tuning)
        self.mean = found if self.mean is None else self.mean.lerp_(found, 1 - PAST)
        mask = first_step(self.loss.edges, self.mean, self.tuning)
        if self.before is not None:
            self.distances.append(changed(self.loss.edges, self.before, mask))
        self.before = mask
        last = self.distances[-2:]
        return len(last) == 2 and max(last) <= self.stop


def gathered(edges: PartEdges, values: Tensor, graph: Graph | None) -> Tensor | None:
    """What ranks know of their edges, on rank 0 ``[E]`` where the graph is and in its order; collective.

    Args:
        edges: of this rank.
        values: ``[e]`` of them.
        graph: on rank 0, in the order of the layout.
    """
    comm = edges.comm
    counts = torch.zeros(comm.size, dtype=torch.int64)
    counts[comm.rank] = edges.count
    sizes = comm.add(counts, "control").tolist()
    send = [edges.count if rank == 0 else 0 for rank in range(comm.size)]
    receive = sizes if comm.rank == 0 else [0] * comm.size
    numbers, landed = (
        comm.swap(column[:, None], send, receive).land()[:, 0].cpu()
        for column in (edges.numbers, values.to(torch.uint8) if values.dtype == torch.bool else values)
    )
    if graph is None:
        return None
    adjacency = graph.adjacency
    places = torch.searchsorted((adjacency.rows().long() << 31) | adjacency.indices.long(), numbers)
    out = landed.new_empty(graph.num_edges)
    out[places] = landed
    return out.bool() if values.dtype == torch.bool else out
