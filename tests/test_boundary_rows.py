"""Draws of boundary rows: sizes, agreement of the two ends, expectations, and what the check notices."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gcnsys.kernels.lots as lots
from gcnsys.errors import InputError, UnknownNameError
from gcnsys.runtime.rows import (
    SAMPLERS,
    Boundary,
    Draw,
    Importance,
    Occasion,
    Uniform,
    inclusion,
    sample_size,
    sampler,
)  # fmt: skip
from gcnsys.testing.samplers import check_boundary_sampler
from tests.oracle import node_words

SEEDS = st.integers(0, 2**31)


@pytest.mark.parametrize("name", SAMPLERS.names())
def test_every_sampler_passes_the_public_check(name):
    check_boundary_sampler(SAMPLERS.get(name), draws=600)


@given(st.integers(0, 10**6), st.integers(0, 1000))
def test_a_sample_is_the_rate_rounded_up(rows, thousandths):
    # Whole numbers of thousandths, so that the exact ceiling is known.
    assert sample_size(thousandths / 1000, rows) == -(-thousandths * rows // 1000)


@given(st.integers(0, 300), st.floats(0, 1), SEEDS)
def test_uniform_draws_are_of_one_size_and_weigh_what_they_stand_for(rows, rate, seed):
    draw = Uniform(rate).draw(Boundary(0, 1, torch.ones(rows).long()), Occasion(seed, 3))
    size = math.ceil(rate * rows - 1e-9)
    assert draw.positions.numel() == max(size, 0)
    assert float(draw.scale.sum()) == pytest.approx(rows if size > 0 else 0)


@given(st.lists(st.integers(0, 50) | st.integers(0, 10**9), max_size=60), st.floats(0, 1), SEEDS)
def test_importance_draws_have_the_size_asked_for_and_take_sure_rows(edges, rate, seed):
    boundary = Boundary(1, 0, torch.tensor(edges, dtype=torch.int64))
    draw = Importance(rate).draw(boundary, Occasion(seed, 0))
    useful = int((boundary.edges > 0).sum())
    assert draw.positions.numel() == min(useful, sample_size(rate, len(edges)))
    sure = torch.nonzero(inclusion(boundary.edges, draw.positions.numel()) == 1 << 32).flatten()
    assert set(sure.tolist()) <= set(draw.positions.tolist())
    assert bool((boundary.edges[draw.positions] > 0).all())


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=50), st.data())
def test_inclusion_is_in_proportion_up_to_one(edges, data):
    size = data.draw(st.integers(0, len(edges)))
    weights = torch.tensor(edges)
    shares = inclusion(weights, size).double() / 2**32
    assert float(shares.sum()) == pytest.approx(size, abs=1e-6)
    open_ = shares < 1
    ratios = shares[open_] / weights[open_]
    assert ratios.numel() == 0 or float(ratios.max() - ratios.min()) < 1e-8
    if open_.any() and not open_.all():  # a sure row would have had 1 or more
        assert float((weights[~open_] * ratios.max()).min()) >= 1 - 1e-6


def test_a_draw_depends_on_the_pair_its_direction_the_epoch_the_layer_and_the_seed():
    edges = torch.ones(200).long()
    one = Uniform(0.3).draw(Boundary(0, 1, edges), Occasion(5, 2)).positions
    others = [
        (Boundary(1, 0, edges), Occasion(5, 2)), (Boundary(0, 2, edges), Occasion(5, 2)),
        (Boundary(0, 1, edges), Occasion(5, 3)), (Boundary(0, 1, edges), Occasion(6, 2)),
        (Boundary(0, 1, edges), Occasion(5, 2, layer=1)),
    ]  # fmt: skip
    assert all(not torch.equal(one, Uniform(0.3).draw(*other).positions) for other in others)


@pytest.mark.parametrize("native", [True, False])
@given(st.lists(st.integers(0, 60), max_size=5), st.floats(0, 1), SEEDS)
def test_uniform_draws_take_the_smallest_lots_of_each_pair(native, counts, rate, seed):
    boundaries = [Boundary(2, peer, torch.ones(rows).long()) for peer, rows in enumerate(counts)]
    with pytest.MonkeyPatch.context() as patch:
        if not native:
            patch.setattr(lots, "core", lambda: None)
        draw, sizes = Uniform(rate).draw_all(boundaries, Occasion(seed, 3, layer=1))
    positions, scale, start = [], [], 0
    for peer, rows in enumerate(counts):
        words = node_words(seed, 3, -1 - ((2 << 24 | peer) << 8 | 1), np.arange(rows))
        lot = (words[1].astype(np.uint64) << np.uint64(32) | words[0]).view(np.int64)
        size = sample_size(rate, rows)
        positions += [start + place for place in sorted(np.argsort(lot)[:size].tolist())]
        scale += [rows / max(1, size)] * size
        start += rows
    assert sizes == [sample_size(rate, rows) for rows in counts]
    assert draw.positions.tolist() == positions
    assert draw.scale.tolist() == scale


def test_pairs_of_rows_are_drawn_together_as_often_as_they_should():
    boundary, draws = Boundary(0, 1, torch.ones(8).long()), 4000
    together = torch.zeros(8, 8)
    for epoch in range(draws):
        rows = Uniform(0.25).draw(boundary, Occasion(7, epoch)).positions
        together[rows[:, None], rows] += 1
    pairs = together[~torch.eye(8, dtype=torch.bool)] / draws
    expected = (2 / 8) * (1 / 7)
    assert float((pairs - expected).abs().max()) < 5 * (expected / draws) ** 0.5


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_a_rate_outside_0_and_1_is_refused(rate):
    with pytest.raises(InputError, match=r"rate = .* must lie in \[0, 1\]"):
        sampler("uniform", rate)


def test_an_unknown_sampler_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'uniform'"):
        sampler("unifrom", 0.1)


class Changed:
    """The uniform sampler with something wrong."""

    def __init__(self, rate: float, change) -> None:
        self.inner, self.change = Uniform(rate), change

    def draw(self, boundary, occasion):
        return self.change(self.inner.draw(boundary, occasion), boundary)


FAULTS = {
    "right in expectation|counted": lambda draw, _: Draw(draw.positions, torch.ones_like(draw.scale)),
    "must lie in": lambda draw, boundary: Draw(draw.positions + boundary.num_rows, draw.scale),
    "must ascend": lambda draw, _: Draw(draw.positions.flip(0), draw.scale.flip(0)),
    "same rows": lambda draw, _: Draw(draw.positions, draw.scale + torch.rand(1, dtype=torch.float64)),
    "must be float64": lambda draw, _: Draw(draw.positions, draw.scale.float()),
    "every row that feeds an edge|counted 0": lambda draw, _: Draw(draw.positions[1:], draw.scale[1:]),
}


@pytest.mark.parametrize("says", FAULTS)
def test_the_public_check_notices(says):
    with pytest.raises(AssertionError, match=says):
        check_boundary_sampler(lambda rate: Changed(rate, FAULTS[says]), draws=50)


def test_the_public_check_notices_a_sampler_that_never_changes():
    class Frozen(Uniform):
        def draw(self, boundary, occasion):
            return super().draw(boundary, Occasion(0, 0))

    with pytest.raises(AssertionError, match=r"counted|every epoch drew the same rows"):
        check_boundary_sampler(Frozen, draws=50)
