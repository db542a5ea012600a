"""What works on rows alone: activation, dropped inputs, selections; native and in torch."""

import contextlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from gcnsys.kernels import DropoutKey, DroppedRows, Mask, RowNorm, activation, backend, keyed_dropout
from gcnsys.kernels.dropped import _CHUNK
from gcnsys.kernels.rows import RowSelection
from gcnsys.testing.graphs import normal, seeds

KEY = DropoutKey(3, 1, 2)
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12, torch.bfloat16: 2e-2}

sides = st.sampled_from(["native", "torch"])
widths = st.integers(1, 700)
rates = st.sampled_from([0.0, 0.3, 0.5])


@contextlib.contextmanager
def running(side):
    """Compute natively, if there is a core, or in torch."""
    with pytest.MonkeyPatch.context() as patch:
        if side == "torch":
            patch.setattr(backend, "core", lambda: None)
        yield


def masked(rows, rate, seed=0):
    return Mask(KEY, torch.arange(rows) * 7 + seed, rate) if rate else None


def factors(mask, width):
    """What a mask multiplies by, element by element."""
    rows = mask.node_ids.numel()
    return keyed_dropout(torch.ones(rows, width, dtype=torch.float64), mask.key, mask.node_ids, mask.rate)


def expected(x, norm, mask):
    """The activation by its definition, in float64."""
    x = x.double()
    if norm is not None:
        apart = x - x.mean(1, keepdim=True)
        x = apart / (apart.square().mean(1, keepdim=True) + norm.eps).sqrt()
        x = x * norm.weight.double() + norm.bias.double()
    x = torch.where(x > 0, x, 0.0)
    return x if mask is None else x * factors(mask, x.shape[1])


def deviation(found, wanted):
    if not wanted.numel():
        return 0.0
    found, wanted = found.detach().double(), wanted.detach().double()
    return float((found - wanted).abs().max()) / max(1.0, float(wanted.abs().max()))


@given(
    side=sides, rows=st.integers(0, 9), width=widths, rate=rates, normed=st.booleans(),
    dtype=st.sampled_from(list(TOLERANCE)), seed=seeds(),
)  # fmt: skip
def test_an_activation_is_norm_relu_and_dropout(side, rows, width, rate, normed, dtype, seed):
    x = normal(seed, rows, width).to(dtype)
    norm = (
        RowNorm(normal(seed + 1, width).to(dtype), normal(seed + 2, width).to(dtype), 0.1) if normed else None
    )
    mask = masked(rows, rate, seed % 100)
    with running(side):
        found = activation(x, norm=norm, mask=mask)
    assert found.dtype == dtype
    assert deviation(found, expected(x, norm, mask)) <= TOLERANCE[dtype]


@given(
    side=sides, rows=st.integers(0, 600), width=st.sampled_from([1, 3, 16, 65]), rate=rates,
    normed=st.booleans(), seed=seeds(),
)  # fmt: skip
def test_the_gradients_of_an_activation_are_those_of_its_definition(side, rows, width, rate, normed, seed):
    x = normal(seed, rows, width).requires_grad_()
    weight, bias = normal(seed + 1, width).requires_grad_(), normal(seed + 2, width).requires_grad_()
    norm, mask = RowNorm(weight, bias, 0.1) if normed else None, masked(rows, rate)
    leaves, grad = (x, weight, bias) if normed else (x,), normal(seed + 3, rows, width)
    with running(side):
        found = torch.autograd.grad(activation(x, norm=norm, mask=mask), leaves, grad)
    wanted = torch.autograd.grad(expected(x, norm, mask), leaves, grad)
    for ours, theirs in zip(found, wanted, strict=True):
        assert deviation(ours, theirs) <= 1e-11


@pytest.mark.parametrize("side", ["native", "torch"])
@pytest.mark.parametrize("normed", [False, True])
def test_an_activation_passes_gradcheck(side, normed):
    x, weight, bias = (
        normal(seed, *shape).requires_grad_() for seed, shape in ((0, (5, 4)), (1, (4,)), (2, (4,)))
    )

    def active(x, weight, bias):
        norm = RowNorm(weight, bias, 0.1) if normed else None
        return activation(x, norm=norm, mask=masked(5, 0.5))

    with running(side):
        leaves = (x, weight, bias) if normed else (x, weight.detach(), bias.detach())
        assert gradcheck(active, leaves)


