"""Rows in fewer bits: sizes, expectations, the bits themselves, numbers that are no numbers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gcnsys.errors import UnknownNameError
from gcnsys.kernels import quantize as quantizing
from gcnsys.kernels.backend import core
from gcnsys.kernels.dropout import DropoutKey
from gcnsys.kernels.quantize import dequantize, quantize, wire_bytes
from gcnsys.runtime.codec import CODECS, codec

KEY = DropoutKey(3, 1, 4)
TYPES = (torch.float32, torch.float64, torch.bfloat16)


def rows_of_all_sizes(width: int, dtype: torch.dtype) -> torch.Tensor:
    """Rows between the smallest and the largest numbers there are, some not finite."""
    draw = torch.Generator().manual_seed(width)
    x = torch.randn(40, width, generator=draw) * torch.logspace(-44, 38, 40)[:, None]
    if width:
        x[7] = 0
        x[8, 0], x[9, -1], x[10, 0] = float("nan"), float("inf"), -float("inf")
    return x.to(dtype)


@pytest.fixture
def by_torch(monkeypatch):
    def switch(on: bool) -> None:
        monkeypatch.setattr(quantizing, "native_for", (lambda *_: None) if on else native)

    native = quantizing.native_for
    return switch


@pytest.mark.skipif(core() is None, reason="the native core was not built, or is switched off")
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("width", [0, 1, 3, 64, 100, 257])
@pytest.mark.parametrize("bits", [8, 16])
def test_the_core_and_torch_write_and_read_the_same_bytes(by_torch, bits, width, dtype):
    x, ids = rows_of_all_sizes(width, dtype), torch.arange(40) * 1_000_003
    wire = quantize(x, KEY, ids, bits)
    back = dequantize(wire, width, dtype, bits)
    by_torch(True)
    assert torch.equal(wire, quantize(x, KEY, ids, bits))
    again = dequantize(wire, width, dtype, bits)
    assert torch.equal(back.nan_to_num(7.0), again.nan_to_num(7.0))


@pytest.mark.parametrize("width", [6, 8])
def test_torch_reads_a_single_row_wherever_its_scale_lies(by_torch, width):
    by_torch(True)
    x = torch.full((1, width), 2.0)
    wire = quantize(x, KEY, torch.arange(1), 8)
    shifted = torch.cat([wire.new_zeros(1, 3), wire], 1).flatten()[3:].view(1, -1)
    assert torch.equal(dequantize(shifted, width, x.dtype, 8), x)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("width", [1, 5, 64])
def test_the_wire_holds_as_many_bytes_as_it_says(name, width):
    made, x = CODECS[name], torch.randn(11, width)
    wire = made.encode(x, KEY, torch.arange(11))
    assert wire.shape[0] == 11
    assert wire.nbytes == 11 * {"fp32": 4 * width, "bf16": 2 * width, "int8": width + 4}[name]
    back = made.decode(wire, width, x.dtype)
    assert (back.shape, back.dtype) == (x.shape, x.dtype)


def test_rows_as_they_are_are_left_alone():
    x = torch.randn(4, 3, dtype=torch.float64)
    wire = CODECS["fp32"].encode(x, KEY, torch.arange(4))
    assert CODECS["fp32"].decode(wire, 3, x.dtype) is x


@given(st.integers(0, 2**32), st.sampled_from([8, 16]))
def test_a_number_becomes_one_of_its_two_neighbours(seed, bits):
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(6, 33))).float()
    back = dequantize(quantize(x, KEY, torch.arange(6), bits), 33, x.dtype, bits)
    # The distance of two levels: the row's scale, or bfloat16's last bit.
    step = x.abs().amax(1, keepdim=True) / 127 if bits == 8 else 2.0 ** (x.abs().log2().floor() - 7)
    assert bool(((back - x).abs() <= step * (1 + 1e-5)).all())


@pytest.mark.parametrize("bits", [8, 16])
def test_the_expectation_is_the_number(bits):
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 30))).float()
    found = torch.zeros(2000, 20, 30, dtype=torch.float64)
    for seed in range(2000):
        wire = quantize(x, DropoutKey(seed, 0, 0), torch.arange(20), bits)
        found[seed] = dequantize(wire, 30, torch.float64, bits)
    exact = x.double()
    step = exact.abs().amax(1, keepdim=True) / 127 if bits == 8 else 2.0 ** (exact.abs().log2().floor() - 7)
    up = (exact / step) % 1  # the probability of the upper neighbour
    # A neighbour that is as good as never taken has no spread to speak of: one draw more or less is allowed.
    error = step * ((up * (1 - up) / 2000).sqrt() + 1 / 2000)
    assert float(((found.mean(0) - exact).abs() / error).max()) < 5
    assert float((found.mean(0) - exact).abs().mean()) < float(error.mean())


@pytest.mark.parametrize("bits", [8, 16])
def test_rounding_depends_on_key_and_row_and_on_nothing_else(bits):
    x = torch.randn(50, 40, generator=torch.Generator().manual_seed(1))
    ids = torch.arange(50) + 7
    wire = quantize(x, KEY, ids, bits)
    some = torch.tensor([40, 3, 17])
    assert torch.equal(wire[some], quantize(x[some], KEY, ids[some], bits))
    for other in (DropoutKey(2, 1, 4), DropoutKey(3, 2, 4), DropoutKey(3, 1, 5)):
        assert not torch.equal(wire, quantize(x, other, ids, bits))
    assert not torch.equal(wire, quantize(x, KEY, ids + 1, bits))


@pytest.mark.parametrize("bits", [8, 16])
def test_what_is_not_finite_is_not_lost(bits):
    x = torch.tensor([[1.0, float("nan")], [float("inf"), 2.0], [0.0, 0.0], [1.0, -1.0]])
    back = dequantize(quantize(x, KEY, torch.arange(4), bits), 2, x.dtype, bits)
    assert not back[:2].isfinite().all(1).any()
    assert torch.equal(back[2:], x[2:])
    assert bits == 16 or back[:2].isnan().all()


def test_an_unknown_codec_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'int8'"):
        codec("int4")


@pytest.mark.skipif(core() is None, reason="the native core was not built, or is switched off")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"bits": 4}, "bits must be 8 or 16"),
        ({"wire": torch.empty(3, 9, dtype=torch.uint8)}, "wire must have 12 columns, got 9"),
        ({"wire": torch.empty(3, 12)}, "wire has the wrong dtype"),
        ({"a": torch.zeros(2, dtype=torch.int32)}, r"a must have shape \[3\]"),
        ({"x": torch.zeros(3, 8, dtype=torch.int32)}, "x must be float32"),
        ({"x": torch.zeros(3, 16)[:, ::2]}, "x must have contiguous rows"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, says):
    words = torch.zeros(3, dtype=torch.int32)
    fits = {"x": torch.zeros(3, 8), "wire": torch.empty(3, 12, dtype=torch.uint8)}
    fits |= {"a": words, "b": words, "bits": 8}
    with pytest.raises(ValueError, match=says):
        core().quantize(*(fits | change).values())
    assert wire_bytes(8, 8) == 12
