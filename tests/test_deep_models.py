"""Deep models and propagations train as modules of PyG and DGL do that hold the same weights."""

import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from layers import NODES, PARTS, dgl_graph, graph_of, needed, normal, ours, theirs
from oracle import Outcome
from small import NUM_CLASSES, NUM_FEATURES, assigned, deviations, perturbed, small, trained_model
from torch import nn
from torch.nn import functional as F

from gcnsys.errors import InputError
from gcnsys.kernels import LocalBlock
from gcnsys.nn import GENConv, ModelSettings, build_model
from gcnsys.runtime.choices import Choices

HIDDEN, LAYERS, STEPS = 6, 4, 20

CASES = {
    "resgcn-softmax-batch": ModelSettings("resgcn", LAYERS, HIDDEN, dropout=0.0, temperature=0.75),
    "resgcn-mean-layer": ModelSettings(
        "resgcn", LAYERS, HIDDEN, dropout=0.0, aggregation="mean", norm="layer"
    ),
    "resgcn-softmax-none": ModelSettings(
        "resgcn", LAYERS, HIDDEN, dropout=0.0, norm="none", temperature=0.125
    ),
    "gcnii": ModelSettings("gcnii", LAYERS, HIDDEN, dropout=0.0, alpha=0.2, theta=0.9),
    "gcnii-layer": ModelSettings("gcnii", LAYERS, HIDDEN, dropout=0.0, norm="layer"),
    "appnp": ModelSettings("appnp", 2, HIDDEN, dropout=0.0, hops=5, alpha=0.3),
    "sgc": ModelSettings("sgc", dropout=0.0, hops=3),
}


class TheirNet(nn.Module):
    """The same model of torch's and PyG's modules, with our weights under our names."""

    def __init__(self, settings, source):
        super().__init__()
        self.settings, kind = settings, settings.name
        pyg, hidden = needed("torch_geometric.nn"), settings.hidden
        norm = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}.get(settings.norm_name)
        count = settings.layers
        if kind in ("resgcn", "gcnii"):
            self.encoder, self.output = nn.Linear(NUM_FEATURES, hidden), nn.Linear(hidden, NUM_CLASSES)
            self.norms = nn.ModuleList(norm(hidden) for _ in range(count) if norm)
        if kind == "resgcn":
            bias = settings.norm_name != "batch"
            self.convs = nn.ModuleList(
                pyg.GENConv(
                    hidden, hidden, aggr=settings.aggregation, t=settings.temperature, num_layers=1, bias=bias
                )
                for _ in range(count)
            )
        if kind == "gcnii":
            self.convs = nn.ModuleList(
                pyg.GCN2Conv(hidden, settings.alpha, settings.theta, layer=place + 1)
                for place in range(count)
            )
        if kind == "appnp":
            self.linears = nn.ModuleList([nn.Linear(NUM_FEATURES, hidden), nn.Linear(hidden, NUM_CLASSES)])
            self.spread = pyg.APPNP(settings.hops, settings.alpha)
        if kind == "sgc":
            self.conv = pyg.SGConv(NUM_FEATURES, NUM_CLASSES, K=settings.hops)
        self.double()
        with torch.no_grad():
            for name, value in source.double().named_parameters():
                theirs = self.get_parameter(their_name(name))
                theirs.copy_(value.T if name.startswith("weights.") else value)

    def forward(self, x, edges, weight):
        settings, activated = self.settings, list(getattr(self, "norms", ())) or [nn.Identity()] * 99
        if settings.name == "resgcn":
            h = self.convs[0](self.encoder(x), edges)
            for conv, norm in zip(list(self.convs)[1:], activated, strict=False):
                block = needed("torch_geometric.nn").DeepGCNLayer(conv, norm, nn.ReLU(), block="res+")
                h = block(h, edges)
            return self.output(activated[settings.layers - 1](h).relu())
        if settings.name == "gcnii":
            first = h = self.encoder(x).relu()
            for conv, norm in zip(self.convs, activated, strict=False):
                h = norm(conv(h, first, edges, weight)).relu()
            return self.output(h)
        if settings.name == "appnp":
            return self.spread(self.linears[1](self.linears[0](x).relu()), edges, weight)
        return self.conv(x, edges, weight)


