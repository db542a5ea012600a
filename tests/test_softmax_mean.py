"""The softmax mean equals dense algebra in float64, whether logits lie close together or far apart."""

import pytest
import torch

from gcnsys.errors import InputError
from gcnsys.graph import CSR
from gcnsys.kernels import Edges, backend, softmax_mean
from gcnsys.kernels.softmax_mean import SPAN

ROWS, COLUMNS, WIDTH = 9, 13, 19


@pytest.fixture(params=["native", "torch"])
def kernels(request, monkeypatch):
    """The native core at work, or torch."""
    if request.param == "native" and backend.core() is None:
        pytest.skip("the native core was not built, or is switched off")
    if request.param == "torch":
        for module in ("matrix", "edges"):
            monkeypatch.setattr(f"gcnsys.kernels.{module}.native_for", lambda *_: None)


def made(seed=0):
    """Edges, some equal, some destinations without any; the number of each as a dense matrix."""
    generator = torch.Generator().manual_seed(seed)
    count = torch.randint(0, 3, (ROWS, COLUMNS), generator=generator)
    count[4] = 0
    indptr = torch.cat([torch.zeros(1, dtype=torch.long), count.sum(1).cumsum(0)])
    columns = torch.arange(COLUMNS).expand(ROWS, -1)
    indices = torch.repeat_interleave(columns.flatten(), count.flatten())
    return Edges(CSR(indptr, indices.int(), COLUMNS)), count.double(), generator


def dense(count, x, temperature, absent=None):
    """One softmax for each destination and feature."""
    if absent is not None:
        count = count.masked_fill(absent, 0)
    logits = (x * temperature).expand(ROWS, -1, -1) + count[:, :, None].log()
    there = count.sum(1) > 0
    out = torch.zeros(ROWS, x.shape[1], dtype=x.dtype)
    out[there] = (logits[there].softmax(1) * x).sum(1)
    return out


@pytest.mark.parametrize("spread", [1.0, 20.0, 2000.0])
@pytest.mark.parametrize("some_absent", [False, True])
def test_it_is_dense_algebra_gradients_included(kernels, spread, some_absent):
    edges, count, generator = made()
    values = spread * torch.randn(COLUMNS, WIDTH, generator=generator, dtype=torch.float64)
    span = float((0.7 * values).amax(0).sub((0.7 * values).amin(0)).max())
    assert (span > SPAN[torch.float64]) == (spread == 2000)
    absent = torch.rand(COLUMNS, generator=generator) < 0.4 if some_absent else None
    incoming = torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64)
    found = []
    calls = (
        lambda x, t: softmax_mean(edges, x, t, absent=absent), lambda x, t: dense(count, x, t, absent)
    )  # fmt: skip
    for call in calls:
        x = values.clone().requires_grad_()
        temperature = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
        out = call(x, temperature)
        out.backward(incoming)
        found.append((out.detach(), x.grad, temperature.grad))
    # What a temperature does is a difference of squares, which may be far smaller than they are.
    scales = [float(part.abs().max()) for part in found[1][:2]] + [float(values.square().max())]
    for mine, exact, scale in zip(*found, scales, strict=True):
        assert float((mine - exact).abs().max()) < 1e-12 * scale
    if some_absent:
        assert bool((found[0][1][absent] == 0).all())


def test_single_precision_does_not_lose_a_destination_whose_sources_are_all_low(kernels):
    """Beside a row of 500 the exponentials of the others are 0 in float32."""
    indptr, indices = torch.tensor([0, 2, 3]), torch.tensor([0, 1, 2], dtype=torch.int32)
    x = torch.tensor([[1.0], [2.0], [500.0]])
    out = softmax_mean(Edges(CSR(indptr, indices, 3)), x, torch.tensor(1.0))
    torch.testing.assert_close(out[0, 0], torch.tensor([1.0, 2]).softmax(0) @ torch.tensor([1.0, 2]))
    assert float(out[1, 0]) == 500


def test_rows_that_are_not_numbers_stay_so():
    edges, count, generator = made()
    x = torch.randn(COLUMNS, 3, generator=generator)
    x[2, 1] = torch.nan
    out = softmax_mean(edges, x, torch.tensor(0.5))
    assert torch.equal(out[:, 1].isnan(), count[:, 2] > 0) or bool(out[count[:, 2] > 0, 1].isnan().all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_types_are_close(dtype):
    edges, count, generator = made()
    x = torch.randn(COLUMNS, 5, generator=generator).to(dtype)
    out = softmax_mean(edges, x, torch.tensor(0.5))
    assert out.dtype == dtype
    bound = 1e-5 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(out.double(), dense(count, x.double(), 0.5), rtol=bound, atol=bound)


def test_rows_that_do_not_fit_are_refused():
    edges, _, _ = made()
    with pytest.raises(InputError, match="x must have shape"):
        softmax_mean(edges, torch.ones(COLUMNS + 1, 2), torch.tensor(1.0))
    with pytest.raises(InputError, match="x must be float32"):
        softmax_mean(edges, torch.ones(COLUMNS, 2, dtype=torch.int64), torch.tensor(1.0))


def test_no_rows_at_all():
    edges = Edges(CSR(torch.zeros(1, dtype=torch.long), torch.zeros(0, dtype=torch.int32), 0))
    assert softmax_mean(edges, torch.zeros(0, 3), torch.tensor(1.0)).shape == (0, 3)
