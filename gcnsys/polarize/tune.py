"""Edge factors are learnt while the weights of the model stay as they are.

One step is one pass over the graph, forward and backward, and a few passes over numbers on edges: cost grows
with the number of edges. Over ranks every edge's factor lives where its row lives.
"""

from dataclasses import dataclass, replace
from math import inf

import torch
from torch import Tensor

from gcnsys.errors import InputError, known_to_all
from gcnsys.kernels.backend import summed
from gcnsys.nn import Model, set_dropout_epoch
from gcnsys.partition import Part
from gcnsys.polarize.block import TunedBlock
from gcnsys.polarize.edges import PartEdges
from gcnsys.polarize.frozen import FrozenModel
from gcnsys.polarize.learn import Clock, Setting
from gcnsys.polarize.select import smallest
from gcnsys.polarize.terms import penalty_gradient, polarization_gradient
from gcnsys.train.view import views


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
        dual_step: of ADMM's dual variable; 1 is the textbook's, which undoes a round's choice where a round
            is a few steps that do not come close to its minimum.
        balance: mean derivative of the polarization term by an edge, in those of the loss at the start; None:
            ``weight`` counts instead.
        weight: of the polarization term.
        pseudo: learn what the pretrained model says of every node instead of the few labels there are.
        dropout: keep the model's dropout.
        stop: end once at most this share of the pruned edges has changed over a round, twice; 0: never.
        gradient_share: what both directions' derivatives are added up times; 0.25 in the released code.
    """

    ratio: float = 0.1
    rounds: int = 10
    epochs: int = 2
    lr: float = 0.01
    relative: bool = True
    rho: float = 1.0
    dual_step: float = 0.02
    balance: float | None = 0.8
    weight: float = 10.0
    pseudo: bool = True
    dropout: bool = False
    stop: float = 0.05
    gradient_share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < 1:
            raise InputError(f"ratio = {self.ratio:g}: the share of edges to prune must lie in [0, 1)")
        if self.rounds < 1 or self.epochs < 1:
            raise InputError(f"rounds and epochs must be at least 1, got {self.rounds} and {self.epochs}")
        if not 0 < self.lr < inf or not 0 <= self.rho < inf:
            raise InputError(f"lr must be above 0 and rho at least 0, got {self.lr:g} and {self.rho:g}")
        if not 0 <= self.dual_step <= 1:
            raise InputError(f"dual_step = {self.dual_step:g}: above 1, dual variables would change sign")
        if (self.balance is not None and not 0 <= self.balance < inf) or not 0 <= self.weight < inf:
            raise InputError("the weight of polarization must be at least 0, and finite")
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
        model: whose weights stay as they are meanwhile.
        setting: see :class:`Setting`.
        pseudo: learn the model's own predictions, of all nodes; see :meth:`predict`.
        dropout: keep the model's.

    Attributes:
        edges: of this rank.
    """

    def __init__(
        self, part: Part, model: Model, setting: Setting, *, pseudo: bool = False, dropout: bool = False
    ) -> None:
        if part.training is not part.whole:
            raise InputError("edges of the whole graph are tuned; cut it without --inductive")
        self.model, self.setting = model, setting
        config, comm = setting.config, setting.comm
        view = views(
            part, model, comm, choice="off", prune="off", device=setting.placement.device,
            dtype=config.stored,
        )[0]  # fmt: skip
        base, symmetric = view.blocks[0], part.whole.is_symmetric
        self.block = TunedBlock(base, part.whole.degrees, symmetric=symmetric)
        self.edges = PartEdges.of(base, comm, symmetric=symmetric, seed=config.seed)
        self.labelled = replace(view, blocks=(self.block,) * model.num_blocks)
        self.frozen = FrozenModel(model, view.inputs, dropout=dropout)
        # Numbers that a model told have no derivative where it told them.
        self.pseudo = pseudo and not view.y.is_floating_point()
        self.view = self.labelled
        count = view.y.shape[0] if self.pseudo else setting.task.size(view)
        self.count = int(comm.add(torch.tensor([count]), "control"))

    def ones(self) -> Tensor:
        """A factor of 1 for every edge of this rank, ``[E]``."""
        dtype = torch.float64 if self.setting.config.dtype == "float64" else torch.float32
        return torch.ones(self.edges.count, dtype=dtype, device=self.setting.placement.device)

    def check(self) -> None:
        """See that what the model says depends on the factors of edges; collective.

        Raises:
            InputError: it does not.
        """
        self.block.tuned(self.ones().requires_grad_())
        set_dropout_epoch(self.model, seed=self.setting.config.seed, epoch=0)
        with self.frozen.held():
            depends = self.model(self.labelled.blocks, self.labelled.inputs).requires_grad
        self.frozen.forget()
        if not depends:
            raise known_to_all(
                f"--model {self.setting.config.model}: what its layers add up does not depend on what an "
                f"edge weighs, so that edges cannot be tuned by it; use gcn, sage, gin, gat or resgcn",
                InputError,
            )

    @torch.no_grad()
    def predict(self) -> None:
        """Weights have changed: learn what the model says of every node now, and known labels; collective."""
        self.frozen.forget()
        if not self.pseudo:
            return
        view, logits = self.labelled, self.logits()
        said = logits > 0 if view.y.ndim == 2 else logits.argmax(1)
        known = view.rows["train"]
        said[known] = view.y[known]
        rows = torch.arange(said.shape[0], device=said.device)
        self.view = replace(view, y=said, rows={**view.rows, "train": rows})

    @torch.no_grad()
    def logits(self) -> Tensor:
        """What the model says of every node of this rank with all edges, ``[n, C]``; collective."""
        self.model.eval()
        self.block.tuned(self.ones())
        out: Tensor = self.model(self.labelled.blocks, self.labelled.inputs)
        return out

    def gradient(self, factors: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """This rank's share of the loss, and the loss's derivative by every factor ``[E]``; collective.

        Raises:
            GcnsysError: it is not finite.
        """
        factors = factors.detach().requires_grad_()
        self.block.tuned(factors)
        set_dropout_epoch(self.model, seed=self.setting.config.seed, epoch=epoch)
        with self.frozen.held():
            logits = self.model(self.view.blocks, self.view.inputs)
            logits = logits.to(summed(logits.dtype))
            loss = self.setting.task.training_loss(logits, self.view, epoch) / self.count
            loss.backward()
        assert factors.grad is not None
        gradient = self.edges.paired(factors.grad)
        ends = gradient.detach().aminmax() if self.edges.count else ()  # either is NaN where any is
        wrong = torch.tensor([int(not all(bool(end.isfinite()) for end in ends))])
        if int(self.setting.comm.greatest(wrong)):
            raise known_to_all("the loss has no finite derivative by the edges; pretrain at a lower lr")
        return loss.detach(), gradient


def tune(loss: TuningLoss, settings: TuneSettings) -> Tuned:
    """Tune the factors of a rank's edges and choose those to prune; collective.

    Args:
        loss: of a pretrained model.
        settings: see :class:`TuneSettings`.
    """
    with Clock() as clock:
        loss.predict()
        found = _tuned(loss, settings)
        loss.frozen.forget()
    return replace(found, seconds=clock.seconds)


def _tuned(loss: TuningLoss, settings: TuneSettings) -> Tuned:
    edges, comm = loss.edges, loss.setting.comm
    count = int(settings.ratio * edges.total + 1e-9)
    factors = loss.ones()
    distance = edges.distance.to(factors)
    near, dual = factors.clone(), torch.zeros_like(factors)
    fixed = torch.nonzero(~edges.free).flatten()
    pull, pruned, free = torch.zeros_like(factors), torch.zeros_like(edges.free), factors
    distances, unit, weight, step = [], 1.0, settings.weight, 0
    for number in range(settings.rounds):
        for _ in range(settings.epochs):
            comm.doing(f"tuning, step {step}")
            _, gradient = loss.gradient(factors, step)
            if step == 0:
                unit, weight = units(gradient, edges, settings)
                # Factors stay at 0 or above, where this derivative does not depend on them.
                pull = weight * polarization_gradient(factors, distance, edges.total)
            gradient *= settings.gradient_share / unit
            gradient += pull
            gradient.add_(penalty_gradient(factors, near, dual), alpha=settings.rho)
            free = torch.sub(factors, gradient, alpha=settings.lr, out=gradient)
            torch.clamp(free, min=0.0, out=factors)
            factors[fixed] = 1.0
            step += 1
        before, pruned = pruned, chosen(edges, factors, dual, free, count)
        near = torch.where(pruned, 0.0, factors + dual)
        dual += settings.dual_step * (factors - near)
        if number:
            distances.append(changed(edges, before, pruned))
            if settings.stop and len(distances) > 1 and max(distances[-2:]) <= settings.stop:
                break
    # The choice of a round is by factors and dual variables; what is pruned is by factors alone.
    pruned = chosen(edges, factors, torch.zeros_like(dual), free, count)
    return Tuned(edges, factors, pruned, distances, step, weight, 0.0)


def chosen(edges: PartEdges, factors: Tensor, dual: Tensor, free: Tensor, count: int) -> Tensor:
    """The edges that these factors prune, ``[E]`` bool; collective.

    Args:
        edges: of this rank.
        factors: ``[E]``, which with ``dual`` are compared.
        dual: ``[E]`` at least 0.
        free: ``[E]`` factors as the last step would have had them, had it not stopped at 0: of more edges at
            0 than are pruned, those that it would have taken farthest go.
        count: over all ranks.
    """
    values = factors + dual
    at_zero = (factors.index_select(0, edges.counted_places) == 0).sum()
    if int(edges.comm.add(at_zero, "control")) > count:
        short = free.clamp(max=0.0)
        most = edges.comm.greatest(-short.min()[None] if edges.count else short.new_zeros(1))
        values = values.double() + (short.double() + most.double())
    return smallest(edges, values, count)


def first_derivatives(loss: TuningLoss, settings: TuneSettings) -> Tensor:
    """The derivative by every edge before tuning, ``[E]``: the loss's in its unit, and polarization's."""
    loss.predict()
    edges, ones = loss.edges, loss.ones()
    _, gradient = loss.gradient(ones, 0)
    loss.frozen.forget()
    unit, weight = units(gradient, edges, settings)
    return gradient / unit + weight * polarization_gradient(ones, edges.distance.to(ones), edges.total)


def first_step(edges: PartEdges, derivatives: Tensor, settings: TuneSettings) -> Tensor:
    """The edges that a step down these derivatives would prune, ``[E]`` bool; collective."""
    # The greater the derivative, the smaller the factor after a step.
    top = edges.comm.greatest(derivatives.abs().max()[None] if edges.count else derivatives.new_zeros(1))
    return smallest(edges, top - derivatives, int(settings.ratio * edges.total + 1e-9))


def units(gradient: Tensor, edges: PartEdges, settings: TuneSettings) -> tuple[float, float]:
    """What the loss's derivatives are divided by, and the weight of polarization."""
    total = gradient.index_select(0, edges.counted_places).double().abs_().sum()
    count = max(1, edges.total)
    mean, distance = float(edges.comm.add(total, "control")) / count, edges.length / count
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
