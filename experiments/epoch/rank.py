"""One rank of the epoch experiment: epochs, and in turn with them what an epoch consists of, alone."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from gcnsys.kernels import DropoutKey, Mask, RowNorm, activation
from gcnsys.kernels.dropout import drop_into
from gcnsys.nn import FirstHop, SAGEConv, build_model
from gcnsys.partition import Partitioning
from gcnsys.runtime import Comm, PartBlock, joined
from gcnsys.train import RunConfig
from gcnsys.train.optimizer import make_optimizer
from gcnsys.train.run import prepare_process
from gcnsys.train.summary import peak_rss_bytes
from gcnsys.train.task import Task
from gcnsys.train.trainer import Trainer
from gcnsys.train.view import views

WIDTH = 256


def config(folder: Path) -> RunConfig:
    """Four layers of GraphSAGE as deep full-graph runs are trained."""
    return RunConfig.checked(
        {
            "data": str(folder), "model": "sage", "layers": 4, "hidden": WIDTH, "norm": "layer",
            "dropout": 0.5, "first_hop": "on", "threads": 1,
        }
    )  # fmt: skip


def dense_products(rows: int, widths: list[tuple[int, int]]) -> Callable[[], None]:
    """Every product of rows and weights in an epoch: two a layer forward, their gradients backward."""
    work = []
    for layer, (width_in, width_out) in enumerate(widths):
        x, w, g = torch.randn(rows, width_in), torch.randn(width_out, width_in), torch.randn(rows, width_out)
        work += [(x, w, g, layer > 0)] * 2

    def run() -> None:
        for x, w, g, to_inputs in work:
            _ = x @ w.t()
            _ = g.t() @ x
            if to_inputs:
                _ = g @ w

    return run


def aggregation(block: PartBlock, widths: list[int]) -> Callable[[], None]:
    """The sums over inner and halo edges, forward and backward, without the exchange."""
    rows = {width: torch.randn(block.inner.csr.num_rows, width) for width in set(widths)}
    halos = {width: torch.randn(block.halo.csr.num_cols, width) for width in set(widths)}
    scale = torch.rand(block.inner.csr.num_rows)

    def run() -> None:
        for width in widths:
            out = block.inner.times(rows[width], row_scale=scale)
            block.halo.times(halos[width], out, row_scale=scale)
            block.halo.transpose_times(rows[width], row_scale=scale)
            block.inner.transpose_times(rows[width], row_scale=scale)

    return run


def exchange(block: PartBlock, widths: list[int]) -> Callable[[], None]:
    """Boundary rows to their halos, and their gradients back."""
    rows = {width: torch.randn(block.inner.csr.num_rows, width) for width in set(widths)}

    def run() -> None:
        for width in widths:
            lanes = block.send(rows[width])
            halo = lanes.features.arrive()
            block.exchange.send_back(lanes, halo.crossing, halo.rows)
            block.boundary.add_back(lanes.gradients.arrive().rows, rows[width])

    return run


def between_layers(rows: int, layers: int) -> Callable[[], None]:
    """Layer norm, ReLU and dropout between layers, forward and backward."""
    x, grad = torch.randn(rows, WIDTH, requires_grad=True), torch.randn(rows, WIDTH)
    norm = RowNorm(torch.ones(WIDTH, requires_grad=True), torch.zeros(WIDTH, requires_grad=True), 1e-5)
    mask = Mask(DropoutKey(0, 0, 0), torch.arange(rows), 0.5)

    def run() -> None:
        for _ in range(layers):
            torch.autograd.grad(activation(x, norm=norm, mask=mask), (x, norm.weight, norm.bias), grad)

    return run


def input_dropout(inputs: FirstHop) -> Callable[[], None]:
    """The masks of the inputs, drawn once forward and once backward."""
    x = inputs.neighbours
    assert isinstance(x, Tensor)
    words = Mask(DropoutKey(0, 0, 0), torch.arange(x.shape[0]), 0.5).words()
    out = torch.empty(870, x.shape[1])

    def run() -> None:
        for _ in range(4):
            for start in range(0, x.shape[0], 870):
                piece = slice(start, min(x.shape[0], start + 870))
                drop_into(x[piece], words[0][piece], words[1][piece], 0.5, out[: piece.stop - start])

    return run


def measured(folder: Path, rounds: int, comm: Comm, device: torch.device) -> dict[str, object]:
    """Median seconds of an epoch and of its parts; each round runs all of them, all ranks at once."""
    asked = config(folder)
    prepare_process(asked)
    partitioning = Partitioning.open(folder)
    manifest = partitioning.manifest
    model = build_model(asked.model_settings(), manifest.num_features, manifest.num_classes, seed=0)
    training, evaluation = views(
        partitioning.part(comm.rank), model, comm, choice="on", device=device, dtype=torch.float32
    )
    trainer = Trainer(
        model, training, evaluation, Task(manifest.multilabel), make_optimizer(model, asked), comm
    )
    for _ in trainer.epochs(3):
        pass
    peak = peak_rss_bytes()  # before the parts bring memory of their own
    block, inputs = training.blocks[0], training.inputs
    assert isinstance(block, PartBlock)
    assert isinstance(inputs, FirstHop)
    convs = [conv for conv in model.convs if isinstance(conv, SAGEConv)]
    shapes = [tuple(conv.own.weight.shape[::-1]) for conv in convs]
    rows, crossing = block.inner.csr.num_rows, [min(pair) for pair in shapes[1:]]
    upcoming = iter(trainer.epochs(3 + rounds, first=3))
    parts: dict[str, Callable[[], object]] = {
        "epoch": lambda: next(upcoming),
        "dense products": dense_products(rows, shapes),
        "aggregation": aggregation(block, crossing),
        "exchange": exchange(block, crossing),
        "norm, ReLU, dropout": between_layers(rows, len(shapes) - 1),
        "input dropout": input_dropout(inputs),
    }
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(rounds):
        for name, run in parts.items():
            comm.add(torch.zeros(1), "control")  # all ranks at once
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    slowest = {name: float(comm.greatest(torch.tensor(value))) for name, value in medians.items()}
    peaks = comm.texts(str(peak))
    return {
        "rows_of_rank_0": rows, "seconds": slowest,
        "epoch_over_dense_products": slowest["epoch"] / slowest["dense products"],
        "shares": {name: slowest[name] / slowest["epoch"] for name in parts if name != "epoch"},
        "peak_gib": [int(text) / 2**30 for text in peaks],
    }  # fmt: skip


def main() -> None:
    folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
    with joined("cpu") as (comm, placement):
        result = measured(folder, rounds, comm, placement.device)
    if comm.rank == 0:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
