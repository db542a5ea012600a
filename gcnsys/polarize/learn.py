"""Training a model on this rank's part, the epoch that validation likes best kept."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR

from gcnsys.nn import Model, build_model
from gcnsys.partition import Part
from gcnsys.polarize.quantize import Precision, QuantizedModel
from gcnsys.runtime import Comm, Placement
from gcnsys.train import RunConfig, Task, Trainer, views
from gcnsys.train.best import Best
from gcnsys.train.optimizer import learning_rate_factor, make_optimizer
from gcnsys.train.trainer import Epoch
from gcnsys.train.view import FirstHopChoice


@dataclass(frozen=True, eq=False, slots=True)
class Learnt:
    """What training came to.

    Attributes:
        model: with the weights that validation liked best.
        accuracy: of that epoch, by ``train, val, test``.
        best_test: the greatest test accuracy of any epoch, which nothing may be chosen by; NaN without test
            nodes.
        best_epoch: that epoch's number.
        epochs: that were trained.
        seconds: that they took, what watched them included, without evaluation.
    """

    model: Model
    accuracy: dict[str, float]
    best_test: float
    best_epoch: int
    epochs: int
    seconds: float


@dataclass(frozen=True, eq=False, slots=True)
class Setting:
    """What all phases share.

    Attributes:
        config: of models and training.
        num_features, num_outputs: of models.
        task: what is learnt.
        comm: the ranks.
        placement: where this one computes.
        precision: of numbers in full trainings, not in those that edges are tuned by; None: all bits.
    """

    config: RunConfig
    num_features: int
    num_outputs: int
    task: Task
    comm: Comm
    placement: Placement
    precision: Precision | None = None

    @property
    def first_hop(self) -> FirstHopChoice:
        """Whether the first aggregation is done in advance: not where its rows are rounded, nor before."""
        return self.config.first_hop if self.precision is None else "off"

    def model(self, *, exact: bool = False) -> Model:
        """A model as the configuration draws it, the same on every rank and at every call.

        Args:
            exact: in full precision, whatever :attr:`precision` says.
        """
        config = self.config
        made = build_model(config.model_settings(), self.num_features, self.num_outputs, seed=config.seed)
        if self.precision is not None and not exact:
            made = QuantizedModel(made, self.precision, self.comm)
        return made.to(self.placement.device, getattr(torch, config.dtype))


Watch = Callable[[Trainer, Epoch], bool]
"""Looks at training after an epoch; True ends it."""


def learn(
    part: Part, setting: Setting, *, epochs: int | None = None, model: Model | None = None,
    watch: Watch | None = None, first: int = 0,
) -> Learnt:  # fmt: skip
    """Train on a part; collective.

    Args:
        part: this rank's.
        setting: see :class:`Setting`.
        epochs: where it ends, at most; None: as configured.
        model: to go on with; None: a new one.
        watch: may end it early, on all ranks alike.
        first: the number of the first epoch, which dropout and the learning rate follow.
    """
    config, comm = setting.config, setting.comm
    model = setting.model() if model is None else model
    training, evaluation = views(
        part, model, comm, choice=setting.first_hop, prune=config.prune, choices=config.choices(),
        device=setting.placement.device, dtype=config.stored,
    )  # fmt: skip
    optimizer = make_optimizer(model, config)
    trainer = Trainer(
        model, training, evaluation, setting.task, optimizer, comm, seed=config.seed,
        scheduler=LambdaLR(optimizer, lambda epoch: learning_rate_factor(config, first + epoch)),
    )  # fmt: skip
    best, best_test, seconds, done = Best(), math.nan, 0.0, 0
    patience_of_others = comm.timeout
    for epoch in trainer.epochs(config.epochs if epochs is None else epochs, first=first):
        seconds, done = seconds + epoch.seconds, done + 1
        found = trainer.evaluate()
        best.offer(epoch.number, found, model)
        best_test = np.fmax(best_test, found.scores["test"].accuracy).item()
        late = config.patience and epoch.number - best.epoch >= config.patience
        with Clock() as clock:
            over = watch is not None and watch(trainer, epoch)
        seconds += clock.seconds
        comm.timeout = config.timeout
        if late or over:
            break
    trainer.settle()
    comm.timeout = patience_of_others
    assert best.evaluation is not None
    model.load_state_dict(best.state)
    accuracy = {name: score.accuracy for name, score in best.evaluation.scores.items()}
    return Learnt(model, accuracy, best_test, best.epoch, done, seconds)


class Clock:
    """Seconds that blocks of code took."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def __enter__(self) -> "Clock":
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._began
