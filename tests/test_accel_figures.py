"""The record of published figures beside ours: scored as it says, as recorded, and what it claims."""

import json
import math

import pytest

from experiments.accel import run
from experiments.accel.fitting import Point, best, scored
from experiments.accel.groups import Within


def column(*truths):
    """Points whose mechanism is right up to a constant that differs by dataset."""
    return [
        Point(f"p{number}", f"d{number}", 8.0, lambda constant, t=truth: 8.0 * constant / t, 2.0)
        for number, truth in enumerate(truths)
    ]


def test_a_constant_is_the_geometric_mean_and_never_saw_what_it_is_scored_on():
    points = column(0.2, 0.3, 0.6)
    assert best(points) == pytest.approx((0.2 * 0.3 * 0.6) ** (1 / 3), rel=1e-3)
    scores = scored(points, fitted=True)
    assert scores[0].left_out == pytest.approx(math.sqrt(0.3 * 0.6) / 0.2 - 1, rel=1e-3)
    assert scores[2].error == pytest.approx(best(points) / 0.6 - 1)
    assert scores[1].unfitted == pytest.approx(1 / 0.3 - 1)
    # All null predictions are alike, and the published figures as well: the null model is right.
    assert [score.null for score in scores] == pytest.approx([0, 0, 0])
    plain = scored(points, fitted=False)
    assert all(score.left_out == score.error == score.unfitted for score in plain)


def test_a_bar_counts_points():
    scores = scored(column(0.5, 1.0, 1.0, 2.0), fitted=False)  # errors: +100 %, 0, 0, -50 %
    assert Within(0.1, least=2).holds(scores)
    assert not Within(0.1, least=3).holds(scores)
    assert not Within(0.9).holds(scores)
    assert Within(2.0, ratio=True).holds(scores)
    assert not Within(1.9, ratio=True).holds(scores)
    assert Within(0.1, of=("d1", "d2")).holds(scores)


def test_the_record_is_what_the_model_says_today():
    assert json.loads(json.dumps(run.columns())) == run.on_record()["columns"]


def test_the_page_is_the_record():
    assert run.RESULTS.with_suffix(".md").read_text() == run.page(run.on_record())


def test_all_bars_but_one_are_met_and_orders_are_the_published_ones():
    found = run.on_record()
    missed = [group["name"] for group in found["columns"] if group["bar"] and not group["met"]]
    assert missed == ["AWB-GCN over I-GCN, table 2"]
    assert all(pair["same"] for pair in found["rank_orders"])
    assert len(found["rank_orders"]) > 30
    for row in found["switched_off"]:
        assert row["awb_unbalanced"] > 1.5 * row["awb"]
        assert row["igcn_no_sharing"] > row["igcn"]


def test_constants_on_record_are_those_of_the_files():
    from experiments.accel.columns import accelerator

    found = {group["name"]: group["constant"] for group in run.on_record()["columns"]}
    for name, group in (
        ("awb-gcn", "AWB-GCN latency, I-GCN table 2"), ("awb-gcn-iso", "AWB-GCN cycles at GCNAX's resources"),
        ("gcod", "GCoD's accelerator over AWB-GCN, table VI"),
        ("gcod-8bit", "GCoD's accelerator over AWB-GCN, table VI"),
        ("cpu-dgx1", "GCNear over DGL on a CPU, GCN and SAGE"), ("cpu-e5-2680v3", "PyG on a CPU, implied"),
    ):  # fmt: skip
        assert accelerator(name).fit.efficiency == pytest.approx(found[group], rel=2e-3), name


def test_files_are_as_uncertain_as_the_record_says():
    from experiments.accel.columns import accelerator

    groups = {group["name"]: group["figures"] for group in run.on_record()["columns"]}
    for name, group in (
        ("awb-gcn", "AWB-GCN latency, I-GCN table 2"), ("i-gcn", "I-GCN latency, table 2"),
        ("gcnax-search", "GCNAX cycles"), ("awb-gcn-iso", "AWB-GCN cycles at GCNAX's resources"),
        ("cpu-e5-2680v3", "PyG on a CPU, implied"), ("cpu-dgx1", "GCNear over DGL on a CPU, GCN and SAGE"),
    ):  # fmt: skip
        off = [1 + figure["left_out"] for figure in groups[group]]
        assert max(max(each, 1 / each) for each in off) <= accelerator(name).fit.uncertainty, name
