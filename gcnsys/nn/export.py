"""A trained stack as plain layers of PyG or DGL: a module of its own and its weights, without gcnsys.

Biases and heads lie elsewhere in the other libraries; what is written computes the same in evaluation.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.nn.attention import Attention, GATConv, GATv2Conv
from gcnsys.nn.conv import GCNConv, GINConv, SAGEConv
from gcnsys.nn.linear import Linear
from gcnsys.nn.model import Model
from gcnsys.nn.norm import BatchNorm
from gcnsys.nn.relational import RGCNConv
from gcnsys.nn.stack import GNN

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


@dataclass(frozen=True, slots=True)
class Exported:
    """A model of another library.

    Attributes:
        source: Python that defines it, and loads it from ``weights.safetensors`` beside that file.
        state: its weights.
    """

    source: str
    state: dict[str, Tensor] = field(repr=False)


def exported(model: Model, library: Library) -> Exported:
    """A stack of this package's convolutions as one of another library's.

    Raises:
        InputError: it is another model, or has what the library does not.
    """
    if not isinstance(model, GNN):
        raise InputError(f"{type(model).__name__} cannot be exported yet; stacks of convolutions can")
    convs = [_converted(conv, library) for conv in model.convs]
    linears = [_linear(linear) for linear in model.linears]
    norms = [_norm(norm) for norm in model.norms]
    state = {
        f"{group}.{place}.{name}": value.detach().contiguous().clone()
        for group, layers in (("convs", convs), ("norms", norms), ("linears", linears))
        for place, layer in enumerate(layers)
        for name, value in layer.state.items()
    }
    return Exported(_source(model, library, convs, norms, linears), state)


def _converted(conv: torch.nn.Module, library: Library) -> Layer:
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
        RGCNConv: _pyg_rgcn,
    },
    "dgl": {
        GCNConv: _dgl_gcn, SAGEConv: _dgl_sage, GINConv: _dgl_gin, GATConv: _dgl_gat, GATv2Conv: _dgl_gatv2,
    },
}  # fmt: skip


def _linear(linear: torch.nn.Module) -> Layer:
    assert isinstance(linear, Linear)
    width_out, width_in = linear.weight.shape
    made = f"nn.Linear({width_in}, {width_out}, bias={linear.bias is not None})"
    return Layer(made, {"weight": linear.weight, **_biased("bias", linear.bias)})


def _norm(norm: torch.nn.Module) -> Layer:
    kind = "BatchNorm1d" if isinstance(norm, BatchNorm) else "LayerNorm"
    state = dict(norm.state_dict())
    if isinstance(norm, BatchNorm):
        state["num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
    width = state["weight"].numel()
    return Layer(f"nn.{kind}({width}, eps={norm.eps})", state)


_SOURCE = '''"""A model trained by gcnsys, as plain layers of {name}; for graphs without edge weights{more}.

    net = load()
    logits = net({arguments})
"""

from pathlib import Path

import torch
{imports}
from safetensors.torch import load_file
from torch import nn


class Net(nn.Module):
    """Takes {takes} and gives logits [N, {classes}]."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([
            {convs},
        ])
        self.norms = nn.ModuleList([{norms}])
        self.linears = nn.ModuleList([{linears}])

    def forward(self, {arguments}):
{prepared}        came, last = None, {last}
        for place, layer in enumerate([*self.convs, *self.linears]):
            if place < len(self.convs):
                x = layer({call})
{after}            else:
                x = layer(x)
            if place == last:
                return x
            x = torch.{activation}(self.norms[place](x) if self.norms else x)
{residual}

def load():
    """The trained model, in evaluation mode."""
    net = Net().to({dtype})
    net.load_state_dict(load_file(Path(__file__).with_name("weights.safetensors")))
    return net.eval()
'''


def _source(
    model: GNN, library: Library, convs: list[Layer], norms: list[Layer], linears: list[Layer]
) -> str:
    names = sorted({name for layer in convs for name in layer.takes})
    loops = any(layer.loops for layer in convs)
    pyg = library == "pyg"
    arguments = "x, edge_index" if pyg else "graph, x"
    takes = "features [N, F] and pairs (source, destination) [2, E]" if pyg else "a graph and features [N, F]"
    if any(isinstance(conv, RGCNConv) for conv in model.convs):
        arguments, takes = f"{arguments}, edge_type", f"{takes}, kinds of edges [E],"
    imports = f"from torch_geometric.nn import {', '.join(names)}"
    if not pyg:
        imports = f"import dgl\nfrom dgl.nn.pytorch import {', '.join(names)}"
    after = [layer.after for layer in convs]
    changed = ""
    if set(after) != {"x"}:
        changed = f"                x = {after[-1]} if place == {len(convs) - 1} else {after[0]}\n"
    residual = ""
    if model.residual:
        residual = (
            "            x = x if came is None or came.shape != x.shape else x + came\n            came = x\n"
        )
    loops_made = "        graph = dgl.add_self_loop(dgl.remove_self_loop(graph))\n"
    return _SOURCE.format(
        name="PyG" if pyg else "DGL", imports=imports, classes=_num_classes(model),
        more="" if pyg or not loops else ", undirected",
        arguments=arguments,
        takes=takes, dtype=next(model.parameters()).dtype,
        convs=",\n            ".join(layer.made for layer in convs),
        norms=", ".join(layer.made for layer in norms), linears=", ".join(layer.made for layer in linears),
        prepared=loops_made if loops and not pyg else "",
        last=len(convs) + len(linears) - 1, call=arguments, after=changed,
        activation="nn.functional.elu" if model.elu else "relu", residual=residual,
    )  # fmt: skip


def _num_classes(model: GNN) -> int:
    last = [*model.convs, *model.linears][-1]
    assert isinstance(last, GCNConv | SAGEConv | GINConv | Attention | RGCNConv | Linear)
    return last.features if isinstance(last, Attention) and last.average else last.out_width