def their_name(name):
    if name.startswith("weights."):
        return f"convs.{name.split('.')[1]}.weight1"
    if name.startswith("linear."):
        return name.replace("linear.", "conv.lin.")
    if ".linears.0." in name:
        return name.replace(".linears.0.", ".mlp.0.")
    return name


def their_training(settings, made):
    """Plain full-graph training."""
    net, data = TheirNet(settings, perturbed(settings)), made.dataset
    weight = data.graph.weight
    call = partial(
        net, made.x.double(), data.graph.edge_index().long(), weight if weight is None else weight.double()
    )
    optimizer, losses = torch.optim.Adam(net.parameters(), lr=0.01), []
    for _ in range(STEPS):
        net.train()
        loss = F.cross_entropy(call()[data.train_mask], data.y[data.train_mask])
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    # In the order of our parameters.
    gradients = []
    for name, _ in perturbed(settings).named_parameters():
        grad = net.get_parameter(their_name(name)).grad
        gradients.append((grad.T if name.startswith("weights.") else grad).flatten())
    net.eval()
    return Outcome(torch.tensor(losses, dtype=torch.float64), [torch.cat(gradients)], call().detach())


@pytest.mark.parametrize("num_parts", [1, 2, 3])
@pytest.mark.parametrize("case", CASES)
def test_twenty_steps_are_those_of_pyg(case, num_parts):
    settings = CASES[case]
    weighted = settings.name != "resgcn"  # PyG's GENConv knows no weights
    made = small("weighted-undirected" if weighted else "directed")
    exact = their_training(settings, made)
    mine = trained_model(
        lambda: perturbed(settings), made, assigned(made, "random", num_parts), num_parts, epochs=STEPS
    )
    assert float(exact.losses[-1]) < 0.97 * float(exact.losses[0])
    for what, deviation in deviations(mine, exact).items():
        assert deviation < 1e-9, (what, deviation)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_with_dropout_any_number_of_parts_gives_the_same(case, recompute):
    settings = replace(CASES[case], dropout=0.4, recompute=recompute)
    made, found = small("undirected"), []
    for num_parts, name in ((1, "random"), (3, "corners"), (4, "empty-rank")):
        made_of = assigned(made, name, num_parts)
        found.append(trained_model(lambda: perturbed(settings), made, made_of, num_parts, epochs=5))
    assert not torch.equal(found[0].losses, trained_model(
        lambda: perturbed(CASES[case]), made, assigned(made, "random", 1), 1, epochs=5
    ).losses)  # fmt: skip
    for other in found[1:]:
        for what, deviation in deviations(other, found[0]).items():
            assert deviation < 1e-10, (what, deviation)


@pytest.mark.parametrize("choices", [
    Choices(rows="uniform", rate=0.5), Choices(schedule="pipeline", smoothing="both"),
    Choices(schedule="pipeline", rows="uniform", rate=0.5, codec="int8"), Choices(schedule="overlap"),
])  # fmt: skip
@pytest.mark.parametrize(("case", "recompute"), [
    ("resgcn-softmax-batch", False), ("resgcn-softmax-batch", True), ("gcnii", True), ("appnp", False),
    ("sgc", False),
])  # fmt: skip
def test_they_learn_however_rows_cross(case, choices, recompute):
    settings = replace(CASES[case], recompute=recompute)
    made = small("undirected")
    found = trained_model(
        lambda: perturbed(settings), made, assigned(made, "random", 3), 3, epochs=12, choices=choices
    )
    assert bool(found.losses.isfinite().all())
    assert float(found.losses[-1]) < float(found.losses[0])


