"""Edge factors are learnt while the weights of the model stay as they are.

One step is one pass over the graph, forward and backward, and a few passes over numbers on edges: cost grows
with the number of edges. Over ranks every edge's factor lives where its row lives.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gcnsys.errors import InputError, known_to_all
from gcnsys.nn import Model, set_dropout_epoch
from gcnsys.nn.dropout import KeyedDropout
from gcnsys.partition import Part
from gcnsys.polarize.block import TunedBlock
from gcnsys.polarize.edges import PartEdges
from gcnsys.polarize.learn import Clock, Setting
from gcnsys.polarize.select import smallest
from gcnsys.polarize.terms import penalty_gradient, polarization_gradient
from gcnsys.train.view import View, views

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """How edges are tuned.

    Attributes:
        ratio: share of the free edges to prune, in ``[0, 1)``.
        rounds: how often z and u of ADMM are renewed, at most.
        epochs: steps a round.
        lr: of gradient descent on factors.
        relative: measure the loss in units of its own mean derivative by an edge at the start, so that ``lr``
            and ``rho`` mean the same for any graph.
        rho: weight of ADMM's term.
        balance: mean derivative of the polarization term by an edge, in those of the loss at the start; None:
            ``weight`` counts instead.
        weight: of the polarization term.
        pseudo: learn what the pretrained model says of every node instead of the few labels there are.
        dropout: keep the model's dropout.
        stop: end once at most this share of the pruned edges has changed over a round, twice; 0: never.
    """

    ratio: float = 0.1
    rounds: int = 10
    epochs: int = 2
    lr: float = 0.05
    relative: bool = True
    rho: float = 1.0
    balance: float | None = 0.5
    weight: float = 10.0
    pseudo: bool = True
    dropout: bool = False
    stop: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < 1:
            raise InputError(f"ratio = {self.ratio:g}: the share of edges to prune must lie in [0, 1)")
        if self.rounds < 1 or self.epochs < 1:
            raise InputError(f"rounds and epochs must be at least 1, got {self.rounds} and {self.epochs}")
        if not self.lr > 0 or self.rho < 0:
            raise InputError(f"lr must be above 0 and rho at least 0, got {self.lr:g} and {self.rho:g}")
        if (self.balance is not None and self.balance < 0) or self.weight < 0:
            raise InputError("the weight of polarization must be at least 0")
        if not 0 <= self.stop <= 1:
            raise InputError(f"stop = {self.stop:g}: a share of pruned edges lies in [0, 1]")


@dataclass(frozen=True, eq=False, slots=True)
class Tuned:
    """What tuning came to, for the edges of this rank.

    Attributes:
        edges: of this rank.
        factors: ``[E]``.
        pruned: ``[E]`` bool.
        distances: between the masks of successive rounds, as shares of the pruned edges.
        epochs: steps that were taken.
        weight: of the polarization term.
        seconds: they took.
    """

    edges: PartEdges
    factors: Tensor
    pruned: Tensor
    distances: list[float]
    epochs: int
    weight: float
    seconds: float


class TuningLoss:
    """The loss of a frozen model as a function of edge factors.

    Args:
        part: this rank's.
        model: pretrained.
        setting: see :class:`Setting`.
        pseudo: learn the model's own predictions, of all nodes.
        dropout: keep the model's.
    """

    def __init__(
        self, part: Part, model: Model, setting: Setting, *, pseudo: bool = False, dropout: bool = False
    ) -> None:
        if part.training is not part.whole:
            raise InputError("edges of the whole graph are tuned; cut it without --inductive")
        self.model, self.setting, self.dropout = model, setting, dropout
        config, comm = setting.config, setting.comm
        view = views(
            part, model, comm, choice="off", prune="off", device=setting.placement.device,
            dtype=config.stored,
        )[0]  # fmt: skip
        base, symmetric = view.blocks[0], part.whole.is_symmetric
        self.block = TunedBlock(base, part.whole.degrees, symmetric=symmetric)
        self.edges = PartEdges.of(base, comm, symmetric=symmetric, seed=config.seed)
        self.view = replace(view, blocks=(self.block,) * model.num_blocks)
        if pseudo:
            self.view = self._with_predictions(base)
        self.count = int(comm.add(torch.tensor([setting.task.size(self.view)]), "control"))

    def _with_predictions(self, base: object) -> View:
        with torch.no_grad():
            self.model.eval()
            logits = self.model(self.view.blocks, self.view.inputs)
        view, y = self.view, self.view.y
        if y.is_floating_point():
            return view  # numbers that were told have no derivative where they were told
        said = logits > 0 if y.ndim == 2 else logits.argmax(1)
        rows = torch.arange(y.shape[0], device=y.device)
        known = view.rows["train"]
        said[known] = y[known]
        return replace(view, y=said, rows={**view.rows, "train": rows})

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        asked = [p for p in self.model.parameters() if p.requires_grad]
        for parameter in asked:
            parameter.requires_grad_(requires_grad=False)
        self.model.eval()
        if self.dropout:
            for module in self.model.modules():
                if isinstance(module, KeyedDropout):
                    module.train()
        try:
            yield
        finally:
            for parameter in asked:
                parameter.requires_grad_(requires_grad=True)

    def gradient(self, factors: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """This rank's share of the loss, and the loss's derivative by every factor ``[E]``; collective.

        Raises:
            GcnsysError: it is not finite.
        """
        factors = factors.detach().requires_grad_()
        self.block.tuned(factors)
        set_dropout_epoch(self.model, seed=self.setting.config.seed, epoch=epoch)
        with self._frozen():
            logits = self.model(self.view.blocks, self.view.inputs)
            logits = logits.to(factors.dtype) if logits.dtype == torch.bfloat16 else logits
            loss = self.setting.task.training_loss(logits, self.view, epoch) / self.count
            loss.backward()
        assert factors.grad is not None
        gradient = self.edges.paired(factors.grad)
        wrong = (~gradient.isfinite()).any()[None].long()
        if int(self.setting.comm.greatest(wrong)):
            raise known_to_all("the loss has no finite derivative by the edges; pretrain at a lower lr")
        return loss.detach(), gradient


def tune(part: Part, model: Model, setting: Setting, settings: TuneSettings) -> Tuned:
    """Tune the factors of a rank's edges and choose those to prune; collective.

    Args:
        part: this rank's, in the order of the layout: node ids are places in it.
        model: pretrained; its weights stay.
        setting: see :class:`Setting`.
        settings: see :class:`TuneSettings`.
    """
    with Clock() as clock:
        loss = TuningLoss(part, model, setting, pseudo=settings.pseudo, dropout=settings.dropout)
        found = _tuned(loss, settings)
    return replace(found, seconds=clock.seconds)


def _tuned(loss: TuningLoss, settings: TuneSettings) -> Tuned:
    edges, comm = loss.edges, loss.setting.comm
    dtype = torch.float64 if loss.setting.config.dtype == "float64" else torch.float32
    count = int(settings.ratio * edges.total + 1e-9)
    distance = edges.distance.to(dtype)
    factors = torch.ones(edges.count, dtype=dtype)
    near, dual = factors.clone(), torch.zeros_like(factors)
    pruned, distances, unit, weight, step = torch.zeros_like(edges.free), [], 1.0, settings.weight, 0
    for number in range(settings.rounds):
        for _ in range(settings.epochs):
            comm.doing(f"tuning, step {step}")
            _, gradient = loss.gradient(factors, step)
            if step == 0:
                unit, weight = _units(gradient, edges, settings)
            gradient /= unit
            gradient += weight * polarization_gradient(factors, distance, edges.total)
            gradient += settings.rho * penalty_gradient(factors, near, dual)
            factors -= settings.lr * gradient.masked_fill_(~edges.free, 0.0)
            factors.clamp_(min=0.0)
            step += 1
        before, pruned = pruned, smallest(edges, factors + dual, count)
        near = torch.where(pruned, 0.0, factors + dual)
        dual += factors - near
        if number:
            distances.append(changed(edges, before, pruned))
            if len(distances) > 1 and max(distances[-2:]) <= settings.stop and settings.stop > 0:
                break
    return Tuned(edges, factors, smallest(edges, factors, count), distances, step, weight, 0.0)


def _units(gradient: Tensor, edges: PartEdges, settings: TuneSettings) -> tuple[float, float]:
    """What the loss's derivatives are divided by, and the weight of polarization."""
    counted = edges.counted
    sums = torch.stack([gradient[counted].double().abs().sum(), edges.distance[counted].sum()])
    mean, distance = (edges.comm.add(sums, "control") / max(1, edges.total)).tolist()
    unit = mean if settings.relative and mean > 0 else 1.0
    if settings.balance is None:
        return unit, settings.weight
    return unit, settings.balance * mean / unit * edges.total / max(distance, 1e-300)


def changed(edges: PartEdges, before: Tensor, after: Tensor) -> float:
    """How many pruned edges are others than before, as a share of them; collective."""
    counted = edges.counted
    sums = torch.stack([(after & ~before & counted).sum(), (after & counted).sum()])
    others, count = edges.comm.add(sums, "control").tolist()
    return others / count if count else 0.0
