"""Training on parts: configuration, loop, distributed evaluation, metrics, run folder."""

from gcnsys.train.config import RunConfig
from gcnsys.train.folder import RunFolder
from gcnsys.train.link_prediction import LinkPrediction
from gcnsys.train.making import make_trainer
from gcnsys.train.run import prepare_process, run_part
from gcnsys.train.source import shared_partitioning
from gcnsys.train.stopping import requests
from gcnsys.train.task import Regression, Task
from gcnsys.train.trainer import Epoch, Evaluation, Trainer
from gcnsys.train.view import View, views

__all__ = [
    "Epoch", "Evaluation", "LinkPrediction", "Regression", "RunConfig", "RunFolder", "Task", "Trainer",
    "View", "make_trainer", "prepare_process", "requests", "run_part", "shared_partitioning", "views",
]  # fmt: skip
