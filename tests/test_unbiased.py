"""One exchanged aggregation and its transpose are right on average, however rows are drawn and rounded.

Fixed draws of 2000 epochs each; without `--all` of 400 where rows are drawn (rounding takes more: it seldom
goes the other way where a number is nearly one that can be stored). An entry's mean may be off by five of its
standard errors; a bias too small for one entry shows in the mean square of all.
"""

import pytest
import torch
from torch import Tensor

from gcnsys.graph import Graph
from gcnsys.partition import cut
from gcnsys.runtime import PartBlock
from gcnsys.runtime.choices import Choices
from gcnsys.runtime.exchange import Exchange
from gcnsys.testing.ranks import run_ranks

NODES, WIDTH = 60, 3
MANY, FEW = 2000, 400

CASES = {
    "uniform": {"rows": "uniform", "rate": 0.1},
    "importance": {"rows": "importance", "rate": 0.1},
    "bf16": {"codec": "bf16"},
    "int8": {"codec": "int8"},
    "uniform-int8": {"rows": "uniform", "rate": 0.3, "codec": "int8"},
    "importance-bf16": {"rows": "importance", "rate": 0.3, "codec": "bf16"},
}


def problem() -> tuple[Graph, Tensor, Tensor, Tensor]:
    """A directed, weighted graph with hubs, an assignment to two parts, rows and incoming gradients."""
    draw = torch.Generator().manual_seed(3)
    dense = torch.rand(NODES, NODES, generator=draw, dtype=torch.float64)
    dense *= torch.rand(NODES, NODES, generator=draw, dtype=torch.float64) < 0.15
    dense[:, :3] += torch.rand(NODES, 3, generator=draw, dtype=torch.float64)
    receiver, sender = dense.nonzero(as_tuple=True)
    graph = Graph.from_edge_index(
        torch.stack([sender, receiver]), num_nodes=NODES, weight=dense[receiver, sender]
    )
    x, g = (torch.randn(NODES, WIDTH, generator=draw, dtype=torch.float64) for _ in range(2))
    return graph, torch.arange(NODES) % 2, x, g


def deviations(case: str, kind: str, seeds: int) -> Tensor:
    """``[2, seeds, NODES, WIDTH]``: what an aggregation, and its transpose, is off by in each epoch."""
    graph, assignment, x, g = problem()
    parts = cut(graph, assignment, 2)

    def body(comm):
        part = parts[comm.rank]
        exchange = Exchange(part, comm, Choices(seed=11, **CASES[case]))
        block, ids = PartBlock(part, comm), part.inner_ids
        mine = x[ids].requires_grad_()
        exact = getattr(block, kind)(mine)
        wanted = torch.stack([exact.detach(), torch.autograd.grad(exact, mine, g[ids])[0]])
        block, found = block.through(exchange), torch.empty(2, seeds, *exact.shape, dtype=torch.float64)
        for epoch in range(seeds):
            exchange.begin(epoch)
            y = getattr(block, kind)(mine)
            found[0, epoch], found[1, epoch] = y.detach(), torch.autograd.grad(y, mine, g[ids])[0]
        return found - wanted[:, None]

    return torch.cat(run_ranks(2, body), 2)


def assert_unbiased(off: Tensor) -> None:
    assert float(off.abs().max()) > 1e-4, "nothing was drawn or rounded"
    for direction in off:
        mean, spread = direction.mean(0), direction.std(0)
        random = spread > 1e-12
        z = mean[random] / spread[random] * direction.shape[0] ** 0.5
        assert float(z.abs().max()) < 5
        # Hubs are in most sums, so entries go together and their mean square is no sharp figure.
        assert float((z**2).mean()) < 2.5
        # A row's largest number is as good as its scale, a float32, allows.
        assert bool((mean[~random].abs() < 1e-6).all())


@pytest.mark.parametrize("case", ["uniform", "importance", "bf16", "int8"])
def test_an_exchanged_aggregation_and_its_transpose_are_unbiased(case, request):
    few = "codec" not in CASES[case] and not request.config.getoption("--all")
    assert_unbiased(deviations(case, "gcn", FEW if few else MANY))


@pytest.mark.full
@pytest.mark.parametrize("kind", ["sum", "mean", "gcn"])
@pytest.mark.parametrize("case", CASES)
def test_every_aggregation_and_its_transpose_are_unbiased(case, kind):
    assert_unbiased(deviations(case, kind, MANY))


@pytest.mark.parametrize(("draws_per", "unbiased"), [("layer", True), ("epoch", False)])
def test_aggregations_in_a_row_are_unbiased_if_each_has_a_draw_of_its_own(draws_per, unbiased, request):
    """There, back and there again: a row that is drawn both times counts for the square of its scale."""
    nodes, seeds = 12, MANY if request.config.getoption("--all") else FEW
    couples = torch.arange(nodes).view(-1, 2).t()  # every other node on the other rank
    graph = Graph.from_edge_index(torch.cat([couples, couples.flip(0)], 1), num_nodes=nodes)
    parts, x = cut(graph, torch.arange(nodes) % 2, 2), torch.ones(nodes, 1, dtype=torch.float64)

    def body(comm):
        part = parts[comm.rank]
        choices = Choices(rows="uniform", rate=0.5, draws_per=draws_per, seed=2)
        exchanges = [Exchange(part, comm, choices, layer=layer) for layer in range(3)]
        block, mine = PartBlock(part, comm), x[part.inner_ids]
        wanted = block.sum(block.sum(block.sum(mine)))
        found = torch.empty(seeds, part.num_inner, 1, dtype=torch.float64)
        for epoch in range(seeds):
            y = mine
            for exchange in exchanges:
                exchange.begin(epoch)
                y = block.through(exchange).sum(y)
            found[epoch] = y
        return found - wanted

    off = torch.cat(run_ranks(2, body), 1)
    z = off.mean(0) / off.std(0) * seeds**0.5
    assert (float(z.abs().max()) < 5) is unbiased
