"""Rows in bfloat16, weights and sums in float32: near the same training, half the bytes."""

import pytest
import torch
from covering import covering, name_of
from small import NUM_CLASSES, NUM_FEATURES, assigned, small, trained_model

from gcnsys.datasets.spec import load
from gcnsys.errors import InputError
from gcnsys.kernels import DropoutKey, DroppedRows, Mask, SparseRows, half
from gcnsys.kernels.half import half_product
from gcnsys.nn import ModelSettings, build_model
from gcnsys.partition import Cutting, Partitioning, build
from gcnsys.runtime import Placement
from gcnsys.runtime.choices import Choices
from gcnsys.runtime.smoothing import Running
from gcnsys.testing.ranks import run_ranks
from gcnsys.train import RunConfig
from gcnsys.train.run import run_part

CPU = Placement(torch.device("cpu"), "gloo")
HALF = torch.bfloat16

CASES = covering({
    "model": ["gcn", "sage", "gin", "gat", "gatv2", "resgcn", "gcnii", "appnp", "sgc"],
    "norm": ["none", "layer", "batch"], "first_hop": ["on", "off"], "recompute": [False, True],
    "sparse": [False, True], "parts": [1, 3], "dropout": [0.0, 0.5],
    "rows": ["all", "uniform"], "schedule": ["sync", "overlap", "pipeline"], "codec": ["fp32", "int8"],
})  # fmt: skip


def choices_of(case):
    smoothing = "both" if case["schedule"] == "pipeline" else "off"
    rate = 0.5 if case["rows"] == "uniform" else 1.0
    return Choices(
        rows=case["rows"], rate=rate, schedule=case["schedule"], codec=case["codec"], smoothing=smoothing
    )


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_every_choice_trains_near_what_single_precision_does(case):
    made = small("undirected", sparse=case["sparse"])
    summing = case["model"] in ("gcn", "sage", "gin", "sgc")
    settings = ModelSettings(
        case["model"], 3, 8, norm=case["norm"], dropout=case["dropout"], recompute=case["recompute"], heads=2,
        hops=3,
    )  # fmt: skip
    found = {}
    for dtype in (torch.float32, HALF):
        found[dtype] = trained_model(
            lambda: build_model(settings, NUM_FEATURES, NUM_CLASSES, seed=1), made,
            assigned(made, "random", case["parts"]), case["parts"], epochs=4, dtype=dtype,
            weights=torch.float32,
            first_hop=case["first_hop"] if summing and not case["sparse"] else "off",
            choices=choices_of(case),
        )  # fmt: skip
    mine, exact = found[HALF], found[torch.float32]
    assert mine.gradients[0].dtype == torch.float32
    assert float((mine.losses - exact.losses).abs().max()) < 0.05 * float(exact.losses.max())


def digits(home, parts=2):
    if not (home / "cut").exists():
        build(load("digits"), Cutting(parts, "random"), home / "cut")
    return Partitioning.open(home / "cut")


def summary_of(home, **settings):
    partitioning = digits(home)
    config = RunConfig(data=str(home / "cut"), hidden=32, epochs=30, first_hop="off", prune="off", **settings)
    return run_ranks(2, lambda comm: run_part(partitioning, config, comm, CPU))[0]


def test_half_the_bytes_cross_and_the_same_is_learnt(tmp_path):
    full, half = (summary_of(tmp_path, precision=precision) for precision in ("full", "bf16"))
    assert half["halo_bytes_sent_per_epoch"] == [count / 2 for count in full["halo_bytes_sent_per_epoch"]]
    assert half["reduce_bytes_sent_per_epoch"] == full["reduce_bytes_sent_per_epoch"]
    assert abs(half["test_acc_at_best_val"] - full["test_acc_at_best_val"]) < 0.015
    assert half["test_acc_at_best_val"] > 0.95


@pytest.mark.parametrize("method", ["vanilla", "pipegcn-gf"])
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(tmp_path, method):
    from test_resume import run, setting, stopped

    digits(tmp_path)
    config = setting(tmp_path / "cut", method=method, precision="bf16", dtype="float32")
    whole = run(tmp_path / "whole", config)
    stopped(tmp_path / "run", config, 4)
    cut = run(tmp_path / "run", config, resume=tmp_path / "run")
    assert cut["final_loss"] == whole["final_loss"]
    for name in ("final", "best"):
        files = [(tmp_path / folder / f"{name}.safetensors").read_bytes() for folder in ("whole", "run")]
        assert files[0] == files[1]


