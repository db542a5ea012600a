"""The co-search: its space, its front, its network of networks, and that it goes on where it was."""

import json
import math
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accel_graphs import power_law
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("optuna")

from gcnsys.accel import Structure, WeightGroups, load, model_work
from gcnsys.cli.main import run
from gcnsys.datasets import load as dataset
from gcnsys.errors import InputError
from gcnsys.graph import Graph
from gcnsys.kernels import LocalBlock
from gcnsys.search import Budget, CoSearch, Design, Found, Hardware, Shape
from gcnsys.search.choice import choose, near_front
from gcnsys.search.export import as_toml, export
from gcnsys.search.layouts import farthest_dropped, polarized_blocks
from gcnsys.search.problem import Judged, Problem
from gcnsys.search.refine import changes, refined
from gcnsys.search.space import EFFICIENCY, chosen
from gcnsys.search.study import SLOWEST, front, hypervolume
from gcnsys.search.supernet import SuperNet, rounded, thinned

HARDWARE = Hardware("blocks", "xw", (0.5, 0.5), (0.5, 0.5), 1, 1.0)


def found(*pairs):
    """Designs of a given accuracy and latency."""
    return [
        Found(number, Design(Shape(), HARDWARE), Judged(accuracy, seconds))
        for number, (accuracy, seconds) in enumerate(pairs)
    ]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(1e-7, 1e-4)), min_size=1, max_size=12))
def test_a_front_holds_what_nothing_beats_and_covers_what_is_below_it(pairs):
    tried = found(*pairs)
    kept = [(each.judged.accuracy, each.judged.seconds) for each in front(tried)]
    for accuracy, seconds in pairs:
        assert any(a >= accuracy and s <= seconds for a, s in kept)
    for a, s in kept:
        assert not any(x >= a and y <= s and (x, y) != (a, s) for x, y in pairs)
    # By darts: the share of a box that some design is better than.
    rng = np.random.default_rng(0)
    darts = rng.random((20_000, 2)) * [1, 4]
    covered = np.zeros(len(darts), bool)
    for accuracy, seconds in pairs:
        covered |= (darts[:, 0] < accuracy) & (darts[:, 1] < math.log10(SLOWEST / seconds))
    assert hypervolume(tried) == pytest.approx(4 * covered.mean(), abs=0.06)


def test_a_budget_is_read_and_checked():
    assert Budget.parse("dsp=100, bram=2e6") == Budget(dsp=100, bram=2e6)
    assert Budget.parse("").macs(32) == 4096
    assert Budget().macs(8) == load("gcod-8bit").chip.macs
    for text, sentence in (
        ("dsp", "needs a number"),
        ("lut=3", "unknown budget 'lut'"),
        ("dsp=0", "must be positive"),
        ("clock=inf", "must be positive and finite, got inf"),
        ("bram=nan", "must be positive and finite, got nan"),
        ("dsp=0.3", "dsp must be at least 1"),
        ("dsp=4,dsp=5", "dsp is given twice"),
    ):
        with pytest.raises(InputError, match=sentence):
            Budget.parse(text)


def test_every_choice_makes_a_design_within_the_budget():
    rng, budget = np.random.default_rng(0), Budget(dsp=500, clock=200)
    by = SimpleNamespace(
        suggest_categorical=lambda name, choices: choices[rng.integers(len(choices))],
        suggest_float=lambda name, low, high: rng.uniform(low, high),
    )
    work = model_work("t", Structure(100, 900), [30, 16, 4])
    for _ in range(100):
        design = chosen(by)
        accelerator = design.hardware.accelerator(budget, design.shape.bits)
        assert accelerator.chip.macs == budget.macs(design.shape.bits)
        assert accelerator.chip.clock_mhz <= 200
        assert accelerator.fit.efficiency == EFFICIENCY[design.hardware.dataflow][0]
        assert 0 < accelerator.estimate(work).utilisation <= 1


