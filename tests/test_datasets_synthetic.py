"""Seeded random graphs: exact counts, planted classes, and the same values in memory and on disk."""

import shutil
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcnsys.datasets import load, synthetic, tiles
from gcnsys.datasets.arrays import MASKS
from gcnsys.datasets.npz import read_npy
from gcnsys.errors import InputError

REDDIT = "reddit,nodes=2000,edges=40000,features=64,classes=7"


def keys(arrays):
    """One number an edge, ``source * N + destination``."""
    src, dst = arrays["edge_index"].astype(np.int64)
    return src * len(arrays["y"]) + dst


def degrees(arrays):
    return np.bincount(arrays["edge_index"][1], minlength=len(arrays["y"]))


def same_class(arrays):
    src, dst = arrays["y"][arrays["edge_index"]]
    return float(np.mean(src == dst))


@st.composite
def arguments(draw):
    kind = draw(st.sampled_from(["sbm", "reddit", "directed"]))
    nodes = draw(st.integers(1, 40))
    pairs = nodes * (nodes - 1) // (1 if kind == "directed" else 2)
    edges = draw(st.one_of(st.integers(0, pairs), st.just(pairs)))
    classes = draw(st.integers(1, min(nodes, 6)))
    inside = draw(st.sampled_from([0, 0.5, 0.8, 1]))
    settings = f"nodes={nodes},edges={edges},classes={classes},inside={inside},features=3"
    return f"{kind},{settings},weights={draw(st.integers(0, 1))},seed={draw(st.integers(0, 99))}"


@given(argument=arguments(), rows=st.sampled_from([3, 4096]))
@settings(max_examples=150)
def test_a_graph_has_exactly_the_edges_asked_for(argument, rows):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "_ROWS", rows)
        arrays = synthetic.read(argument)
    plan = synthetic.recipe(argument)
    edge_index, number = arrays["edge_index"], keys(arrays)
    assert edge_index.shape == (2, plan.edges * (1 if plan.directed else 2))
    assert edge_index.size == 0 or (edge_index.min() >= 0 and edge_index.max() < plan.nodes)
    assert not (edge_index[0] == edge_index[1]).any()
    assert np.unique(number).size == number.size
    assert set(arrays["y"].tolist()) <= set(range(plan.classes))
    weight = arrays.get("edge_weight", np.ones(number.size, np.float32))
    assert ((weight >= 0.5) & (weight <= 1.5)).all()
    if not plan.directed:
        there, back = np.argsort(number), np.argsort(keys({**arrays, "edge_index": edge_index[::-1]}))
        assert np.array_equal(edge_index[:, there], edge_index[::-1, back])
        assert np.array_equal(weight[there], weight[back])


@given(argument=arguments())
@settings(max_examples=25)
def test_the_same_seed_makes_the_same_graph_and_another_seed_another(argument):
    first, again = synthetic.read(argument), synthetic.read(argument)
    other = synthetic.read(argument.rpartition("seed=")[0] + "seed=100")
    assert first.keys() == again.keys()
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["x"], other["x"])


@pytest.mark.parametrize("argument", ["sbm", f"{REDDIT},weights=1", "directed,weights=1", "sbm,degree=0"])
def test_on_disk_it_is_the_same_as_in_memory(argument, tmp_path, monkeypatch):
    monkeypatch.setattr(tiles, "_ROWS", 100)
    monkeypatch.setattr(synthetic, "_SLAB", 1000)
    synthetic.write_npy(argument, tmp_path / "graph")
    stored, made = read_npy(str(tmp_path / "graph")), synthetic.read(argument)
    assert stored.keys() == made.keys()
    for name, array in made.items():
        assert array.dtype == stored[name].dtype, name
        assert np.array_equal(array, stored[name]), name


def test_arrays_have_the_types_of_the_schema():
    arrays = synthetic.read("sbm,weights=1")
    types = {name: str(array.dtype) for name, array in arrays.items()}
    assert types == {
        "edge_index": "int32", "x": "float32", "edge_weight": "float32", "y": "int64",
        "train_mask": "bool", "val_mask": "bool", "test_mask": "bool", "is_symmetric": "bool",
    }  # fmt: skip


@pytest.mark.parametrize("spec", ["synthetic:sbm", f"synthetic:{REDDIT}", "synthetic:directed,weights=1"])
def test_it_loads_as_a_dataset_without_any_remark(spec):
    dataset = load(spec, undirected=False)
    assert dataset.notes == ()
    assert dataset.graph.is_symmetric == ("directed" not in spec)
    assert (dataset.graph.weight is None) == ("weights" not in spec)


def test_nodes_are_split_66_10_24():
    dataset = load("synthetic:sbm")
    assert [int(getattr(dataset, name).sum()) for name in MASKS] == [660, 100, 240]


