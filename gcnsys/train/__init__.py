"""Training on parts: configuration, loop, distributed evaluation, metrics, run folder."""

from gcnsys.train.config import RunConfig
from gcnsys.train.task import Task
from gcnsys.train.trainer import Epoch, Evaluation, Trainer
from gcnsys.train.view import View, views

__all__ = ["Epoch", "Evaluation", "RunConfig", "Task", "Trainer", "View", "views"]