def test_a_template_like_gcod_takes_gcods_time():
    graph = power_law(400, 2000)
    blocks = polarized_blocks(graph, (6,), total=8)
    structure = Structure.of(graph, blocks)
    work = model_work("t", structure, [50, 16, 4], 0.3)
    gcod = load("gcod")
    branches = gcod.mechanism.branches(work.steps("xw")[0], work)
    loads = [branches.dense[0], branches.dense[1], branches.sparse]
    hardware = Hardware("blocks", "xw", tuple(loads), (1.0, 1.0, 1.0), 1, 1.0)
    ours = hardware.accelerator(Budget(), 32).estimate(work).steps[0].cycles
    theirs = gcod.estimate(work).steps[0].cycles
    assert ours == pytest.approx(theirs, rel=0.01)
    uneven = Hardware("blocks", "xw", (1.0, 0.1, 0.1), (1.0, 1.0, 1.0), 1, 1.0)
    assert uneven.accelerator(Budget(), 32).estimate(work).steps[0].cycles > 1.5 * ours
    padded = Hardware("blocks", "xw", tuple(loads), (1.0, 1.0, 1.0), 32, 1.0)
    assert padded.accelerator(Budget(), 32).estimate(work).steps[0].cycles == pytest.approx(
        2 * ours, rel=0.01
    )


