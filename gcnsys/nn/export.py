"""A trained model as plain layers of PyG or DGL: a module of its own and its weights, without gcnsys."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.nn.attention import Attention
from gcnsys.nn.counterparts import Layer, Library, counterpart, plain_linear, plain_norm
from gcnsys.nn.deep import GCNII, ResGCN
from gcnsys.nn.linear import Linear
from gcnsys.nn.model import Model
from gcnsys.nn.propagation import APPNP, SGC
from gcnsys.nn.relational import RGCNConv
from gcnsys.nn.stack import GNN

__all__ = ["Exported", "Library", "exported"]


@dataclass(frozen=True, slots=True)
class Exported:
    """A model of another library.

    Attributes:
        source: Python that defines it, and loads it from ``weights.safetensors`` beside that file.
        state: its weights.
    """

    source: str
    state: dict[str, Tensor] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Net:
    """What a module of another library consists of.

    Attributes:
        parts: its layers by name, or lists of them.
        forward: lines that make logits of ``x`` and the graph; a layer is called with ``{call}``.
        classes: the width of the logits.
        kinds: kinds of edges are an argument.
        undirected: only on undirected graphs it computes the same.
    """

    parts: Mapping[str, Layer | Sequence[Layer]]
    forward: str
    classes: int
    kinds: bool = False
    undirected: bool = False

    def layers(self) -> list[tuple[str, Layer]]:
        """All layers by their names in the module."""
        found = []
        for name, part in self.parts.items():
            if isinstance(part, Layer):
                found.append((name, part))
            else:
                found += [(f"{name}.{place}", layer) for place, layer in enumerate(part)]
        return found


def exported(model: Model, library: Library) -> Exported:
    """A model as one of another library's.

    Raises:
        InputError: there is no such model, or it has what the library does not.
    """
    for kind, convert in _NETS.items():
        if isinstance(model, kind):
            net = convert(model, library)
            state = {
                f"{path}.{name}": value.detach().contiguous().clone()
                for path, layer in net.layers()
                for name, value in layer.state.items()
            }
            return Exported(_source(net, library, next(model.parameters()).dtype), state)
    known = ", ".join(kind.__name__ for kind in _NETS)
    raise InputError(f"{type(model).__name__} cannot be exported; of this package's models, {known} can")


_STACK = """came = None
for place, layer in enumerate([*self.convs, *self.linears]):
    if place < len(self.convs):
        x = layer({call})
        {after}
    else:
        x = layer(x)
    if place == {last}:
        return x
    x = {activation}(self.norms[place](x) if self.norms else x)
    {residual}
    came = x
"""


def _stack(model: GNN, library: Library) -> Net:
    convs = [counterpart(conv, library) for conv in model.convs]
    linears = [plain_linear(linear) for linear in model.linears]
    after = [layer.after for layer in convs]
    last = [*model.convs, *model.linears][-1]
    forward = _STACK.replace("{last}", str(len(convs) + len(linears) - 1))
    forward = forward.replace("{activation}", "nn.functional.elu" if model.elu else "torch.relu")
    for place, line in {
        "{after}": f"x = {after[-1]} if place == {len(convs) - 1} else {after[0]}" * (set(after) != {"x"}),
        "{residual}": "x = x if came is None or came.shape != x.shape else x + came" * model.residual,
    }.items():
        forward = forward.replace(place, line)
    parts = {"convs": convs, "norms": [plain_norm(norm) for norm in model.norms], "linears": linears}
    average = isinstance(last, Attention) and last.average
    return Net(
        parts, forward, last.features if average else int(last.out_width),
        kinds=any(isinstance(conv, RGCNConv) for conv in model.convs),
        undirected=library == "dgl" and any(layer.loops for layer in convs),
    )  # fmt: skip


_RESGCN = """x = self.encoder(x)
for place, conv in enumerate(self.convs):
    came = x
    if place:
        x = torch.relu(self.norms[place - 1](x) if self.norms else x)
    x = conv({call}) + came if place else conv({call})
return self.output(torch.relu(self.norms[-1](x) if self.norms else x))
"""


def _resgcn(model: ResGCN, library: Library) -> Net:
    convs = [counterpart(conv, library) for conv in model.convs]
    return Net(_between(model.encoder, convs, model), _RESGCN, model.output.out_width)


_GCNII = """x = first = torch.relu(self.encoder(x))
for place, conv in enumerate(self.convs):
    x = conv({call})
    x = torch.relu(self.norms[place](x) if self.norms else x)
