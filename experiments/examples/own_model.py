"""One's own model and loss, trained on all of a graph by as many ranks as there are.

python -m experiments.examples.own_model digits
torchrun --standalone --nproc-per-node 4 -m experiments.examples.own_model npz:mine.npz
"""

import sys

import torch
import torch.nn.functional as F

import gcnsys
from gcnsys.nn import KeyedDropout, LayerNorm, Linear, Model, draw


class Jumping(Model):
    """Two mean aggregations; every node's class is told from all that they gave."""

    num_blocks = 2

    def __init__(self, features: int, width: int, classes: int) -> None:
        super().__init__()
        self.enter, self.leave = Linear(features, width), Linear(3 * width, classes)
        self.norm, self.dropout = LayerNorm(width), KeyedDropout(0.3)

    def forward(self, blocks, x):
        rows = [self.norm(self.enter(x), blocks[0]).relu()]
        for block in blocks:
            rows.append(block.mean(self.dropout(rows[-1], block.input_ids)))
        return self.leave(torch.cat(rows, 1))


class Smoothed(gcnsys.Task):
    """Cross-entropy with smoothed labels, one number a node."""

    def losses(self, logits, target):
        return F.cross_entropy(logits, target, reduction="none", label_smoothing=0.1)


config = gcnsys.RunConfig(data=sys.argv[1], epochs=60, method="pipegcn")
gcnsys.prepare_process(config)
with gcnsys.joined(config.device, timeout=config.startup_timeout) as (comm, placement):
    graph = gcnsys.shared_partitioning(config, comm)
    model = draw(Jumping(graph.manifest.num_features, 64, graph.manifest.num_classes), seed=0)
    trainer = gcnsys.make_trainer(graph, config, comm, placement, model=model, task=Smoothed())
    for epoch in trainer.epochs(config.epochs):
        if comm.rank == 0 and epoch.number % 10 == 9:
            print(f"epoch {epoch.number + 1}: loss {epoch.loss:.4f}, {epoch.seconds * 1e3:.0f} ms")
    scores = trainer.evaluate().scores
    if comm.rank == 0:
        print(f"test accuracy {scores['test'].accuracy:.4f} on {comm.size} parts")