def test_even_one_node_can_be_trained_on():
    dataset = load("synthetic:sbm,nodes=1,classes=1,degree=0")
    assert [int(getattr(dataset, name).sum()) for name in MASKS] == [1, 0, 0]


@pytest.mark.parametrize("inside", [0, 0.3, 1])
@pytest.mark.parametrize("kind", ["sbm", "directed"])
def test_the_share_inside_is_the_share_of_edges_between_equal_classes(kind, inside):
    arrays = synthetic.read(f"{kind},inside={inside},features=1")
    assert same_class(arrays) == pytest.approx(inside, abs=0.003)


def test_communities_without_room_leave_their_share_to_the_others():
    # 80 communities of one or two nodes: only pairs have an edge to offer.
    shares = [
        same_class(
            synthetic.read(f"reddit,nodes=100,classes=80,edges=20,inside=0.5,features=1,wrong=0,seed={seed}")
        )
        for seed in range(20)
    ]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.1)


def test_edges_that_do_not_fit_inside_go_outside():
    # Ten classes of ten nodes have 450 pairs inside.
    arrays = synthetic.read("sbm,nodes=100,classes=10,edges=1000,inside=1,features=1")
    assert same_class(arrays) == 0.45


def test_all_communities_are_about_equally_dense_for_their_size():
    arrays = synthetic.read("reddit,nodes=6000,classes=5,edges=120000,features=1,wrong=0")
    of_class = np.bincount(arrays["y"], degrees(arrays)) / np.bincount(arrays["y"])
    assert of_class.max() < 1.5 * of_class.min()


def test_degrees_follow_a_power_law_or_are_even():
    heavy, even = degrees(synthetic.read(REDDIT)), degrees(synthetic.read("sbm,nodes=2000,degree=40"))
    assert heavy.mean() == even.mean() == 40
    assert heavy.max() > 8 * np.median(heavy)
    assert even.max() < 2 * np.median(even)


def test_directed_edges_go_one_way_and_senders_are_not_the_receivers():
    arrays = synthetic.read("directed,nodes=2000")
    number, back = keys(arrays), keys({**arrays, "edge_index": arrays["edge_index"][::-1]})
    assert np.isin(number, back).mean() < 0.2
    sent = np.bincount(arrays["edge_index"][0], minlength=2000)
    assert abs(np.corrcoef(sent, degrees(arrays))[0, 1]) < 0.2


def test_both_directions_of_a_pair_are_equally_likely():
    # Between two classes one is always earlier in position: neither may always send.
    arrays = synthetic.read("directed,nodes=2000,classes=2,inside=0,features=1")
    src, _ = arrays["y"][arrays["edge_index"]]
    assert 0.4 < src.mean() < 0.6


def fitted_accuracy(features, arrays):
    """Test accuracy of a linear least-squares classifier."""
    train, test, y = arrays["train_mask"], arrays["test_mask"], arrays["y"]
    solution = np.linalg.lstsq(features[train], np.eye(7)[y[train]], rcond=None)[0]
    return np.mean((features[test] @ solution).argmax(1) == y[test])


def test_neighborhoods_tell_the_class_where_features_alone_do_not():
    arrays = synthetic.read(f"{REDDIT},spread=0.5")
    src, dst = arrays["edge_index"]
    near = np.zeros_like(arrays["x"])
    np.add.at(near, dst, arrays["x"][src])
    near /= degrees(arrays)[:, None]
    assert fitted_accuracy(arrays["x"], arrays) < 0.6
    assert fitted_accuracy(near, arrays) > 0.85


def test_mixed_and_wrong_are_shares_of_nodes():
    quiet = synthetic.read("sbm,nodes=20000,classes=4,degree=1,features=8,spread=1000")
    loud = synthetic.read("sbm,nodes=20000,classes=4,degree=1,features=8,spread=1000,mixed=0.5,wrong=0.1")
    assert np.mean(quiet["y"] != loud["y"]) == pytest.approx(0.1, abs=0.01)
    moved = np.abs(quiet["x"] - loud["x"]).max(1) > 1
    assert np.mean(moved) == pytest.approx(0.5, abs=0.02)


def test_where_hubs_are_joined_to_all_there_is_the_rest_of_the_edges_go_elsewhere():
    arrays = synthetic.read("reddit,nodes=400,classes=2,edges=20000,features=1")
    assert degrees(arrays).max() > 350
    assert degrees(arrays).mean() == 100


def test_a_nearly_crowded_tile_is_drawn_in_few_rounds(monkeypatch):
    rounds = []
    picked = tiles._picked
    monkeypatch.setattr(tiles, "_picked", lambda *given: rounds.append(0) or picked(*given))
    synthetic.read("reddit,nodes=600,classes=1,edges=53000,features=1")
    assert 0 < len(rounds) < 60


