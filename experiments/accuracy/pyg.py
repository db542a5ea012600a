"""PyTorch Geometric's own layers, trained exactly as a run file says.

The features of these graphs are word counts, thousands wide and mostly zero, so they stay sparse
here as they do in gcnsys: dropout falls on the stored entries, which is the same as on all of them
because a dropped zero is a zero. ``GCNConv`` takes such rows as they are. ``SAGEConv`` would
average them before its product; :class:`ProjectedSAGEConv` is that layer the other way around.

Letters: N nodes, F features, C classes.
"""

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import GCNConv, SAGEConv
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import to_torch_csc_tensor

from experiments.accuracy.history import Evaluated, History
from gcnsys.datasets import Dataset
from gcnsys.graph import CSR, Graph
from gcnsys.train import RunConfig


class ProjectedSAGEConv(SAGEConv):
    """PyG's ``SAGEConv``, its parameters and their initial values, with mean(x) W taken as mean(x W)."""

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        weight = torch.cat([self.lin_r.weight, self.lin_l.weight])
        own, sent = F.linear(x, weight).split(self.out_channels, dim=1)
        return own + self.propagate(adjacency, x=(sent, sent), size=None) + self.lin_l.bias


class Features:
    """Input rows ``[N, F]``: in torch's CSR form, or dense where a tenth of them or more is not zero."""

    def __init__(self, x: CSR | Tensor) -> None:
        crowded = isinstance(x, CSR) and x.num_edges * 10 >= x.num_rows * x.num_cols
        self.x = torch.from_numpy(x.to_scipy().toarray()) if crowded else x

    def dropped(self, rate: float, *, training: bool) -> Tensor:
        """The rows after dropout."""
        x = self.x
        if isinstance(x, Tensor):
            return F.dropout(x, rate, training)
        values = F.dropout(x.weight, rate, training)
        with quiet():
            return torch.sparse_csr_tensor(x.indptr, x.indices.long(), values, size=(x.num_rows, x.num_cols))


class Net(nn.Module):
    """Dropout, layer, ReLU, dropout, layer: what gcnsys's two-layer models are."""

    def __init__(self, config: RunConfig, num_features: int, num_classes: int) -> None:
        super().__init__()
        hidden, self.rate = config.hidden, config.dropout
        if config.model == "gcn":
            self.first = GCNConv(num_features, hidden, normalize=False)  # the adjacency is normalized
            self.second = GCNConv(hidden, num_classes, normalize=False)
        else:
            self.first = ProjectedSAGEConv(num_features, hidden)
            self.second = SAGEConv(hidden, num_classes)

    def forward(self, x: Features, adjacency: Tensor) -> Tensor:
        h = self.first(x.dropped(self.rate, training=self.training), adjacency).relu()
        return self.second(F.dropout(h, self.rate, self.training), adjacency)


def quiet() -> warnings.catch_warnings:
    """Torch warns, once a process, that its CSR tensors are young."""
    return warnings.catch_warnings(action="ignore")


def adjacency_for(model: str, graph: Graph) -> Tensor:
    """``[N, N]`` in torch's CSR form, over which PyG aggregates fastest; GCN's is PyG's normalized one."""
    edge_index, weight = graph.edge_index().long(), None
    if model == "gcn":
        edge_index, weight = gcn_norm(edge_index, num_nodes=graph.num_nodes)
    with quiet():
        return to_torch_csc_tensor(edge_index, weight, size=(graph.num_nodes, graph.num_nodes)).t()


def optimizer_for(net: Net, config: RunConfig) -> torch.optim.Adam:
    """Adam, with weight decay where the run file wants it."""
    elsewhere = config.weight_decay if config.decay_on == "all" else 0.0
    groups = [
        {"params": net.first.parameters(), "weight_decay": config.weight_decay},
        {"params": net.second.parameters(), "weight_decay": elsewhere},
    ]
    return torch.optim.Adam(groups, lr=config.lr)


def train(dataset: Dataset, config: RunConfig) -> History:
    """Train PyG's counterpart of a run; weights and masks come from torch's generator."""
    torch.manual_seed(config.seed)
    x, adjacency = Features(dataset.x), adjacency_for(config.model, dataset.graph)
    net = Net(config, dataset.num_features, dataset.num_classes)
    optimizer = optimizer_for(net, config)
    history = []
    for epoch in range(config.epochs):
        net.train()
        optimizer.zero_grad()
        logits = net(x, adjacency)
        F.cross_entropy(logits[dataset.train_mask], dataset.y[dataset.train_mask]).backward()
        optimizer.step()
        history.append(_evaluated(epoch, net, x, adjacency, dataset))
    return History(history)


@torch.no_grad()
def _evaluated(epoch: int, net: Net, x: Features, adjacency: Tensor, dataset: Dataset) -> Evaluated:
    net.eval()
    logits = net(x, adjacency)
    right = (logits.argmax(1) == dataset.y).double()
    val, test = dataset.val_mask, dataset.test_mask
    loss = F.cross_entropy(logits[val], dataset.y[val])
    return Evaluated(epoch, float(right[val].mean()), float(loss), float(right[test].mean()))
