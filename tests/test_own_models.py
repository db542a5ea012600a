"""Models, layers and losses of one's own, written as the guide has them, on features of either kind."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import nn
from torch.nn import functional as F

import gcnsys
from gcnsys.datasets import Dataset
from gcnsys.nn import GNN, KeyedDropout, KindLinear, Linear, Model, draw
from gcnsys.partition import Cutting, Partitioning, build
from gcnsys.runtime import Placement
from gcnsys.testing.ranks import run_ranks

CPU = Placement(torch.device("cpu"), "gloo")
NODES, FEATURES, CLASSES = 60, 30, 3


class Contrast(nn.Module):
    """A layer that knows nothing of sparse rows."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.own = Linear(inputs, outputs)

    def forward(self, block, x):
        return self.own(block.own(x) - block.mean(x))


class Two(Model):
    """A model that does not, either."""

    num_blocks = 2

    def __init__(self):
        super().__init__()
        self.enter, self.leave, self.dropout = Contrast(FEATURES, 8), Contrast(8, CLASSES), KeyedDropout(0.3)

    def forward(self, blocks, x):
        assert isinstance(x, torch.Tensor)
        h = self.enter(blocks[0], self.dropout(x, blocks[0].input_ids)).relu()
        return self.leave(blocks[1], h)


class Weighted(gcnsys.Task):
    """A loss with a state of its own."""

    def __init__(self, weight):
        self.weight = weight

    def losses(self, logits, target):
        return F.cross_entropy(logits, target, weight=self.weight, reduction="none")


MODELS = {
    "a model": Two,
    "layers": lambda: GNN([Contrast(FEATURES, 8), Contrast(8, CLASSES)], dropout=0.3),
}


@pytest.fixture(scope="module")
def cuts(tmp_path_factory):
    """The same graph with dense and with sparse features, in one part and in three."""
    folder, rng = tmp_path_factory.mktemp("cuts"), np.random.default_rng(2)
    words = sp.random_array((NODES, FEATURES), density=0.2, format="csr", rng=rng, dtype=np.float32)
    words.sort_indices()
    forms = {
        "dense": {"x": words.toarray()},
        "sparse": {
            "x_indptr": words.indptr, "x_indices": words.indices, "x_data": words.data,
            "x_shape": np.array(words.shape),
        },
    }  # fmt: skip
    known = {"edge_index": rng.integers(0, NODES, (2, 300)), "y": rng.integers(0, CLASSES, NODES)}
    for form, features in forms.items():
        dataset = Dataset.from_arrays("own", {**known, **features}).undirected()
        for parts in (1, 3):
            build(dataset, Cutting(parts, "random"), folder / f"{form}-{parts}")
    return folder


def losses(cuts, form, parts, made, **settings):
    partitioning = Partitioning.open(cuts / f"{form}-{parts}")
    config = gcnsys.RunConfig(data=str(partitioning.folder), dtype="float64", lr=0.05, **settings)

    def body(comm):
        model, task = draw(made(), seed=0), Weighted(torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64))
        trainer = gcnsys.make_trainer(partitioning, config, comm, CPU, model=model, task=task)
        found = [epoch.loss for epoch in trainer.epochs(6)]
        return [*found, trainer.evaluate().scores["val"].loss]

    return run_ranks(parts, body)[0]


@pytest.mark.parametrize("name", MODELS)
def test_sparse_features_reach_them_dense_on_any_number_of_parts(cuts, name):
    exact = losses(cuts, "dense", 1, MODELS[name])
    assert exact[5] < exact[0]
    for form, parts in (("sparse", 1), ("dense", 3), ("sparse", 3)):
        assert losses(cuts, form, parts, MODELS[name]) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_sparse_features_reach_them_dense_in_batches(cuts, name):
    batches = {"sampler": "neighbour", "fanouts": (50, 50), "batch": 20}
    exact = losses(cuts, "dense", 1, MODELS[name], **batches)
    assert losses(cuts, "sparse", 1, MODELS[name], **batches) == pytest.approx(exact, rel=1e-9)


def test_a_task_may_hold_what_it_needs():
    task = Weighted(torch.tensor([1.0, 3.0]))
    assert not task.multilabel
    logits, target = torch.zeros(2, 2), torch.tensor([0, 1])
    expected = torch.tensor([1.0, 3.0]) * np.log(2)
    torch.testing.assert_close(task.losses(logits, target), expected, check_dtype=False)


def test_the_folder_of_a_run_names_the_model_that_was_trained(cuts, tmp_path):
    partitioning = Partitioning.open(cuts / "dense-1")
    config = gcnsys.RunConfig(data=str(partitioning.folder), epochs=2)

    def body(comm):
        folder = gcnsys.RunFolder(tmp_path / "run", config)
        return gcnsys.run_part(partitioning, config, comm, CPU, folder, model=draw(Two(), seed=0))

    assert run_ranks(1, body)[0]["model"] == "Two"
    assert 'model = "Two"' in (tmp_path / "run" / "config.toml").read_text()


class Kinds(Model):
    """A map for each kind of node, then a mean over neighbours."""

    num_blocks, row_wise = 1, True

    def __init__(self):
        super().__init__()
        self.maps, self.leave = KindLinear(5, 8, 2), Linear(8, CLASSES)

    def forward(self, blocks, x):
        h = self.maps(blocks[0], x).relu()
        return self.leave(blocks[0].own(h) + blocks[0].mean(h))


@pytest.mark.parametrize("prune", ["off", "on"])
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("batches", [False, True], ids=["whole graph", "batches"])
def test_kinds_of_nodes_reach_a_layer_on_any_number_of_parts(tmp_path, prune, parts, batches):
    rng = np.random.default_rng(4)
    adjacency = np.triu(rng.random((NODES, NODES)) < 0.1, 1)
    known = {
        "edge_index": np.stack(adjacency.nonzero()), "x": rng.standard_normal((NODES, 5)).astype(np.float32),
        "y": rng.integers(0, CLASSES, NODES), "node_type": rng.integers(0, 2, NODES),
    }  # fmt: skip
    dataset = Dataset.from_arrays("kinds", known).undirected()
    build(dataset, Cutting(parts, "random"), tmp_path / "cut")
    partitioning = Partitioning.open(tmp_path / "cut")
    drawn = {"sampler": "neighbour", "fanouts": (NODES,), "batch": NODES} if batches else {}
    config = gcnsys.RunConfig(data=str(tmp_path / "cut"), dtype="float64", prune=prune, lr=0.05, **drawn)

    def body(comm):
        trainer = gcnsys.make_trainer(partitioning, config, comm, CPU, model=draw(Kinds(), seed=0))
        return [epoch.loss for epoch in trainer.epochs(5)]

    model = draw(Kinds(), seed=0).double()
    mixing = torch.from_numpy(adjacency | adjacency.T).double()
    mixing /= mixing.sum(1, keepdim=True).clamp(min=1)
    x, kinds = torch.from_numpy(known["x"]).double(), torch.from_numpy(known["node_type"])
    optimizer, exact = torch.optim.Adam(model.parameters(), lr=0.05), []
    for _ in range(5):
        each = torch.stack([linear(x) for linear in model.maps.linears])
        h = each[kinds, torch.arange(NODES)].relu()
        logits = (h + mixing @ h) @ model.leave.weight.T + model.leave.bias
        loss = F.cross_entropy(logits[dataset.train_mask], dataset.y[dataset.train_mask])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        exact.append(loss.item())
    assert run_ranks(parts, body)[0] == pytest.approx(exact, rel=1e-9)
