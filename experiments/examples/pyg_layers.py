"""Layers of PyG as they are, one of them one's own, trained on all of a graph.

python -m experiments.examples.pyg_layers digits
torchrun --standalone --nproc-per-node 4 -m experiments.examples.pyg_layers npz:mine.npz
"""

import sys

import torch
from torch import nn
from torch_geometric.nn import MessagePassing, TransformerConv

import gcnsys
from gcnsys.nn import GNN, FromPyG


class Gated(MessagePassing):
    """What a neighbour says counts for as much as both ends agree on."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__(aggr="mean")
        self.gate, self.linear = nn.Linear(2 * width_in, 1), nn.Linear(width_in, width_out)

    def forward(self, x, edge_index):
        return self.linear(x) + self.propagate(edge_index, x=x, h=self.linear(x))

    def message(self, x_i, x_j, h_j):
        return torch.sigmoid(self.gate(torch.cat([x_i, x_j], 1))) * h_j


config = gcnsys.RunConfig(data=sys.argv[1], epochs=60)
gcnsys.prepare_process(config)
with gcnsys.joined(config.device, timeout=config.startup_timeout) as (comm, placement):
    graph = gcnsys.shared_partitioning(config, comm)
    features, classes = graph.manifest.num_features, graph.manifest.num_classes
    torch.manual_seed(config.seed)
    model = GNN([FromPyG(TransformerConv(features, 16, heads=4)), FromPyG(Gated(64, classes))], dropout=0.3)
    trainer = gcnsys.make_trainer(graph, config, comm, placement, model=model)
    for epoch in trainer.epochs(config.epochs):
        if comm.rank == 0 and epoch.number % 10 == 9:
            print(f"epoch {epoch.number + 1}: loss {epoch.loss:.4f}, {epoch.seconds * 1e3:.0f} ms")
    scores = trainer.evaluate().scores
    if comm.rank == 0:
        print(f"test accuracy {scores['test'].accuracy:.4f} on {comm.size} parts")