def test_no_two_nodes_share_their_noise_and_centers_are_drawn_apart(monkeypatch):
    monkeypatch.setattr(synthetic, "_SLAB", 1000)
    noise, moved = (synthetic.read(f"sbm,spread={spread},features=4") for spread in (0, 1))
    assert np.unique(noise["x"], axis=0).shape == (1000, 4)
    centers = (moved["x"] - noise["x"])[np.unique(noise["y"], return_index=True)[1]]
    assert np.abs(centers[:, None] - noise["x"]).max(2).min() > 1e-3


def test_little_is_held_beside_the_arrays():
    # NumPy reports what it allocates, so this is memory asked for, not a measurement of the machine.
    tracemalloc.start()
    try:
        arrays = synthetic.read("reddit,nodes=30000,edges=1500000,features=64")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * sum(array.nbytes for array in arrays.values())


def test_on_the_way_to_disk_the_graph_is_never_held(tmp_path, monkeypatch):
    monkeypatch.setattr(tiles, "_ROWS", 512)
    monkeypatch.setattr(synthetic, "_SLAB", 1 << 16)
    tracemalloc.start()
    try:
        synthetic.write_npy("reddit,nodes=30000,edges=1500000,features=128", tmp_path / "graph")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    stored = sum(path.stat().st_size for path in (tmp_path / "graph").iterdir())
    assert peak < stored / 4


def test_the_default_reddit_is_as_large_as_reddit():
    plan = synthetic.recipe("reddit")
    assert (plan.nodes, 2 * plan.edges, plan.features, plan.classes) == (233_000, 114_600_000, 602, 41)


def test_the_degree_asked_for_fixes_the_edges():
    assert synthetic.recipe("sbm,nodes=300,degree=7").edges == 1050
    assert synthetic.recipe("directed,nodes=300,degree=7").edges == 2100


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("", r"unknown synthetic graph ''; known: directed, reddit, sbm"),
        ("sbn", r"unknown synthetic graph 'sbn'; did you mean 'sbm'"),
        ("sbm,node=5", r"unknown key in synthetic:sbm,node=5: 'node'; did you mean 'nodes'"),
        ("sbm,power_law=1", r"unknown key in synthetic:sbm,power_law=1: 'power_law'"),
        ("sbm,", r"unknown key in synthetic:sbm,: ''"),
        ("sbm,nodes", r"nodes must be a whole number of at least 0, got ''"),
        ("sbm,nodes=ten", r"nodes must be a whole number of at least 0, got 'ten'"),
        ("sbm,nodes=2.5", r"nodes must be a whole number of at least 0, got '2.5'"),
        ("sbm,edges=-1", r"edges must be a whole number of at least 0, got '-1'"),
        ("sbm,degree=many", r"synthetic:sbm,degree=many: degree must be a number, got 'many'"),
        ("sbm,nodes=0", r"synthetic:sbm,nodes=0: nodes must be between 1 and 2147483647, got 0"),
        ("sbm,nodes=3000000000", r"nodes must be between 1 and 2147483647"),
        (f"sbm,edges={10**400}", r"edges must be between"),
        ("sbm,features=0", r"features must be between 1 and"),
        ("sbm,nodes=4,degree=1,classes=5", r"classes must be between 1 and 4, got 5"),
        ("sbm,inside=1.5", r"inside must be between 0 and 1, got 1.5"),
        ("sbm,spread=nan", r"spread must be between 0 and .*, got nan"),
        ("sbm,degree=inf", r"degree must be between 0 and .*, got inf"),
        ("sbm,weights=2", r"weights must be between 0 and 1, got 2"),
        ("sbm,nodes=4,classes=2,edges=7", r"7 edges do not fit 4 nodes, which have 6 pairs; lower"),
        ("directed,nodes=4,classes=2,edges=13", r"13 edges do not fit 4 nodes, which have 12 ordered pairs"),
        ("sbm,seed=1,seed=2", r"give a key once"),
        ("sbm,edges=5,degree=1", r"edges or degree, not both"),
        (
            "sbm,nodes=2000000000,degree=0,features=99999",
            r"the arrays need .* GiB, but there is .* of memory",
        ),
    ],
)
def test_a_wrong_argument_is_one_sentence(argument, message):
    with pytest.raises(InputError, match=message) as caught:
        synthetic.read(argument)
    assert "\n" not in str(caught.value)


def test_a_folder_that_exists_is_kept(tmp_path):
    (tmp_path / "graph").mkdir()
    with pytest.raises(InputError, match="exists"):
        synthetic.write_npy("sbm", tmp_path / "graph")
    synthetic.write_npy("sbm", tmp_path / "graph", overwrite=True)
    assert (tmp_path / "graph" / "edge_index.npy").is_file()


def test_a_disk_too_small_is_noticed_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(InputError, match=r"graph: the arrays need .* GiB of free disk; ask for fewer"):
        synthetic.write_npy("sbm", tmp_path / "graph")
    assert not list(tmp_path.iterdir())