@pytest.mark.parametrize("normed", [False, True])
def test_the_bits_of_an_activation_do_not_depend_on_the_number_of_threads(normed):
    if backend.core() is None:
        pytest.skip("the native core was not built, or is switched off")
    x, grad = (normal(seed, 1000, 33).float() for seed in (0, 1))
    seen = []
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        x, weight, bias = (t.detach().requires_grad_() for t in (x, torch.ones(33), torch.zeros(33)))
        found = activation(x, norm=RowNorm(weight, bias, 1e-5) if normed else None, mask=masked(1000, 0.5))
        leaves = (x, weight, bias) if normed else (x,)
        seen.append([found, *torch.autograd.grad(found, leaves, grad)])
    torch.set_num_threads(before)
    for others in seen[1:]:
        assert all(torch.equal(a, b) for a, b in zip(seen[0], others, strict=True))


@pytest.mark.parametrize("side", ["native", "torch"])
@pytest.mark.parametrize("normed", [False, True])
def test_what_is_not_a_number_stays_none(side, normed):
    x = torch.zeros(2, 5)
    x[0, 3] = torch.nan
    norm = RowNorm(torch.ones(5), torch.zeros(5), 1e-5) if normed else None
    with running(side):
        assert activation(x, norm=norm)[0, 3].isnan()


def test_an_activation_of_what_does_not_fit_is_refused():
    core = pytest.importorskip("gcnsys.kernels._core", reason="the native core was not built")
    x, numbers, words = torch.zeros(3, 4), torch.zeros(4), torch.zeros(3, dtype=torch.int32)

    def run(x=x, out=x, weight=None, bias=None, mean=None, rstd=None, a=None, b=None):
        core.activate(x, out, weight, bias, mean, rstd, 1e-5, a, b, 0, 1.0, 1)

    run()
    for changes, told in (
        ({"x": x.int()}, "float32, float64 or bfloat16"),
        ({"x": x[0]}, "two dimensions"),
        ({"x": torch.zeros(3, 8)[:, :4]}, "contiguous"),
        ({"out": x.double()}, "out has the wrong dtype"),
        ({"out": torch.zeros(2, 4)}, "out must have 3 rows"),
        ({"weight": numbers}, "come together"),
        (
            {"weight": numbers, "bias": numbers, "mean": numbers, "rstd": torch.zeros(3)},
            r"mean must have shape",
        ),
        ({"a": words}, "come together"),
        ({"a": words.long(), "b": words}, "a has the wrong dtype"),
    ):
        with pytest.raises(ValueError, match=told):
            run(**changes)


# Inputs under dropout.


@given(
    side=sides, rows=st.integers(0, 40), width=st.integers(1, 30), out=st.integers(1, 5),
    rate=st.sampled_from([0.2, 0.5]), first=st.integers(0, 9), seed=seeds(),
)  # fmt: skip
def test_the_product_of_dropped_rows_is_that_of_dropout(side, rows, width, out, rate, first, seed):
    x, weight = normal(seed, rows, width), normal(seed + 1, width, out).requires_grad_()
    mask, grad = masked(rows, rate), normal(seed + 2, rows, out)
    dropped = keyed_dropout(x, mask.key, mask.node_ids, rate, first_feature=first)
    with running(side):
        lazily = DroppedRows(x, mask, first)
        product = lazily.times(weight)
        (gradient,) = torch.autograd.grad(product, weight, grad)
        assert torch.equal(lazily.to_dense(), dropped)
    assert deviation(product, dropped @ weight) <= 1e-12
    assert deviation(gradient, dropped.T @ grad) <= 1e-12


def test_rows_are_dropped_piece_by_piece():
    width = 512
    rows = 2 * (_CHUNK // width) + 3
    x, weight, mask = normal(0, rows, width), normal(1, width, 2).requires_grad_(), masked(rows, 0.5)
    dropped = keyed_dropout(x, mask.key, mask.node_ids, 0.5)
    product = DroppedRows(x, mask).times(weight)
    (gradient,) = torch.autograd.grad(product.sum(), weight)
    assert deviation(product, dropped @ weight) <= 1e-12
    assert deviation(gradient, dropped.sum(0)[:, None].expand(-1, 2)) <= 1e-12


# Rows that are sent.


@given(side=sides, taken=st.lists(st.integers(0, 6), max_size=12), width=widths, seed=seeds())
def test_a_selection_takes_rows_and_adds_them_back(side, taken, width, seed):
    x, y, start = normal(seed, 7, width), normal(seed + 1, len(taken), width), normal(seed + 2, 7, width)
    rows = torch.tensor(taken, dtype=torch.int64)
    matrix = (
        torch.nn.functional.one_hot(rows, 7).double() if taken else torch.zeros(0, 7, dtype=torch.float64)
    )
    with running(side):
        selection = RowSelection(rows, 7)
        assert torch.equal(selection.take(x), x[rows])
        assert deviation(selection.add_back(y, start.clone()), start + matrix.T @ y) <= 1e-12