@PARTS
@pytest.mark.parametrize("mlp_layers", [1, 2, 3])
@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
@pytest.mark.parametrize(("aggregation", "width_in"), [("softmax", 5), ("mean", 5), ("softmax", 3)])
def test_genconv_is_that_of_pyg(num_parts, aggregation, width_in, norm, mlp_layers):
    pyg = needed("torch_geometric.nn")
    graph, x = graph_of(), normal(0, NODES, width_in)

    def make():
        return GENConv(
            width_in, 5, aggregation=aggregation, temperature=0.625, mlp_layers=mlp_layers, norm=norm
        )

    names = {}
    if width_in != 5:
        names |= {f"{a}.{end}": f"{b}.{end}" for end in ("weight", "bias")
                  for a, b in (("lin_src", "neighbours"), ("lin_dst", "own"))}  # fmt: skip
    step = 1 if mlp_layers == 1 else (3 if norm == "none" else 4)
    for place in range(mlp_layers):
        last = place == mlp_layers - 1
        names[f"mlp.{place * step}.weight"] = f"linears.{place}.weight"
        if last or norm != "batch":
            names[f"mlp.{place * step}.bias"] = f"linears.{place}.bias"
        if not last and norm != "none":
            for end in ("weight", "bias"):
                names[f"mlp.{place * step + 1}.{end}"] = f"norms.{place}.{end}"
    their_layer = pyg.GENConv(
        width_in, 5, aggr=aggregation, t=0.625, num_layers=mlp_layers, bias=True,
        norm=None if norm == "none" else norm,
    )  # fmt: skip
    if norm == "batch":  # a bias that batch norm takes away again, which ours does without
        for place in range(mlp_layers - 1):
            their_layer.mlp[place * step].bias = None
    exact = theirs(their_layer, make, names, x, lambda layer, x: layer(x, graph.edge_index().long()))
    ours(make, graph, x, num_parts).assert_equals(exact)


@PARTS
@pytest.mark.parametrize("kind", ["appnp", "sgc", "gcnii"])
def test_propagation_is_that_of_dgl(num_parts, kind):
    layers = needed("dgl.nn.pytorch")
    graph, x = graph_of(directed=False), normal(0, NODES, 5)
    their_graph, _ = dgl_graph(graph, loops_added=True)
    if kind == "sgc":
        theirs_made, names = (
            layers.SGConv(5, 5, k=3),
            {"fc.weight": "linear.weight", "fc.bias": "linear.bias"},
        )
        call, settings = (lambda layer, x: layer(their_graph, x)), ModelSettings("sgc", dropout=0.0, hops=3)
    elif kind == "appnp":
        theirs_made, names = nn.Module(), {"w": "linears.0.weight", "b": "linears.0.bias"}
        theirs_made.w, theirs_made.b = nn.Parameter(torch.empty(5, 5)), nn.Parameter(torch.empty(5))
        spread = layers.APPNPConv(4, 0.3)

        def call(layer, x):
            weight = torch.ones(their_graph.num_edges(), dtype=x.dtype)
            return spread(their_graph, F.linear(x, layer.w, layer.b), edge_weight=weight)

        settings = ModelSettings("appnp", 1, 5, dropout=0.0, hops=4, alpha=0.3)
    else:
        convs = [layers.GCN2Conv(5, place + 1, alpha=0.3, lambda_=0.8, bias=False) for place in range(2)]
        theirs_made = nn.Module()
        theirs_made.enter, theirs_made.leave = nn.Linear(5, 5), nn.Linear(5, 5)
        theirs_made.convs = nn.ModuleList(convs)
        names = {f"{a}.{end}": f"{b}.{end}" for end in ("weight", "bias")
                 for a, b in (("enter", "encoder"), ("leave", "output"))}  # fmt: skip
        names |= {f"convs.{place}.weight1": f"weights.{place}.weight.T" for place in range(2)}

        def call(layer, x):
            first = h = layer.enter(x).relu()
            for conv in layer.convs:
                h = conv(their_graph, h, first).relu()
            return layer.leave(h)

        settings = ModelSettings("gcnii", 2, 5, dropout=0.0, alpha=0.3, theta=0.8)

    class Alone(nn.Module):
        """A model on one block, as the helper calls a layer."""

        def __init__(self):
            super().__init__()
            self.model = build_model(settings, 5, 5, seed=0)

        def forward(self, block, x):
            return self.model([block] * self.model.num_blocks, x)

    names = {name: f"model.{own}" for name, own in names.items()}
    exact = theirs(theirs_made, Alone, names, x, call)
    ours(Alone, graph, x, num_parts).assert_equals(exact)


