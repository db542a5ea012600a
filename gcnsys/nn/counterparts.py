"""Layers of this package as layers of PyG, DGL and torch that compute the same in evaluation.

Biases and heads lie elsewhere in the other libraries.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from gcnsys.errors import InputError
from gcnsys.nn.attention import Attention, GATConv, GATv2Conv
from gcnsys.nn.conv import GCNConv, GINConv, SAGEConv
from gcnsys.nn.gen import GENConv
from gcnsys.nn.linear import Linear
from gcnsys.nn.norm import BatchNorm, LayerNorm
from gcnsys.nn.relational import RGCNConv

Library = Literal["pyg", "dgl"]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of another library.

    Attributes:
        made: the expression that makes it.
        state: its weights, under its names.
        after: what becomes of its result ``x``, as an expression.
        loops: it wants a loop at every node, which DGL leaves to the caller.
        takes: of the library's names, those that ``made`` needs.
    """

    made: str
    state: dict[str, Tensor]
    after: str = "x"
    loops: bool = False
    takes: tuple[str, ...] = ()


def counterpart(conv: nn.Module, library: Library) -> Layer:
    """A convolution as one of another library's.

    Raises:
        InputError: it has none like it.
    """
    for kind, convert in _CONVERTERS[library].items():
        if type(conv) is kind:
            return convert(conv)
    raise InputError(f"{type(conv).__name__} has no counterpart in {library} that this exports to")


def _named(prefix: str, linear: Linear) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {f"{prefix}.weight": linear.weight}
    return found if linear.bias is None else found | {f"{prefix}.bias": linear.bias}


def _biased(name: str, bias: Tensor | None) -> dict[str, Tensor]:
    return {} if bias is None else {name: bias}


def _pyg_gcn(conv: GCNConv) -> Layer:
    if conv.norm != "symmetric":
        raise InputError("PyG's GCNConv has no gcn_norm = out-in; train with symmetric, or export to dgl")
    made = f"GCNConv({conv.in_features}, {conv.out_width}, bias={conv.linear.bias is not None})"
    state = {"lin.weight": conv.linear.weight, **_biased("bias", conv.linear.bias)}
    return Layer(made, state, takes=("GCNConv",))


def _pyg_sage(conv: SAGEConv) -> Layer:
    made = f"SAGEConv({conv.in_features}, {conv.out_width}, bias={conv.neighbours.bias is not None})"
    state = {**_named("lin_l", conv.neighbours), "lin_r.weight": conv.own.weight}
    return Layer(made, state, takes=("SAGEConv",))


def _gin_parts(conv: GINConv) -> tuple[str, dict[str, Tensor]]:
    width_in, width = conv.in_features, conv.out_width
    bias = conv.output.bias is not None
    made = (
        f"nn.Sequential(nn.Linear({width_in}, {width}), nn.ReLU(), nn.Linear({width}, {width}, bias={bias}))"
    )
    return made, {**_named("0", conv.hidden), **_named("2", conv.output)}


def _pyg_gin(conv: GINConv) -> Layer:
    made, state = _gin_parts(conv)
    inner = {f"nn.{name}": value for name, value in state.items()}
    return Layer(f"GINConv({made}, train_eps=True)", {"eps": conv.eps, **inner}, takes=("GINConv",))


def _pyg_rgcn(conv: RGCNConv) -> Layer:
    bases = None if conv.shares is None else conv.bases.shape[0]
    made = (
        f"RGCNConv({conv.in_features}, {conv.out_width}, {conv.num_kinds}, num_bases={bases}, "
        f"bias={conv.own.bias is not None})"
    )
    state = {"weight": conv.bases, "root": conv.own.weight.t(), **_biased("bias", conv.own.bias)}
    if conv.shares is not None:
        state["comp"] = conv.shares
    return Layer(made, state, takes=("RGCNConv",))


def _pyg_gen(conv: GENConv) -> Layer:
    last = conv.linears[-1]
    assert isinstance(last, Linear)
    width_out, count = conv.out_width, len(conv.linears)
    width_in = width_out if conv.own is None else conv.own.weight.shape[1]
    norms = {BatchNorm: "batch", LayerNorm: "layer"}
    norm = norms[type(conv.norms[0])] if conv.norms else None
    if count > 1 and norm is None:
        raise InputError("PyG's GENConv has no MLP without norms; export one of norm = batch or layer")
    learnt = isinstance(conv.temperature, nn.Parameter)
    made = (
        f'GENConv({width_in}, {width_out}, aggr="{conv.aggregation}", t={conv.temperature.item()!r}, '
        f"learn_t={learnt}, num_layers={count}, norm={norm or 'batch'!r}, eps={conv.eps!r}, "
        f"bias={last.bias is not None})"
    )
    state = {"aggr_module.t": conv.temperature.reshape(1)} if learnt and conv.aggregation == "softmax" else {}
    for name, linear in (("lin_src", conv.neighbours), ("lin_dst", conv.own)):
        if linear is not None:
            state |= _named(name, linear)
    # In PyG's MLP a norm, ReLU and dropout follow each linear layer but the last.
    for place, inner in enumerate(conv.linears):
        assert isinstance(inner, Linear)
        state |= _named(f"mlp.{4 * place}", inner)
        if last.bias is not None and inner.bias is None:
            state[f"mlp.{4 * place}.bias"] = torch.zeros_like(inner.weight[:, 0])
    for place, module in enumerate(conv.norms):
        state |= {f"mlp.{4 * place + 1}.{name}": value for name, value in plain_norm(module).state.items()}
    return Layer(made, state, takes=("GENConv",))