return self.output(x)
"""


def _gcnii(model: GCNII, library: Library) -> Net:
    convs = []
    for place, linear in enumerate(model.weights, 1):
        assert isinstance(linear, Linear)
        width = linear.out_width
        if library == "pyg":
            made = f"GCN2Conv({width}, {model.alpha!r}, {model.theta!r}, {place})"
        else:
            made = f"GCN2Conv({width}, {place}, {model.alpha!r}, {model.theta!r}, bias=False)"
        convs.append(Layer(made, {"weight1": linear.weight.t()}, loops=True, takes=("GCN2Conv",)))
    forward = _GCNII.replace("{call}", "x, first, edge_index" if library == "pyg" else "graph, x, first")
    return Net(_between(model.encoder, convs, model), forward, model.output.out_width)


def _between(encoder: Linear, convs: list[Layer], model: ResGCN | GCNII) -> dict[str, Layer | list[Layer]]:
    norms = [plain_norm(norm) for norm in model.norms]
    return {
        "encoder": plain_linear(encoder), "convs": convs, "norms": norms,
        "output": plain_linear(model.output),
    }  # fmt: skip


_APPNP = """for place, linear in enumerate(self.linears):
    x = linear(torch.relu(x) if place else x)
return self.spread({call})
"""


def _appnp(model: APPNP, library: Library) -> Net:
    if library == "pyg":
        _symmetric(model, library)
    name = "APPNP" if library == "pyg" else "APPNPConv"
    spread = Layer(f"{name}({model.num_hops}, {model.alpha!r})", {}, loops=True, takes=(name,))
    last = model.linears[-1]
    assert isinstance(last, Linear)
    linears = [plain_linear(linear) for linear in model.linears]
    # DGL's makes weights of its own in float32, whatever features are.
    call = "{call}" if library == "pyg" else "{call}, x.new_ones(graph.num_edges())"
    parts: dict[str, Layer | Sequence[Layer]] = {"linears": linears, "spread": spread}
    undirected = library == "dgl" and model.norm == "symmetric"
    return Net(parts, _APPNP.replace("{call}", call), last.out_width, undirected=undirected)


def _sgc(model: SGC, library: Library) -> Net:
    _symmetric(model, library)
    width_out, width_in = model.linear.weight.shape
    inner, hops = ("lin", "K") if library == "pyg" else ("fc", "k")
    made = f"SGConv({width_in}, {width_out}, {hops}={model.num_hops}, bias={model.linear.bias is not None})"
    state = {f"{inner}.{name}": value for name, value in plain_linear(model.linear).state.items()}
    conv = Layer(made, state, loops=True, takes=("SGConv",))
    return Net({"conv": conv}, "return self.conv({call})\n", width_out)


def _symmetric(model: APPNP | SGC, library: Library) -> None:
    if model.norm != "symmetric":
        name = type(model).__name__
        raise InputError(f"{name} of gcn_norm = {model.norm} has no counterpart in {library}; use symmetric")


_NETS: dict[type[Model], Callable[..., Net]] = {
    GNN: _stack, ResGCN: _resgcn, GCNII: _gcnii, APPNP: _appnp, SGC: _sgc,
}  # fmt: skip


_SOURCE = '''"""A model trained by gcnsys, as plain layers of {name}; for graphs without edge weights{more}.

    net = load()
    rows = net({arguments})
"""

from pathlib import Path

import torch
{imports}
from safetensors.torch import load_file
from torch import nn


class Net(nn.Module):
    """Takes {takes} and gives [N, {classes}]."""

    def __init__(self):
        super().__init__()
{made}

    def forward(self, {arguments}):
{forward}

def load():
    """The trained model, in evaluation mode."""
    net = Net().to({dtype})
    net.load_state_dict(load_file(Path(__file__).with_name("weights.safetensors")))
    return net.eval()
'''


def _source(net: Net, library: Library, dtype: torch.dtype) -> str:
    layers = [layer for _, layer in net.layers()]
    names = ", ".join(sorted({name for layer in layers for name in layer.takes}))
    if library == "pyg":
        arguments, takes = "x, edge_index", "features [N, F] and pairs (source, destination) [2, E]"
        imports = f"from torch_geometric.nn import {names}"
    else:
        arguments, takes = "graph, x", "a graph and features [N, F]"
        imports = f"import dgl\nfrom dgl.nn.pytorch import {names}"
    if net.kinds:
        arguments, takes = f"{arguments}, edge_type", f"{takes}, kinds of edges [E],"
    lines = net.forward.replace("{call}", arguments).splitlines()
    if library == "dgl" and any(layer.loops for layer in layers):
        lines.insert(0, "graph = dgl.add_self_loop(dgl.remove_self_loop(graph))")
    return _SOURCE.format(
        name="PyG" if library == "pyg" else "DGL", more=", undirected" if net.undirected else "",
        arguments=arguments, imports=imports, takes=takes, classes=net.classes, dtype=dtype,
        made="\n".join(_made(name, part) for name, part in net.parts.items()),
        forward="".join(f"        {line}\n" for line in lines if line.strip()),
    )  # fmt: skip


def _made(name: str, part: Layer | Sequence[Layer]) -> str:
    if isinstance(part, Layer):
        return f"        self.{name} = {part.made}"
    inner = "".join(f"\n            {layer.made}," for layer in part)
    return f"        self.{name} = nn.ModuleList([{inner}{chr(10) + '        ' if inner else ''}])"
