"""Adam, and its learning rate over epochs."""

from functools import partial
from typing import Any

import torch

from gcnsys.nn import Model
from gcnsys.train.config import RunConfig


def learning_rate_factor(config: RunConfig, epoch: int) -> float:
    """What the learning rate is multiplied by at an epoch."""
    if epoch < config.warmup:
        return (epoch + 1) / config.warmup
    if config.lr_schedule == "constant":
        return 1.0
    progress = (epoch - config.warmup) / max(1, config.epochs - config.warmup)
    return 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * min(progress, 1.0)))))


def make_optimizer(model: Model, config: RunConfig) -> torch.optim.Adam:
    """Adam with its L2 penalty on all layers, or on the first alone as published for GCN."""
    first = {id(p) for p in model.first.parameters()}
    groups: list[dict[str, Any]] = [{"params": [p for p in model.parameters() if id(p) in first]}]
    rest = [p for p in model.parameters() if id(p) not in first]
    if rest:
        groups.append({"params": rest} if config.decay_on == "all" else {"params": rest, "weight_decay": 0.0})
    return torch.optim.Adam(groups, lr=config.lr, weight_decay=config.weight_decay)


def make_scheduler(optimizer: torch.optim.Optimizer, config: RunConfig) -> torch.optim.lr_scheduler.LambdaLR:
    """The learning rate over epochs."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, partial(learning_rate_factor, config))