def _pyg_attention(conv: Attention, name: str, state: dict[str, Tensor]) -> Layer:
    made = (
        f"{name}({conv.in_features}, {conv.features}, heads={conv.heads}, concat={not conv.average}, "
        f"negative_slope={conv.slope}, bias={conv.bias is not None})"
    )
    return Layer(made, {**state, **_biased("bias", conv.bias)}, takes=(name,))


def _pyg_gat(conv: GATConv) -> Layer:
    state = {"lin.weight": conv.linear.weight, "att_src": conv.neighbours[None], "att_dst": conv.own[None]}
    return _pyg_attention(conv, "GATConv", state)


def _pyg_gatv2(conv: GATv2Conv) -> Layer:
    state = {**_named("lin_l", conv.neighbours), **_named("lin_r", conv.own), "att": conv.vector[None]}
    return _pyg_attention(conv, "GATv2Conv", state)


def _dgl_gcn(conv: GCNConv) -> Layer:
    made = f"GraphConv({conv.in_features}, {conv.out_width}, bias={conv.linear.bias is not None})"
    state = {"weight": conv.linear.weight.t(), **_biased("bias", conv.linear.bias)}
    return Layer(made, state, loops=True, takes=("GraphConv",))


def _dgl_sage(conv: SAGEConv) -> Layer:
    bias = conv.neighbours.bias
    made = f'SAGEConv({conv.in_features}, {conv.out_width}, "mean", bias={bias is not None})'
    state = {"fc_neigh.weight": conv.neighbours.weight, "fc_self.weight": conv.own.weight}
    return Layer(made, {**state, **_biased("fc_self.bias", bias)}, takes=("SAGEConv",))


def _dgl_gin(conv: GINConv) -> Layer:
    made, state = _gin_parts(conv)
    inner = {f"apply_func.{name}": value for name, value in state.items()}
    return Layer(
        f'GINConv({made}, "sum", learn_eps=True)', {"eps": conv.eps, **inner}, takes=("GINConv",)
    )  # fmt: skip


def _dgl_attention(conv: Attention, name: str, state: dict[str, Tensor], bias: bool) -> Layer:
    made = (
        f"{name}({conv.in_features}, {conv.features}, {conv.heads}, negative_slope={conv.slope}, bias={bias})"
    )
    return Layer(made, state, "x.mean(1)" if conv.average else "x.flatten(1)", loops=True, takes=(name,))


def _for_heads(conv: Attention) -> Tensor:
    """The bias of every head's features; the mean of equal ones is what it was."""
    bias = conv.bias
    width = conv.out_width
    if bias is None:
        return next(conv.parameters()).new_zeros(width)
    return bias.repeat(conv.heads) if conv.average else bias


def _dgl_gat(conv: GATConv) -> Layer:
    state = {"fc.weight": conv.linear.weight, "attn_l": conv.neighbours[None], "attn_r": conv.own[None]}
    return _dgl_attention(conv, "GATConv", {**state, "bias": _for_heads(conv)}, bias=True)


def _dgl_gatv2(conv: GATv2Conv) -> Layer:
    # DGL's has no bias of the result: one in what is summed comes to the same, taken back in the logits.
    shift = _for_heads(conv)
    inner = [
        linear.bias if linear.bias is not None else torch.zeros_like(shift)
        for linear in (conv.neighbours, conv.own)
    ]
    state = {
        "fc_src.weight": conv.neighbours.weight, "fc_src.bias": inner[0] + shift,
        "fc_dst.weight": conv.own.weight, "fc_dst.bias": inner[1] - shift, "attn": conv.vector[None],
    }  # fmt: skip
    return _dgl_attention(conv, "GATv2Conv", state, bias=True)


_CONVERTERS: dict[str, dict[type, Callable[..., Layer]]] = {
    "pyg": {
        GCNConv: _pyg_gcn, SAGEConv: _pyg_sage, GINConv: _pyg_gin, GATConv: _pyg_gat, GATv2Conv: _pyg_gatv2,
        RGCNConv: _pyg_rgcn, GENConv: _pyg_gen,
    },
    "dgl": {
        GCNConv: _dgl_gcn, SAGEConv: _dgl_sage, GINConv: _dgl_gin, GATConv: _dgl_gat, GATv2Conv: _dgl_gatv2,
    },
}  # fmt: skip


def plain_linear(linear: nn.Module) -> Layer:
    """A linear layer as torch's."""
    assert isinstance(linear, Linear)
    width_out, width_in = linear.weight.shape
    made = f"nn.Linear({width_in}, {width_out}, bias={linear.bias is not None})"
    return Layer(made, {"weight": linear.weight, **_biased("bias", linear.bias)})


def plain_norm(norm: nn.Module) -> Layer:
    """A norm as torch's."""
    kind = "BatchNorm1d" if isinstance(norm, BatchNorm) else "LayerNorm"
    state = dict(norm.state_dict())
    if isinstance(norm, BatchNorm):
        state["num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
    width = state["weight"].numel()
    return Layer(f"nn.{kind}({width}, eps={norm.eps})", state)