def test_averages_of_many_arrivals_do_not_stall():
    """In 16 bits, a twentieth of a difference is soon nothing."""
    running, target = Running(3, 0.99), torch.full((3, 4), 1.0, dtype=HALF)
    running.update(torch.zeros(3, 4, dtype=HALF))
    for _ in range(400):
        found, _ = running.update(target.clone())
    assert found.dtype == HALF
    assert float(running.mean.min()) == pytest.approx(1 - 0.99**400, abs=1e-3)


@pytest.mark.parametrize("sparse", [False, True])
def test_weights_of_the_first_layer_get_a_gradient_of_their_own_type(sparse):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 300, generator=generator) * (torch.rand(4000, 300, generator=generator) < 0.2)
    grads = []
    for dtype in (torch.float64, HALF):
        weight = torch.linspace(-1, 1, 300 * 5).view(300, 5)
        weight = (weight.double() if dtype == torch.float64 else weight).requires_grad_()
        mask = Mask(DropoutKey(0, 0, 0), torch.arange(4000), 0.5)
        if sparse:
            from gcnsys.graph import Graph

            rows, columns = x.nonzero(as_tuple=True)
            pairs = torch.stack([columns, rows])
            csr = Graph.from_edge_index(pairs, num_nodes=4000, weight=x[rows, columns]).adjacency
            kept = type(csr)(csr.indptr, csr.indices, 300, csr.weight)
            product = SparseRows.from_csr(kept).to(dtype).dropped(mask).times(weight)
        else:
            product = DroppedRows(x.to(dtype), mask).times(weight)
        assert product.dtype == dtype
        product.backward(torch.ones_like(product))
        grads.append(weight.grad)
    assert grads[1].dtype == torch.float32
    assert float((grads[0] - grads[1]).abs().max() / grads[0].abs().max()) < 6e-3


def test_it_goes_with_single_precision_weights():
    with pytest.raises(InputError, match="precision = bf16 goes with dtype = float32, not float64"):
        RunConfig.checked({"data": "digits", "precision": "bf16", "dtype": "float64"})


@pytest.mark.parametrize("faster", [False, True])
def test_products_are_right_however_the_processor_multiplies(monkeypatch, faster):
    monkeypatch.setattr(half, "multiplies_bfloat16", lambda: faster)
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(3000, 300, generator=generator), torch.randn(40, 300, generator=generator) / 300**0.5
    grad = torch.randn(3000, 40, generator=generator)
    x, weight = wide[0].to(HALF).requires_grad_(), wide[1].clone().requires_grad_()
    out = half_product(x, weight.t())
    assert out.dtype == HALF
    exact = wide[0].to(HALF).double() @ wide[1].double().t()
    assert float((out.detach().double() - exact).abs().max()) < 0.02
    out.backward(grad.to(HALF))
    assert (x.grad.dtype, weight.grad.dtype) == (HALF, torch.float32)
    of_x = grad.to(HALF).double() @ wide[1].double()
    of_weight = grad.to(HALF).double().t() @ wide[0].to(HALF).double()
    assert float((x.grad.double() - of_x).abs().max() / of_x.abs().max()) < 0.01
    assert float((weight.grad.double() - of_weight).abs().max() / of_weight.abs().max()) < 0.005
    assert half_product(x[:0], weight.t()).shape == (0, 40)


def test_rows_under_dropout_are_multiplied_alike_however_the_processor_does(monkeypatch):
    x = torch.randn(900, 70, generator=torch.Generator().manual_seed(1)).to(HALF)
    rows = DroppedRows(x, Mask(DropoutKey(1, 2, 3), torch.arange(900), 0.5))
    found = []
    for faster in (False, True):
        monkeypatch.setattr(half, "multiplies_bfloat16", lambda faster=faster: faster)
        weight = torch.randn(70, 9, generator=torch.Generator().manual_seed(2)).requires_grad_()
        out = rows.times(weight)
        out.float().square().sum().backward()
        found.append((out.detach().float(), weight.grad))
    for one, other in zip(*found, strict=True):
        assert float((one - other).abs().max() / other.abs().max()) < 0.02
