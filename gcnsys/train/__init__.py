"""Training on parts: configuration, loop, distributed evaluation, metrics, run folder."""

from gcnsys.train.config import RunConfig
from gcnsys.train.link_prediction import LinkPrediction
from gcnsys.train.making import make_trainer
from gcnsys.train.run import run_part
from gcnsys.train.source import shared_partitioning
from gcnsys.train.task import Task
from gcnsys.train.trainer import Epoch, Evaluation, Trainer
from gcnsys.train.view import View, views

__all__ = [
    "Epoch", "Evaluation", "LinkPrediction", "RunConfig", "Task", "Trainer", "View", "make_trainer",
    "run_part", "shared_partitioning", "views",
]  # fmt: skip
