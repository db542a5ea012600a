"""One layer with given weights, ours over ranks and another library's, on one small graph."""

import importlib
import warnings
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from gcnsys.graph import Graph
from gcnsys.partition import cut
from gcnsys.runtime import PartBlock
from gcnsys.testing.ranks import run_ranks

NODES, LONER = 30, 5
WIDTHS = [(5, 3), (3, 5)]  # a layer that projects first, and one that aggregates first


def needed(name: str):
    """Import a package or skip; what it warns about while it loads is its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except (ImportError, OSError, RuntimeError) as error:
            pytest.skip(f"{name} does not import here: {error}")


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def graph_of(*, directed: bool = True, weighted: bool = False) -> Graph:
    """A random graph with some self-loops and a node without edges."""
    generator = torch.Generator().manual_seed(5)
    edge = torch.rand(NODES, NODES, generator=generator) < 0.1
    edge[LONER], edge[:, LONER] = False, False
    if not directed:
        edge |= edge.T.clone()
    edge[range(0, 12, 4), range(0, 12, 4)] = True
    values = 0.2 + torch.rand(NODES, NODES, generator=generator, dtype=torch.float64)
    values = values if directed else values + values.T
    pairs = edge.nonzero().T.flip(0)  # row receives
    weight = values[pairs[1], pairs[0]] if weighted else None
    return Graph.from_edge_index(pairs, num_nodes=NODES, weight=weight)


def filled(module: nn.Module) -> nn.Module:
    """The module in float64 with parameters that are the same for everyone, and none zero."""
    module = module.double()
    with torch.no_grad():
        for number, value in enumerate(module.parameters()):
            value.copy_(normal(100 + number, *value.shape))
    return module


@dataclass(frozen=True)
class Answer:
    """What a layer gives, and gradients of its inputs and weights, under one incoming gradient."""

    out: Tensor
    x_grad: Tensor
    weight_grads: dict[str, Tensor]

    def assert_equals(self, other: "Answer") -> None:
        assert self.out.abs().max() > 0.1
        for mine, others in ((self.out, other.out), (self.x_grad, other.x_grad)):
            torch.testing.assert_close(mine, others, rtol=0, atol=1e-9)
        torch.testing.assert_close(self.weight_grads, other.weight_grads, rtol=0, atol=1e-9)


def ours(make, graph: Graph, x: Tensor, num_parts: int) -> Answer:
    """Our layer's answer, put together from all ranks; the last one holds the isolated node alone."""
    assignment = torch.arange(NODES) % max(1, num_parts - 1)
    assignment[LONER] = num_parts - 1
    parts = cut(graph, assignment, num_parts)

    def body(comm):
        layer, ids = filled(make()), parts[comm.rank].inner_ids
        mine = x[ids].clone().requires_grad_()
        out = layer(PartBlock(parts[comm.rank], comm), mine)
        out.backward(normal(9, NODES, out.shape[1])[ids])
        grads = {name: comm.add(p.grad) for name, p in layer.named_parameters() if p.requires_grad}
        return ids, out.detach(), mine.grad, grads

    ranks = run_ranks(num_parts, body)
    out, x_grad = x.new_full((NODES, ranks[0][1].shape[1]), torch.nan), torch.full_like(x, torch.nan)
    for ids, rows, grad, _ in ranks:
        out[ids], x_grad[ids] = rows, grad
    return Answer(out, x_grad, ranks[0][3])


def theirs(layer: nn.Module, make, names: dict[str, str], x: Tensor, call) -> Answer:
    """Another library's answer with our weights; ``names`` maps theirs to ours (``.T``: transposed)."""
    layer, source = layer.double(), dict(filled(make()).named_parameters())
    parameters = dict(layer.named_parameters())
    assert set(parameters) == set(names)
    for name, our_name in names.items():
        value = source[our_name.removesuffix(".T")].data
        value = value.T if our_name.endswith(".T") else value
        parameters[name].data.copy_(value.reshape(parameters[name].shape))
    x = x.clone().requires_grad_()
    out = call(layer, x)
    out.backward(normal(9, *out.shape))
    grads = {}
    for name, our_name in names.items():
        grad, plain = parameters[name].grad, our_name.removesuffix(".T")
        grads[plain] = grad.T if our_name.endswith(".T") else grad.reshape(source[plain].shape)
    return Answer(out.detach(), x.grad, {name: grads[name] for name, p in source.items() if p.requires_grad})


PARTS = pytest.mark.parametrize("num_parts", [1, pytest.param(2, marks=pytest.mark.full), 3])
SIZES = pytest.mark.parametrize("widths", WIDTHS, ids=["shrinks", "grows"])


def dgl_graph(graph: Graph, *, loops_added: bool):
    """The same graph in DGL, which adds no self-loops by itself."""
    dgl = needed("dgl")
    graph = graph.with_self_loops() if loops_added else graph
    source, destination = graph.edge_index().long()
    return dgl.graph((source, destination), num_nodes=NODES), graph.weight
