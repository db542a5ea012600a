"""What a trained model says of every node, as something to learn beside the labels (Hinton et al. 2015).

Where few nodes have labels, a model that is trained anew on fewer edges learns from the one before it.

Letters: n nodes of this rank, C classes.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from gcnsys.errors import InputError
from gcnsys.partition import Part
from gcnsys.polarize.learn import Setting
from gcnsys.train import Task
from gcnsys.train.view import View


@dataclass(eq=False)
class Distilled(Task):
    """Classification, and agreement with a teacher on all nodes.

    Attributes:
        teacher: ``[n, C]`` probabilities, in the order of the part.
        weight: of the mean cross-entropy with the teacher, beside the mean loss of labels.
        scale: training nodes of all ranks over all nodes, which makes one mean of the other.
    """

    teacher: Tensor | None = None
    weight: float = 1.0
    scale: float = 1.0

    def training_loss(self, outputs: Tensor, view: View, epoch: int) -> Tensor:
        assert self.teacher is not None
        if outputs.shape[0] != self.teacher.shape[0]:
            raise InputError("a teacher speaks of all nodes, so that none may be left out: use prune = off")
        rows = view.rows["train"]
        labels = self.losses(outputs[rows], view.y[rows]).sum()
        teacher = self.teacher.to(outputs)
        if self.multilabel:
            said = F.binary_cross_entropy_with_logits(outputs, teacher, reduction="none").sum()
        else:
            said = F.cross_entropy(outputs, teacher, reduction="sum")
        return labels + self.weight * self.scale * said


def distilled(setting: Setting, part: Part, logits: Tensor, weight: float) -> Setting:
    """A setting whose models also learn what a teacher says; collective.

    Args:
        setting: of classification.
        part: this rank's.
        logits: ``[n, C]`` the teacher's, in the order of the part, of which no view leaves a row out then.
        weight: see :class:`Distilled`.
    """
    task = setting.task
    teacher = logits.sigmoid() if task.multilabel else logits.softmax(1)
    counts = torch.stack([part.nodes.train_mask.sum(), torch.tensor(part.whole.num_inner)])
    train, nodes = setting.comm.add(counts, "control").tolist()
    task = Distilled(task.multilabel, teacher, weight, train / max(1, nodes))
    config = setting.config.model_copy(update={"prune": "off"})
    return replace(setting, task=task, config=config)