def test_what_is_precomputed_of_sgc_is_all_of_it():
    settings, made = CASES["sgc"], small("weighted")
    first = trained_model(lambda: perturbed(settings), made, assigned(made, "random", 1), 1, epochs=5)
    for num_parts in (1, 3):
        ready = trained_model(
            lambda: perturbed(settings), made, assigned(made, "random", num_parts), num_parts, epochs=5,
            first_hop="on",
        )  # fmt: skip
        for what, deviation in deviations(ready, first).items():
            assert deviation < 1e-10, (what, deviation)


def kept_bytes(layers, *, recompute):
    """What a model keeps from forward to backward, weights aside."""
    graph = graph_of()
    model = build_model(ModelSettings("resgcn", layers, 64, recompute=recompute), 8, 3, seed=0).train()
    own = {value.data_ptr() for value in (*model.parameters(), *model.buffers())}
    saved = {}

    def keep(tensor):
        if tensor.data_ptr() not in own:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    block = LocalBlock.from_graph(graph)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = model([block] * layers, torch.randn(NODES, 8))
    assert out.shape == (NODES, 3)
    return sum(saved.values())


def test_a_further_layer_keeps_little_more_than_its_input():
    matrix = NODES * 64 * 4
    plain, again = (
        (kept_bytes(12, recompute=recompute) - kept_bytes(4, recompute=recompute)) / 8 / matrix
        for recompute in (False, True)
    )
    assert again <= 1.3 < plain


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"name": "resgcn", "layers": 3, "linear_layers": 1}, "linear_layers = 1 has no meaning in resgcn"),
        ({"name": "gcnii", "layers": 3, "linear_layers": 1}, "linear_layers = 1 has no meaning in gcnii"),
        ({"name": "appnp", "alpha": 0.0}, r"alpha must be in \(0, 1\], got 0.0"),
        ({"name": "sgc", "hops": 0}, "hops must be at least 1, got 0"),
    ],
)
def test_a_shape_they_cannot_have_is_refused(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        build_model(ModelSettings(**settings), 5, 3, seed=0)


def test_a_generalized_convolution_has_at_least_one_linear_layer():
    with pytest.raises(InputError, match="mlp_layers must be at least 1, got 0"):
        GENConv(3, 3, mlp_layers=0)


PEAK = """
import sys, torch
from gcnsys.graph import Graph
from gcnsys.kernels import LocalBlock
from gcnsys.kernels.memory import as_training_has_it, give_back_large_memory
from gcnsys.nn import ModelSettings, build_model

if sys.argv[2] == "arena":
    as_training_has_it(recompute=True)
else:
    give_back_large_memory()
layers = int(sys.argv[1])
graph = Graph.from_edge_index(torch.randint(20_000, (2, 60_000)), num_nodes=20_000)
model = build_model(ModelSettings("resgcn", layers, 128, recompute=True), 8, 3, seed=0).train()
blocks, x = [LocalBlock.from_graph(graph)] * layers, torch.randn(20_000, 8)
for _ in range(2):
    model(blocks, x).sum().backward()
with torch.no_grad():
    model.eval()(blocks, x)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.processes
@pytest.mark.parametrize("memory", ["arena", "heap"])
def test_the_peak_of_a_process_grows_by_little_more_than_what_is_kept(memory):
    if not Path("/proc/self/status").exists():
        pytest.skip("there is no /proc to read peaks from")
    peaks = []
    for layers in (4, 20):
        command = [sys.executable, "-c", PEAK, str(layers), memory]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) * 1024)
    assert (peaks[1] - peaks[0]) / 16 / (20_000 * 128 * 4) < 1.6
