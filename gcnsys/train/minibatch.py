"""Training on batches that a sampler draws, evaluated on the whole graph as ever."""

from contextlib import closing

import torch
from torch import nn

from gcnsys.nn import set_dropout_epoch
from gcnsys.nn.model import readable
from gcnsys.runtime import Comm
from gcnsys.runtime.labels import labelled
from gcnsys.train.batches import Batch, Batches
from gcnsys.train.task import Task
from gcnsys.train.trainer import Trainer
from gcnsys.train.view import View


class MinibatchTrainer(Trainer):
    """Trains one model on batches; an epoch sees every training node once, or as many nodes.

    A step's loss is the mean over its seeds on all ranks. Where a sampler weighs nodes, it is the weighted
    sum over all training nodes, averaged over ranks, each of which has drawn a sample of its own.

    Args:
        model: built alike on every rank; rank 0's weights are shared out.
        evaluation: what to evaluate on.
        task: loss and scores, a number a node.
        optimizer: over the model's parameters.
        comm: the ranks.
        batches: what to train on.
        seed: of dropout masks.
        scheduler: stepped after each epoch.
    """

    def __init__(
        self, model: nn.Module, evaluation: View, task: Task, optimizer: torch.optim.Optimizer, comm: Comm, *,
        batches: Batches, seed: int = 0, scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    ) -> None:  # fmt: skip
        super().__init__(model, evaluation, evaluation, task, optimizer, comm, seed=seed, scheduler=scheduler)
        self.batches = batches

    def _step(self, number: int) -> float:
        self.model.train()
        losses, sizes = 0.0, 0.0
        with closing(self.batches.epoch(number)) as batches:
            for batch in batches:
                losses += self._batch(self.batches.placed(batch), number) * batch.size
                sizes += batch.size
                self.sampled["batches"] = self.sampled.get("batches", 0) + 1
                for name, value in batch.metrics.items():
                    self.sampled[name] = self.sampled.get(name, 0) + value
                self.comm.traffic.took(batch.spent)
        if self.scheduler is not None:
            self.scheduler.step()
        return losses / max(1.0, sizes)

    def _batch(self, batch: Batch, number: int) -> float:
        set_dropout_epoch(self.model, seed=self.seed, epoch=batch.step)
        with labelled("forward"):
            outputs = self._scored(self.model(batch.blocks, readable(self.model, batch.inputs)))
        losses = self.task.losses(outputs[batch.rows], batch.y)
        if batch.weight is not None:
            losses = losses * batch.weight
        return self._descend(losses.sum() / max(1.0, batch.size), number)
