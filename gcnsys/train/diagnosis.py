"""Which layer is to blame where a loss or a gradient is no longer finite."""

import math
from functools import partial

import torch
from torch import Tensor, nn

from gcnsys.runtime import Comm
from gcnsys.train.view import View


@torch.no_grad()
def blamed(model: nn.Module, view: View, loss: float, epoch: int, comm: Comm) -> str:
    """What is not finite, as the beginning of a sentence; collective, with the same gradients on all ranks.

    Args:
        model: whose step failed; the weights it failed with.
        view: exact rows to run it on once more, without dropout.
        loss: of that step.
        epoch: when.
        comm: the ranks.
    """
    if math.isfinite(loss):
        wrong = [name for name, p in model.named_parameters() if p.grad is not None and not _finite(p.grad)]
        return f"the gradient of {wrong[-1]} is not finite at epoch {epoch} (the loss is {loss:g})"
    layers = [module for name in ("convs", "linears") for module in getattr(model, name, ())]
    bad = torch.zeros(max(1, len(layers)), dtype=torch.int64)

    def look(number: int, module: nn.Module, given: object, out: Tensor) -> None:
        bad[number] = not _finite(out)

    hooks = [layer.register_forward_hook(partial(look, number)) for number, layer in enumerate(layers)]
    model.eval()
    model(view.blocks, view.inputs)
    for hook in hooks:
        hook.remove()
    found = torch.nonzero(comm.add(bad, "control")).flatten().tolist()
    where = f" (the result of layer {found[0]} is the first that is not finite)" if found else ""
    return f"the loss is {loss:g} at epoch {epoch}{where}"


def _finite(tensor: Tensor) -> bool:
    return bool(tensor.isfinite().all())