@pytest.mark.parametrize(("tile", "skips"), [(8, True), (4, True), (2, True), (8, False)])
def test_zeros_of_weights_are_skipped_where_a_tile_holds_whole_groups(tile, skips):
    groups, widths = WeightGroups(4, 2), [50, 18, 7]
    structure = Structure.of(power_law(300, 900))
    dense, thin = (model_work("t", structure, widths, 0.3, weight_groups=one) for one in (None, groups))
    hardware = Hardware("islands", "xw", (1.0,), (1.0,), tile, 1.0, skips)
    accelerator = hardware.accelerator(Budget(dsp=100), 32)
    left, whole = accelerator.estimate(thin), accelerator.estimate(dense)
    works = skips and tile % 4 == 0
    for one, other, step in zip(left.steps, whole.steps, thin.steps("xw"), strict=True):
        padded = -(-step.outputs // tile) * tile
        columns = padded // 2 if works else padded
        assert one.cycles == pytest.approx((step.nonzeros * columns + step.entries * padded) / 100)
        assert other.cycles == pytest.approx((step.nonzeros + step.entries) * padded / 100)
        # By hand: 18 columns are 4 groups and 2 columns; 7 are one group and 3 columns.
        kept = {18: 4 * 2 + 2, 7: 2 + 2}[step.outputs] if works else step.outputs
        assert one.macs == pytest.approx(step.nonzeros * kept + step.entries * step.outputs)
    # Nobody else skips them: the zeros are multiplied.
    for name in ("gcod", "i-gcn", "awb-gcn", "hygcn", "gcnax", "gcnear"):
        assert load(name).estimate(thin).steps[0].compute == load(name).estimate(dense).steps[0].compute


def test_weights_that_are_left_bring_their_place_and_training_makes_all_gradients():
    groups = WeightGroups(4, 2)
    work = model_work("t", Structure(200, 900), [64, 16, 4], 0.3, weight_groups=groups)
    for skips, bits in ((False, 8), (True, 8 + 2)):
        hardware = Hardware("columns", "xw", (1.0,), (1.0,), 16, 1.0, skips)
        accelerator = hardware.accelerator(Budget(bram=1000), 8)  # too small for anything to be resident
        read = accelerator.estimate(work).steps[0].traffic["weights"]
        runs = -(-200 * 16 // 500)
        assert read == runs * 64 * 8 * bits / 8
    back = replace(work, training=True).steps("xw")[2:]
    assert all(product.weight_groups is None for step in back for product in step.products)
    with pytest.raises(InputError, match="keeps 1 to 4, got 5"):
        WeightGroups(4, 5)


def test_an_exported_accelerator_reads_back(tmp_path):
    accelerator = HARDWARE.accelerator(Budget(), 8)
    (tmp_path / "found.toml").write_text(as_toml(accelerator))
    assert load(str(tmp_path / "found.toml")) == accelerator


def test_blocks_are_of_one_class_and_pruning_takes_the_farthest():
    graph = power_law(300, 900).without_self_loops()
    blocks = polarized_blocks(graph, (4,), total=8)
    degree, block = graph.adjacency.indptr.diff(), blocks.layout.group_of()
    assert ((degree >= 4) == (blocks.class_of[block] == 1)).all()
    assert (blocks.group_of.diff() >= 0).all()  # group after group
    fewer = farthest_dropped(graph, blocks, 0.2)
    assert 0.7 < fewer.num_edges / graph.num_edges <= 0.85
    before, after = (blocks.count(Structure.of(each).matrix) for each in (graph, fewer))
    assert after.off / sum(after.dense) < before.off / sum(before.dense)


def test_few_bits_are_a_grid_that_gradients_do_not_see():
    x = torch.randn(50, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for bits in (8, 16):
        y = rounded(x, bits)
        step = x.detach().abs().max() / (2 ** (bits - 1) - 1)
        assert ((y / step) - (y / step).round()).abs().max() < 1e-2
        assert (y - x).abs().max() <= step * 0.51
        (grad,) = torch.autograd.grad(y.sum(), x)
        assert torch.equal(grad, torch.ones(50))
    assert rounded(x, 32) is x


@pytest.mark.parametrize("kept", [1, 2, 3, 4])
def test_the_largest_weights_of_each_group_are_kept_and_gradients_pass_to_all(kept):
    weight = torch.randn(6, 7, requires_grad=True)
    thin = thinned(weight, kept)
    for row in range(6):
        for group in (slice(0, 4), slice(4, 7)):  # the last one is short
            sizes = weight[row, group].detach().abs()
            least = sizes.sort(descending=True).values[: min(kept, len(sizes))].min()
            assert torch.equal(thin[row, group], torch.where(sizes >= least, weight[row, group], 0.0))
    (grad,) = torch.autograd.grad(thin.sum(), weight)
    assert torch.equal(grad, torch.ones(6, 7))


@pytest.mark.parametrize("kept", [2, 4])
@pytest.mark.parametrize("kind", ["gcn", "sage", "gin"])
def test_a_slice_of_the_supernet_is_a_network_of_its_size(kind, kept):
    data = dataset("digits")
    net = SuperNet(data, {0.0: LocalBlock.from_graph(data.graph)}, seed=0).eval()
    shape = Shape(kind, 3, 6, kept=kept)
    logits, shares = net(shape)
    looped = data.graph.adjacency.looped().to_scipy().toarray().astype(float)
    plain = data.graph.to_scipy().toarray().astype(float)
    scale = 1 / np.sqrt(looped.sum(1))
    matrix = {
        "gcn": scale[:, None] * looped * scale,
        "sage": plain / plain.sum(1, keepdims=True).clip(1),
        "gin": plain + np.eye(len(plain)),
    }[kind]
    h, widths = data.x.numpy().astype(float), [64, 6, 6, 10]
    for number, layer in enumerate([*net.hidden[kind], net.last[kind]]):
        bias, (low, high) = layer.bias.detach().numpy()[: widths[number + 1]], widths[number : number + 2]
        weight = {
            name: thinned(each[: high if name == "second" else low, :high], kept).detach().double().numpy()
            for name, each in layer.weights.items()
        }
        out = matrix @ h @ weight["neighbours"] + bias
        if kind == "sage":
            out += h @ weight["own"]
        if kind == "gin":
            out = out.clip(0) @ weight["second"]
        h = out if number == 2 else out.clip(0)
        if number < 2:
            assert shares[number] == pytest.approx(np.count_nonzero(h) / h.size, abs=1e-3)
    assert np.abs(logits.detach().numpy() - h).max() < 1e-4 * np.abs(h).max()


def test_the_supernet_learns_and_so_does_a_shape_alone():
    data = dataset("digits")
    blocks = {share: LocalBlock.from_graph(data.graph) for share in (0.0, 0.05, 0.1, 0.2)}
    net = SuperNet(data, blocks, seed=0)
    before = net.judged(Shape("gcn", 2, 64))[0]
    net.fit(40)
    assert net.judged(Shape("gcn", 2, 64))[0] > 0.5 + before
    val, test = SuperNet(data, blocks, seed=1).fit_alone(Shape("sage", 2, 32, 8), 30)
    assert val > 0.8
    assert test > 0.8


@pytest.mark.parametrize("method", ["evolution", "random"])
def test_a_study_goes_on_with_what_is_kept(tmp_path, method):
    tried = []

    def judge(design):
        tried.append(design)
        return Judged(design.shape.hidden / 64, design.hardware.tile * 1e-6)

    journal = tmp_path / "trials"
    CoSearch(judge, journal, method=method, seed=3).run(12)
    again = CoSearch(judge, journal, method=method, seed=3)
    assert again.done == 12
    again.run(20)
    assert len(tried) == 20
    assert [each.design for each in again.found()] == tried
    assert len(set(tried)) == 20  # nothing is proposed again


def test_a_search_that_was_killed_while_it_wrote_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "co").mkdir()
    journal = Path("co/trials")  # relative, as people give it
    code = f"""
import os, signal
from pathlib import Path
from gcnsys.search import CoSearch
from gcnsys.search.problem import Judged
search = CoSearch(lambda design: Judged(0.5, 1e-6), Path({str(journal)!r}))
search.run(3)
class Dies(dict):  # killed with the lock in its hands
    def items(self):
        os.kill(os.getpid(), signal.SIGKILL)
search.study._storage._backend.append_logs([Dies(a=1)])
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=100)
    assert done.returncode == -signal.SIGKILL
    with journal.open("ab") as file:
        file.write(b'{"op_code":4,"worker_id"')  # a line's beginning
    again = CoSearch(lambda design: Judged(0.5, 1e-6), journal)
    assert again.done == 3
    again.run(5)
    assert CoSearch(lambda design: Judged(0.5, 1e-6), journal).done == 5


def test_searching_beats_drawing_at_random():
    def judge(design):
        shares = np.array(design.hardware.elements)
        uneven = float(shares.max() / shares.sum())
        return Judged(
            design.shape.hidden / 64, 1e-5 * (1 + uneven) * design.shape.bits / design.hardware.clock
        )

    covered = {}
    for method in ("evolution", "random"):
        searches = [CoSearch(judge, method=method, seed=seed) for seed in range(3)]
        for search in searches:
            search.run(120)
        covered[method] = np.mean([hypervolume(search.found()) for search in searches])
    assert covered["evolution"] > covered["random"]


def test_a_problem_judges_a_design_by_both(tmp_path):
    problem = Problem(dataset("digits"), Budget(dsp=256), seed=0)
    few, many = (Design(Shape(hidden=hidden), HARDWARE) for hidden in (8, 64))
    assert problem.judge(few).seconds < problem.judge(many).seconds
    assert problem.judge(few).accuracy == problem.accuracy(few.shape)[0]
    assert problem.graphs[0.2].num_edges < problem.graphs[0.0].num_edges
    gcod = problem.gcod(8)
    assert (gcod.chip.macs, gcod.chip.value_bits) == (640, 8)


def test_what_a_design_gains_over_gcod_is_told_apart():
    problem = Problem(dataset("digits"), Budget(dsp=256), seed=0)
    shape = Shape(hidden=16, bits=8, kept=2)
    own = Hardware("islands", "xw", (1.0,), (1.0,), 4, 1.0, True)
    beside = problem.beside_gcod(Design(shape, own))
    assert beside["as_it_is"] == pytest.approx(
        problem.gcod(8).estimate(problem.work(shape)).seconds / problem.judge(Design(shape, own)).seconds
    )
    share = load("gcod").fit.efficiency
    assert beside["one_constant"] == pytest.approx(share * beside["as_it_is"])
    # A GCoD that skips zeros gains what a template of its dataflow gains by skipping, padding aside.
    both = [
        problem.judge(Design(shape, Hardware("columns", "xw", (1.0,), (1.0,), 4, 1.0, skips))).seconds
        for skips in (False, True)
    ]
    assert beside["zeros_skipped"] / beside["as_it_is"] == pytest.approx(both[1] / both[0], rel=0.03)
    dense = problem.beside_gcod(Design(Shape(hidden=16, bits=8), own))
    assert dense["zeros_skipped"] == pytest.approx(dense["as_it_is"])


def test_the_command_searches_exports_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["cosearch", "digits", "--budget", "dsp=256", "--steps", "10", "--retrain", "1", "--out", "co"]
    assert run([*words, "--trials", "15", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["trials"], told["trials_before"]) == (15, 0)
    assert told["over_gcod_same_model"] > 0
    assert (tmp_path / "co/front.png").stat().st_size > 10_000
    assert run([*words, "--trials", "18", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["trials_before"] == 15
    # What was exported is used as it is.
    design = ["estimate", "npz:co/design/graph.npz", "--blocks", "co/design/blocks.npz"]
    assert run([*design, "--accelerator", "co/design/accelerator.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["estimates"][0]["accelerator"] == "found"
    model, shares = told["design"]["model"], told["hidden_density"]
    words_of = ["--model", model["kind"], "--layers", str(model["layers"]), "--hidden", str(model["hidden"])]
    words_of += ["--bits", str(model["bits"]), "--kept", str(model["kept"])]
    words_of += ["--density", ",".join(map(str, shares)), "--islands", "find"]
    assert run([*design, *words_of, "--accelerator", "co/design/accelerator.toml", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)["estimates"][0]["seconds"]
    assert again == pytest.approx(told["seconds_estimated"])
    assert run(["train", "co/design/run.toml", "--set", "epochs=2", "--out", "trained"]) == 0
    assert run([*words[:-1], "trained", "--trials", "3"]) == 2
    assert "trained holds something else" in capsys.readouterr().err
    assert run([*words, "--seed", "4"]) == 2
    assert "is of a search with --seed 0, not 4" in capsys.readouterr().err
    settings = json.loads((tmp_path / "co/search.json").read_text())
    (tmp_path / "co/search.json").write_text(json.dumps(settings | {"space": {}}))
    assert run(words) == 2
    assert "another space of designs" in capsys.readouterr().err
    (tmp_path / "co/search.json").write_text("{")
    assert run(words) == 2
    assert "search.json: damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--budget", "lut=3"], "unknown budget 'lut'"),
        (["--trials", "0"], "--trials must be at least 1"),
        (["--method", "guess"], "invalid choice"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, monkeypatch, capsys, words, sentence):
    monkeypatch.chdir(tmp_path)
    try:
        code = run(["cosearch", "digits", "--out", "co", *words])
    except SystemExit as left:
        code = left.code
    assert code == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "co/trials.journal").exists()


def test_the_record_holds_what_the_page_says():
    from experiments.cosearch.run import RESULTS

    found, page = json.loads(RESULTS.read_text()), (RESULTS.parent / "README.md").read_text()
    covered = found["hypervolume"]
    assert min(covered["evolution"]["seeds"]) > max(covered["random"]["seeds"])
    design, limit = found["design"], found["limit"]
    assert design["retrained"]["no_worse_than_baseline"]
    assert design["over_gcod_same_model"] > design["over_gcod_one_constant"] >= 1.5
    assert design["over_gcod_that_skips_zeros"] < 1.5
    assert 0.98 * limit["at_most_with_zeros"] < design["over_gcod_same_model"] <= limit["at_most_with_zeros"]
    assert design["seconds"] < 600
    ratios = [value for name, value in [*design.items(), *limit.items()] if name.startswith(("over_", "at_"))]
    shares = [value for name, value in design["retrained"].items() if name.endswith("_acc")]
    covers = [covered[method]["mean"] for method in ("evolution", "random")]
    said = [f"{ratio:.2f}" for ratio in ratios] + [f"{share:.1%}".replace("%", " %") for share in shares]
    for number in said + [f"{cover:.3f}" for cover in covers]:
        assert number in page


def test_more_elements_of_a_template_are_never_slower():
    work = model_work("t", Structure.of(power_law(300, 900)), [50, 16, 4], 0.3)
    before = math.inf
    for macs in range(3, 200, 7):
        accelerator = Hardware("columns", "narrower", (0.7, 0.2, 0.4), (1.0, 1.0, 1.0), 4, 1.0).accelerator(
            Budget(dsp=macs), 32
        )
        seconds = accelerator.estimate(work).seconds
        assert seconds <= before
        before = seconds


def test_the_fastest_as_good_as_the_baseline_is_chosen():
    def design(hidden):
        return Design(Shape(hidden=hidden), HARDWARE)

    tried = [
        Found(0, design(8), Judged(0.70, 1e-6)), Found(1, design(32), Judged(0.79, 2e-6)),
        Found(2, design(64), Judged(0.81, 3e-6)),
    ]  # fmt: skip
    worth = {16: 0.80, 8: 0.9, 32: 0.79, 64: 0.82}
    problem = SimpleNamespace(
        accuracy=lambda shape: (0.80, 0.0, []),
        alone=lambda shape, seed, steps: (trained.append(shape.hidden) or worth[shape.hidden], 0.5),
    )
    trained = []
    # 8 columns are too far below with shared weights, 32 are below the baseline alone.
    chosen_one = choose(tried, problem, seeds=3, steps=1)
    assert chosen_one.found.number == 2
    assert trained == [16] * 3 + [32] * 3 + [64] * 3
    assert chosen_one.plain()["no_worse_than_baseline"]
    worth[64] = 0.7
    trained.clear()
    none_as_good = choose(tried, problem, seeds=3, steps=1)
    assert not none_as_good.plain()["no_worse_than_baseline"]
    assert none_as_good.found.number == 1
    assert trained == [16] * 3 + [32] * 3 + [64]  # given up after a seed


def test_near_a_front_is_what_no_faster_one_beats_by_much():
    tried = found((0.6, 1e-6), (0.70, 2e-6), (0.69, 3e-6), (0.67, 4e-6), (0.75, 5e-6))
    assert [each.number for each in near_front(tried, least=0.65)] == [1, 2, 4]
    assert [each.number for each in near_front(tried, least=0.9)] == [4]


def test_nothing_is_left_behind_where_the_data_cannot_be_used(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["cosearch", "nosuch", "--out", "co"]) == 2
    assert "unknown dataset" in capsys.readouterr().err
    assert not (tmp_path / "co").exists()


def test_sage_has_no_self_loops_and_a_graph_without_edges_is_pruned_to_itself():
    problem = Problem(dataset("digits"), Budget(), seed=0)
    entries = {kind: problem.structure(Shape(kind=kind)).entries for kind in ("gcn", "sage")}
    assert entries["gcn"] - entries["sage"] == problem.dataset.graph.num_nodes
    graph = Graph.from_edge_index(torch.empty(2, 0, dtype=torch.int64), num_nodes=4, is_symmetric=True)
    assert farthest_dropped(graph, polarized_blocks(problem.graphs[0.0], (9,)), 0.1) is graph


def test_the_farthest_are_those_above_the_quantile():
    problem = Problem(dataset("digits"), Budget(), seed=0)
    graph, blocks = problem.graphs[0.0], problem.blocks
    place = torch.empty(graph.num_nodes, dtype=torch.int64)
    place[blocks.layout.order] = torch.arange(graph.num_nodes)
    far = (place[graph.adjacency.rows().long()] - place[graph.adjacency.indices.long()]).abs()
    for share in (0.05, 0.3, 0.77):
        kept = int((far <= far.double().quantile(1 - share)).sum())
        assert farthest_dropped(graph, blocks, share).num_edges == kept


def test_an_exported_graph_is_the_one_that_was_searched(tmp_path):
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 60, (2, 300))
    np.savez(tmp_path / "g.npz", edge_index=pairs, edge_attr=rng.random((300, 2)).astype(np.float32),
             edge_weight=rng.random(300).astype(np.float32), y=rng.integers(0, 3, 60),
             x=rng.random((60, 5)).astype(np.float32))  # fmt: skip
    problem = Problem(dataset(f"npz:{tmp_path / 'g.npz'}"), Budget(), seed=0)
    (tmp_path / "design").mkdir()
    export(Design(Shape(pruned=0.1), HARDWARE), problem, tmp_path / "design")
    again = dataset(f"npz:{tmp_path / 'design/graph.npz'}").graph
    assert torch.equal(again.edge_index(), problem.graphs[0.1].edge_index())
    torch.testing.assert_close(again.weight, problem.graphs[0.1].weight)


def test_no_single_change_of_a_refined_accelerator_is_faster():
    problem = Problem(dataset("digits"), Budget(), seed=0)
    search = CoSearch(problem.judge, method="random", seed=0)
    search.run(12)
    tried = search.found()
    better = refined(tried, problem.judge)
    assert {each.design.shape for each in better} == {each.design.shape for each in tried}
    assert len(better) == len({each.design.shape for each in tried})
    for each in better:
        of_model = [one.judged.seconds for one in tried if one.design.shape == each.design.shape]
        assert each.judged.seconds <= min(of_model)
        for other in changes(each.design.hardware):
            assert problem.judge(Design(each.design.shape, other)).seconds >= each.judged.seconds
    assert any(each.judged.seconds < min(one.judged.seconds for one in tried) for each in better)
