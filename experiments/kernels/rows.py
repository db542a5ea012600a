"""Work on rows between aggregations: keyed dropout and the fused activation beside torch's.

python -m experiments.kernels.rows [--rows 60000] [--width 256] [--threads 1] [--out FILE]
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from experiments.kernels.timing import side_by_side
from experiments.machine import report
from gcnsys import kernels
from gcnsys.kernels import DropoutKey, Mask, RowNorm, activation, keyed_dropout
from gcnsys.kernels.memory import as_training_has_it


def measured(rows: int, width: int) -> dict[str, float]:
    """Nanoseconds an element."""
    x, grad = torch.randn(rows, width, requires_grad=True), torch.randn(rows, width)
    weight, bias = (t.requires_grad_() for t in (torch.ones(width), torch.zeros(width)))
    key, ids = DropoutKey(0, 0, 0), torch.arange(rows)
    fixed = x.detach()

    def ours() -> Tensor:
        return activation(x, norm=RowNorm(weight, bias, 1e-5), mask=Mask(key, ids, 0.5))

    def torchs() -> Tensor:
        return F.dropout(F.layer_norm(x, (width,), weight, bias).relu(), 0.5)

    def step(forward: Tensor) -> None:
        torch.autograd.grad(forward, (x, weight, bias), grad)

    best = side_by_side(
        {
            "dropout": lambda: keyed_dropout(fixed, key, ids, 0.5),
            "dropout of torch": lambda: F.dropout(fixed, 0.5),
            "norm, ReLU, dropout": ours,
            "norm, ReLU, dropout of torch": torchs,
            "norm, ReLU, dropout, with gradient": lambda: step(ours()),
            "norm, ReLU, dropout, with gradient, of torch": lambda: step(torchs()),
            "copy": lambda: fixed.clone(),
        }
    )
    return {name: 1e9 * seconds / (rows * width) for name, seconds in best.items()}


def main() -> None:
    style = argparse.RawDescriptionHelpFormatter
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    cli.add_argument("--rows", type=int, default=60_000)
    cli.add_argument("--width", type=int, default=256)
    cli.add_argument("--threads", type=int, default=1)
    cli.add_argument("--out", type=Path, help="write the result here, too")
    options = cli.parse_args()
    torch.set_num_threads(options.threads)
    as_training_has_it()
    figures = measured(options.rows, options.width)
    report({"nanoseconds_an_element": figures, "kernels": kernels.name()}, options.out)


if __name__ == "__main__":
    main()
