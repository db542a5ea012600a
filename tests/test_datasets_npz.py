"""Datasets from arrays on disk, bad ones above all; splits and normalization; digits."""

import pickle
import stat
import tempfile
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gcnsys.datasets import Dataset, load, loaders, npz
from gcnsys.datasets.dataset import Split
from gcnsys.datasets.normalize import default_for, normalized
from gcnsys.datasets.spec import short_name
from gcnsys.datasets.stamp import stamp
from gcnsys.errors import DamagedFileError, InputError
from gcnsys.graph import CSR
from gcnsys.testing.graphs import graphs, normal, seeds
from gcnsys.train import RunConfig
from gcnsys.train.source import default_partitioning

MASKS = ("train_mask", "val_mask", "test_mask")


def some_arrays(**changes):
    """Five nodes with everything a file may hold; None takes an array away."""
    arrays = {
        "edge_index": np.array([[0, 1, 2, 3], [1, 2, 3, 0]]),
        "x": np.arange(15, dtype=np.float32).reshape(5, 3) + 1,
        "y": np.array([0, 1, 2, 0, -1]),
        "train_mask": np.array([1, 1, 0, 0, 0], bool),
        "val_mask": np.array([0, 0, 1, 0, 0], bool),
        "test_mask": np.array([0, 0, 0, 1, 0], bool),
    }
    return {name: array for name, array in (arrays | changes).items() if array is not None}


def sparse_arrays(**changes):
    """The same with sparse features."""
    parts = {
        "x": None,
        "x_indptr": np.array([0, 2, 3, 3, 4, 5]),
        "x_indices": np.array([0, 2, 1, 2, 0]),
        "x_data": np.array([1, 2, 3, 4, 5], np.float32),
        "x_shape": np.array([5, 3]),
    }
    return some_arrays(**(parts | changes))


def dataset(**changes):
    return Dataset.from_arrays("five", some_arrays(**changes))


@pytest.fixture
def stored(tmp_path):
    """Writes arrays to an ``.npz`` file; gives its path."""

    def write(arrays):
        path = tmp_path / "five.npz"
        np.savez(path, **arrays)
        return path

    return write


def plainly(spec, **options):
    """A dataset as it is stored."""
    return load(str(spec), undirected=False, normalization="none", **options)


def same_csr(one, other):
    weights = one.weight is other.weight is None or torch.equal(one.weight, other.weight)
    same = torch.equal(one.indptr, other.indptr) and torch.equal(one.indices, other.indices)
    return same and weights and one.num_cols == other.num_cols


def same(one, other):
    """Whether two datasets hold the same, all but the name and the notes."""
    if isinstance(one.x, CSR) != isinstance(other.x, CSR):
        return False
    features = same_csr(one.x, other.x) if isinstance(one.x, CSR) else torch.equal(one.x, other.x)
    tensors = all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("y", *MASKS))
    flags = (one.graph.is_symmetric, one.num_classes) == (other.graph.is_symmetric, other.num_classes)
    return features and tensors and flags and same_csr(one.graph.adjacency, other.graph.adjacency)


# Written and read back.


@st.composite
def datasets(draw):
    graph, seed = draw(graphs(signed=True)), draw(seeds())
    rng = np.random.default_rng(seed)
    nodes = graph.num_nodes
    arrays = {"edge_index": graph.edge_index()}
    if graph.weight is not None:
        arrays["edge_weight"] = graph.weight
    x = normal(seed, nodes, 3).float().numpy()
    if draw(st.booleans()):
        x = sp.csr_array(x * (rng.random(x.shape) < 0.5))
        arrays |= {"x_indptr": x.indptr, "x_indices": x.indices, "x_data": x.data}
        arrays["x_shape"] = np.array(x.shape)
    else:
        arrays["x"] = x
    if draw(st.booleans()):
        arrays["y"] = rng.random((nodes, 4)) < 0.5
    else:
        arrays["y"] = rng.integers(0, min(nodes, 3), nodes)
    share = draw(st.sampled_from([1.0, 0.9]))
    return Dataset.from_arrays("drawn", arrays, Split(share, 1 - share, 0.0, seed=seed))


@settings(max_examples=30)
@given(datasets(), st.sampled_from(["drawn.npz", "drawn"]))
def test_a_dataset_that_is_saved_and_loaded_is_the_same(drawn, name):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        npz.save(drawn, path)
        assert same(drawn, plainly(f"npz:{path}" if path.suffix else f"npy:{path}"))


@pytest.mark.parametrize("name", ["five.npz", "five"])
def test_saving_leaves_nothing_but_what_was_asked_for(tmp_path, name):
    npz.save(dataset(), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["five.npz", "five"])
def test_what_exists_is_not_saved_over(tmp_path, name):
    npz.save(dataset(), tmp_path / name)
    with pytest.raises(InputError, match=r"exists; choose another"):
        npz.save(dataset(), tmp_path / name)


@pytest.mark.parametrize("name", ["five.npz", "five"])
def test_what_exists_is_replaced_when_that_is_asked_for(tmp_path, name):
    npz.save(dataset(), tmp_path / name)
    npz.save(dataset(y=np.array([1, 1, 1, 1, 1])), tmp_path / name, overwrite=True)
    assert plainly(tmp_path / name).y.tolist() == [1, 1, 1, 1, 1]


@pytest.mark.parametrize("name", ["five.npz", "five"])
def test_saving_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, name):
    npz.save(dataset(), tmp_path / name)

    def full(*_arguments, **_arrays):
        raise OSError("the disk is full")

    monkeypatch.setattr(np, "savez_compressed", full)
    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="the disk is full"):
        npz.save(dataset(y=np.array([1, 1, 1, 1, 1])), tmp_path / name, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert same(plainly(tmp_path / name), dataset())


def test_saved_files_may_be_read_by_others(tmp_path):
    npz.save(dataset(), tmp_path / "five.npz")
    npz.save(dataset(), tmp_path / "five")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o644}


def test_a_bare_path_is_understood(tmp_path):
    npz.save(dataset(), tmp_path / "five.npz")
    npz.save(dataset(), tmp_path / "five")
    assert same(plainly(tmp_path / "five.npz"), plainly(tmp_path / "five"))


def test_a_dataset_is_called_after_its_file(tmp_path):
    npz.save(dataset(), tmp_path / "five.npz")
    assert plainly(tmp_path / "five.npz").name == "five"


def test_a_name_for_folders_has_no_separators():
    assert short_name("pyg:Planetoid/Cora") == "pyg-Planetoid-Cora"


def test_large_arrays_of_a_folder_are_mapped_and_not_read(tmp_path):
    npz.save(dataset(x=np.ones((5, 1000), np.float32)), tmp_path / "wide")
    assert isinstance(npz.read_npy(str(tmp_path / "wide"))["x"], np.memmap)


def test_changing_a_mapped_array_does_not_change_its_file(tmp_path):
    npz.save(dataset(x=np.ones((5, 1000), np.float32)), tmp_path / "wide")
    plainly(tmp_path / "wide").x.zero_()
    assert plainly(tmp_path / "wide").x.eq(1).all()


# What is understood.


def test_sparse_features_stay_sparse():
    x = Dataset.from_arrays("five", sparse_arrays()).x
    assert isinstance(x, CSR)
    assert x.to_scipy().toarray().tolist() == [[1, 0, 2], [0, 3, 0], [0, 0, 0], [0, 0, 4], [5, 0, 0]]


def test_sparse_features_in_any_order_are_sorted_and_equal_places_added_up():
    arrays = sparse_arrays(x_indices=np.array([2, 2, 1, 2, 0]), x_indptr=np.array([0, 2, 4, 4, 4, 5]))
    x = Dataset.from_arrays("five", arrays).x
    assert x.indices.tolist() == [2, 1, 2, 0]
    assert x.weight.tolist() == [3, 3, 4, 5]
    assert x.indptr.tolist() == [0, 1, 3, 3, 3, 4]


def test_dense_features_come_first_where_a_file_has_both():
    arrays = sparse_arrays(x=some_arrays()["x"])
    assert isinstance(Dataset.from_arrays("five", arrays).x, torch.Tensor)


@pytest.mark.parametrize("dtype", ["f2", "f8", ">f4", "g", "u1", "i8", ">i4", "u4", "u8", "?"])
def test_numbers_of_any_type_become_float32_features(dtype):
    x = np.array([[0, 1], [1, 0], [1, 1], [0, 0], [1, 0]]).astype(dtype)
    found = dataset(x=x).x
    assert found.dtype == torch.float32
    assert found.tolist() == x.astype(float).tolist()


def test_arrays_that_may_not_be_written_are_copied():
    x = np.ones((5, 3), np.float32)
    x.flags.writeable = False
    dataset(x=x).x.zero_()
    assert x.all()


@pytest.mark.parametrize("dtype", ["i1", "i2", ">i8", "u2", "u8"])
def test_labels_of_any_integer_type_become_int64(dtype):
    y = np.array([0, 1, 2, 0, 1]).astype(dtype)
    found = dataset(y=y)
    assert (found.y.dtype, found.y.tolist(), found.num_classes) == (torch.int64, y.tolist(), 3)


def test_columns_of_zeros_and_ones_are_multilabel_targets():
    found = dataset(y=np.eye(5, 4, dtype=np.uint8))
    assert found.is_multilabel
    assert (found.num_classes, found.y.dtype) == (4, torch.bool)


def test_multilabel_targets_may_be_floats():
    assert dataset(y=np.eye(5, 4)).y.dtype == torch.bool


def test_a_node_without_a_label_is_in_no_mask():
    found = dataset(train_mask=np.array([1, 1, 0, 0, 1], bool))
    assert found.train_mask.tolist() == [True, True, False, False, False]


def test_isolated_nodes_are_kept():
    found = dataset()
    assert found.graph.num_nodes == 5
    assert found.graph.in_degree()[4] == found.graph.out_degree()[4] == 0


def test_self_loops_are_kept():
    found = dataset(edge_index=np.array([[0, 1], [0, 2]]))
    assert found.graph.loop_weight()[0] == 1


def test_a_graph_without_edges_is_noted():
    assert "the graph has no edges" in dataset(edge_index=np.zeros((2, 0), int)).notes


def test_duplicate_edges_are_kept_once_and_noted():
    found = dataset(edge_index=np.array([[0, 0, 0, 1], [1, 1, 1, 2]]))
    assert found.graph.num_edges == 2
    assert "2 duplicate edges were kept once" in found.notes


def test_duplicate_weighted_edges_are_added_up_and_noted():
    found = dataset(edge_index=np.array([[0, 0], [1, 1]]), edge_weight=np.array([1.0, 2.5]))
    assert found.graph.weight.tolist() == [3.5]
    assert "1 duplicate edges were added up" in found.notes


def test_edges_stored_one_way_are_made_undirected_and_that_is_noted(stored):
    found = load(f"npz:{stored(some_arrays())}", normalization="none")
    assert (found.graph.num_edges, found.graph.is_symmetric) == (8, True)
    assert any("stored one way (4) and made undirected (8)" in note for note in found.notes)


def test_directed_edges_stay_where_that_is_asked_for(stored):
    assert plainly(stored(some_arrays())).graph.num_edges == 4


def test_an_undirected_graph_needs_no_note(stored):
    both = np.array([[0, 1], [1, 0]])
    assert load(f"npz:{stored(some_arrays(edge_index=both))}", normalization="none").notes == ()


# Splits.


def test_a_stored_split_is_used():
    assert dataset().val_mask.tolist() == [False, False, True, False, False]


def without_masks(num_nodes=200, unlabelled=20):
    y = np.arange(num_nodes) % 7
    y[:unlabelled] = -1
    return {"edge_index": np.zeros((2, 0), int), "x": np.ones((num_nodes, 1), np.float32), "y": y}


def masks_of(found):
    return [getattr(found, name) for name in MASKS]


def test_a_missing_split_is_drawn_over_the_labelled_nodes():
    found = Dataset.from_arrays("many", without_masks(), Split(0.5, 0.3, 0.2))
    train, val, test = masks_of(found)
    assert [int(mask.sum()) for mask in (train, val, test)] == [90, 54, 36]
    assert torch.equal(train.int() + val.int() + test.int(), (found.y >= 0).int())


def test_a_split_need_not_use_every_node():
    found = Dataset.from_arrays("many", without_masks(), Split(0.1, 0.1, 0.1))
    assert [int(mask.sum()) for mask in masks_of(found)] == [18, 18, 18]


def test_the_drawn_split_is_noted_with_its_shares_and_seed():
    found = Dataset.from_arrays("many", without_masks(), Split(0.5, 0.3, 0.2, seed=7))
    assert any("0.5/0.3/0.2 with seed 7" in note for note in found.notes)


def test_one_seed_draws_one_split():
    first, again = (Dataset.from_arrays("many", without_masks(), Split(seed=3)) for _ in range(2))
    assert torch.equal(first.train_mask, again.train_mask)


def test_another_seed_draws_another_split():
    first, other = (Dataset.from_arrays("many", without_masks(), Split(seed=seed)) for seed in (3, 4))
    assert not torch.equal(first.train_mask, other.train_mask)


@pytest.mark.parametrize(
    "shares", [(0.0, 0.5, 0.5), (0.6, 0.6, 0.0), (0.5, -0.1, 0.5), (float("nan"), 0.1, 0.1)]
)
def test_shares_that_make_no_split_are_refused(shares):
    with pytest.raises(InputError, match="split shares must be positive and add up to at most 1, got"):
        Split(*shares)


def test_a_split_has_no_negative_seed():
    with pytest.raises(InputError, match="seed must be at least 0, got -1"):
        Split(seed=-1)


# Bad input: arrays.

WIDE = np.ones((5, 3), np.float32)
BAD_ARRAYS = {
    "no nodes": ({"y": np.zeros(0, int), "x": np.zeros((0, 3))}, "the graph has no nodes"),
    "no edges array": ({"edge_index": None}, "array 'edge_index' is missing; found test_mask,.*x, y"),
    "no labels": ({"y": None}, "array 'y' is missing"),
    "no features": ({"x": None}, "array 'x' is missing"),
    "edges of three": (
        {"edge_index": np.zeros((3, 4), int)},
        r"edge_index must have shape \[2, E\], got \[3, 4\]",
    ),
    "edges in rows": (
        {"edge_index": np.zeros((4, 2), int)},
        r"edge_index must have shape \[2, E\], got \[4, 2\]",
    ),
    "edges of fractions": (
        {"edge_index": np.ones((2, 2))},
        "edge_index must hold integers, got torch.float64",
    ),
    "edge to nowhere": ({"edge_index": np.array([[0], [5]])}, r"edge_index names node 5, outside 0\.\.4"),
    "edge from below": ({"edge_index": np.array([[-1], [2]])}, r"edge_index names node -1, outside 0\.\.4"),
    "edges of text": (
        {"edge_index": np.array([["a"], ["b"]])},
        "'edge_index' must hold numbers, got dtype <U1",
    ),
    "weights short": ({"edge_weight": np.ones(3)}, r"one entry for each of 4 edges, got shape \[3\]"),
    "weight NaN": ({"edge_weight": np.array([1, 1, np.nan, 1])}, "edge_weight holds.* NaN or infinite"),
    "weight infinite": ({"edge_weight": np.array([1, 1, np.inf, 1])}, "edge_weight holds.* NaN or infinite"),
    "not symmetric": (
        {"is_symmetric": np.array(True)},
        "is_symmetric is set but some edge has no counterpart",
    ),
    "two flags": ({"is_symmetric": np.array([True, True])}, r"is_symmetric must be one true or false.*\[2\]"),
    "feature NaN": ({"x": np.where(np.eye(5, 3, -2) > 0, np.nan, 1)}, r"feature x\[2, 0\] is nan; replace"),
    "feature infinite": (
        {"x": np.where(np.eye(5, 3) > 0, -np.inf, 1)},
        r"feature x\[0, 0\] is -inf; replace",
    ),
    "feature too large": ({"x": np.full((5, 1), 1e300)}, r"feature x\[0, 0\] is inf"),
    "features short": ({"x": WIDE[:4]}, r"x must have shape \[5, F\], got \[4, 3\]"),
    "features flat": ({"x": WIDE[:, 0]}, r"x must have shape \[5, F\], got \[5\]"),
    "no feature": ({"x": WIDE[:, :0]}, r"x must have shape \[5, F\], got \[5, 0\]"),
    "features complex": ({"x": WIDE * 1j}, "'x' must hold numbers, got dtype complex64"),
    "label below -1": ({"y": np.array([0, 1, -2, 0, 0])}, "label -2 at node 2 is below -1"),
    "label out of range": (
        {"y": np.array([0, 1, 2, 999, 0])},
        "label 999 at node 3 is out of range for 5 nodes",
    ),
    "no label": ({"y": np.full(5, -1)}, "no node has a label; y is -1 everywhere"),
    "float labels": ({"y": np.array([0.0, 1, 1, 0, 1])}, "labels y must be integers, got torch.float64"),
    "labels of text": ({"y": np.array(list("abcde"))}, "'y' must hold numbers, got dtype <U1"),
    "labels cubed": (
        {"y": np.zeros((5, 2, 2), int)},
        r"y must have shape \[N\] or \[N, C\], got \[5, 2, 2\]",
    ),
    "multilabel of twos": ({"y": np.full((5, 2), 2)}, "multilabel targets y must be 0 or 1"),
    "multilabel NaN": ({"y": np.full((5, 2), np.nan)}, "multilabel targets y must be 0 or 1"),
    "multilabel empty": ({"y": np.zeros((5, 0), int)}, "multilabel targets y need a column a class"),
    "two masks": ({"val_mask": None}, "val_mask missing beside train_mask, test_mask; give all or none"),
    "one mask": (
        {"val_mask": None, "train_mask": None},
        "train_mask, val_mask missing beside test_mask; give all or none",
    ),
    "mask short": ({"test_mask": np.ones(3, bool)}, r"test_mask must have shape \[5\], got \[3\]"),
    "masks in columns": (
        {"test_mask": np.ones((5, 1), bool)},
        r"test_mask must have shape \[5\], got \[5, 1\]",
    ),
    "empty training": (
        {"train_mask": np.zeros(5, bool)},
        "train_mask selects no labelled node; nothing can be",
    ),
    "training unlabelled": (
        {"train_mask": np.eye(1, 5, 4, dtype=bool)[0]},
        "train_mask selects no labelled node",
    ),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_bad_arrays_are_refused_with_one_sentence(stored, name):
    changes, message = BAD_ARRAYS[name]
    path = stored(some_arrays(**changes))
    with pytest.raises(InputError, match=f"^five: .*{message}") as caught:
        load(f"npz:{path}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("first", "second"), list(combinations(MASKS, 2)))
def test_masks_that_overlap_are_refused(first, second):
    arrays = some_arrays()
    arrays[second] = arrays[second] | arrays[first]
    share = int(arrays[first].sum())
    message = rf"{first} and {second} share {share} nodes, the first is \d; masks must not overlap"
    with pytest.raises(InputError, match=message):
        Dataset.from_arrays("five", arrays)


def test_masks_may_overlap_in_nodes_without_a_label():
    only_last = np.eye(1, 5, 4, dtype=bool)[0]
    arrays = some_arrays()
    for name in MASKS:
        arrays[name] = arrays[name] | only_last
    assert same(Dataset.from_arrays("five", arrays), dataset())


BAD_SPARSE = {
    "no shape": ({"x_shape": None}, "array 'x_shape' is missing"),
    "no columns": ({"x_indices": None}, "array 'x_indices' is missing"),
    "no values": ({"x_data": None}, "array 'x_data' is missing"),
    "other shape": ({"x_shape": np.array([4, 3])}, r"x_shape must be \[5, F\], got \[4, 3\]"),
    "no width": ({"x_shape": np.array([5, 0])}, r"x_shape must be \[5, F\], got \[5, 0\]"),
    "one size": ({"x_shape": np.array(5)}, r"x_shape must be \[5, F\], got \[5\]"),
    "shape of text": ({"x_shape": np.array(["5", "3"])}, "'x_shape' must hold numbers"),
    "too few offsets": ({"x_indptr": np.array([0, 2, 3, 5])}, "x_indptr must have 6 entries, got 4"),
    "offsets of fractions": (
        {"x_indptr": np.arange(6) / 1},
        "x_indptr must be a row of integers, got torch.float64",
    ),
    "offsets in a column": (
        {"x_indptr": np.array([[0, 2, 3], [3, 4, 5]])},
        r"x_indptr must be a row.*\[2, 3\]",
    ),
    "columns of fractions": ({"x_indices": np.ones(5)}, "x_indices must be a row of integers"),
    "offsets that decrease": (
        {"x_indptr": np.array([0, 3, 2, 3, 4, 5])},
        "sparse features x: row offsets decrease",
    ),
    "offsets that end early": (
        {"x_indptr": np.array([0, 2, 3, 3, 4, 4])},
        "row offsets must run from 0 to 5",
    ),
    "column too large": (
        {"x_indices": np.array([0, 2, 1, 3, 0])},
        r"an entry names column 3, outside 0\.\.2",
    ),
    "column below 0": (
        {"x_indices": np.array([0, 2, 1, -1, 0])},
        r"an entry names column -1, outside 0\.\.2",
    ),
    "too few values": ({"x_data": np.ones(4)}, r"5 entries need as many values, got shape \[4\]"),
    "NaN": ({"x_data": np.array([1, 2, np.nan, 4, 5])}, "sparse features x: a value is NaN or infinite"),
    "infinite": ({"x_data": np.array([1, 2, np.inf, 4, 5])}, "sparse features x: a value is NaN or infinite"),
}


@pytest.mark.parametrize("name", BAD_SPARSE)
def test_bad_sparse_features_are_refused_with_one_sentence(name):
    changes, message = BAD_SPARSE[name]
    with pytest.raises(InputError, match=f"^five: .*{message}"):
        Dataset.from_arrays("five", sparse_arrays(**changes))


# Bad input: files.


def test_a_truncated_archive_is_refused_at_any_length(stored):
    path = stored(some_arrays())
    whole = path.read_bytes()
    for length in [0, 1, 3, 30, *range(100, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedFileError, match=r"five\.npz: not .*copy or make it again"):
            load(f"npz:{path}")


def test_an_altered_archive_is_refused_or_still_says_the_same(stored):
    path = stored(some_arrays())
    whole, good = path.read_bytes(), plainly(path)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        altered = bytearray(whole)
        altered[rng.integers(len(whole))] ^= int(rng.integers(1, 256))
        path.write_bytes(altered)
        try:
            assert same(plainly(path), good)
        except InputError:
            refused += 1
    assert refused > 150


@pytest.mark.parametrize("length", [0, 5, 60, 200, 5000])
def test_a_truncated_file_of_a_folder_is_refused(tmp_path, length):
    npz.save(dataset(x=np.ones((5, 1000), np.float32)), tmp_path / "wide")
    path = tmp_path / "wide" / "x.npy"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedFileError, match=r"x\.npy: not a whole"):
        load(f"npy:{tmp_path / 'wide'}")


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("form", ["npz", "npy", "long npy"])
def test_pickled_content_is_refused_and_never_run(tmp_path, form):
    touched = tmp_path / "touched"
    objects = np.array([Trap(touched)] * (2000 if form == "long npy" else 5), object)
    if form == "npz":
        np.savez(tmp_path / "trap.npz", **some_arrays(x=objects))
        spec = f"npz:{tmp_path / 'trap.npz'}"
    else:
        npz.save(dataset(), tmp_path / "trap")
        np.save(tmp_path / "trap" / "x.npy", objects, allow_pickle=True)
        spec = f"npy:{tmp_path / 'trap'}"
    with pytest.raises(InputError, match="holds pickled Python objects, which are never loaded"):
        load(spec)
    assert not touched.exists()


def test_a_pickle_by_the_name_of_an_archive_is_refused(tmp_path):
    touched, path = tmp_path / "touched", tmp_path / "trap.npz"
    path.write_bytes(pickle.dumps(Trap(touched)))
    with pytest.raises(DamagedFileError, match=r"not an \.npz archive"):
        load(f"npz:{path}")
    assert not touched.exists()


def test_text_by_the_name_of_an_archive_is_refused(tmp_path):
    path = tmp_path / "words.npz"
    path.write_text("these are words")
    with pytest.raises(DamagedFileError, match=r"words\.npz: not an \.npz archive"):
        load(f"npz:{path}")


def test_a_single_array_by_the_name_of_an_archive_is_refused(tmp_path):
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(InputError, match=r"one\.npz: a single array, not an \.npz archive"):
        load(f"npz:{tmp_path / 'one.npz'}")


def test_an_archive_by_the_name_of_an_array_is_refused(tmp_path):
    npz.save(dataset(), tmp_path / "five")
    with (tmp_path / "five" / "x.npy").open("wb") as file:
        np.savez(file, **some_arrays())
    with pytest.raises(InputError, match=r"x\.npy: not a whole array file"):
        load(f"npy:{tmp_path / 'five'}")


def test_an_archive_with_other_names_says_what_it_found(stored):
    with pytest.raises(InputError, match="array 'y' is missing; found none"):
        load(f"npz:{stored({'adj_data': np.ones(3)})}")


def test_a_folder_with_the_name_of_an_archive_is_pointed_to_npy(tmp_path):
    with pytest.raises(InputError, match=rf"for a folder of \.npy files use npy:{tmp_path}"):
        load(f"npz:{tmp_path}")


def test_an_archive_with_the_name_of_a_folder_is_pointed_to_npz(stored):
    path = stored(some_arrays())
    with pytest.raises(InputError, match=f"takes a folder.*for one archive use npz:{path}"):
        load(f"npy:{path}")


@pytest.mark.parametrize("spec", ["npz:no/such.npz", "npy:no/such", "no/such.npz"])
def test_a_missing_file_is_named(spec):
    with pytest.raises(InputError, match=r"no/such.*: no such file or folder; give a dataset as np[yz]:"):
        load(spec)


@pytest.mark.parametrize("spec", ["npz:", "npz", "npy:"])
def test_a_missing_path_is_asked_for(spec):
    with pytest.raises(InputError, match=r"np[yz]:[A-Z]+: no such file or folder; give a dataset as np[yz]:"):
        load(spec)


@pytest.mark.parametrize(
    ("spec", "near"), [("digit", "digits"), ("npzz:a.npz", "npz"), ("synthetics", "synthetic")]
)
def test_an_unknown_dataset_is_answered_with_the_nearest_name(spec, near):
    with pytest.raises(InputError, match=f"unknown dataset '[a-z]+'; did you mean '{near}'"):
        load(spec)


@pytest.mark.parametrize("spec", ["", ":cora"])
def test_a_dataset_without_a_name_is_refused(spec):
    with pytest.raises(InputError, match=r"a dataset is name\[:argument\], got .*known: .*digits"):
        load(spec)


# Normalization.


def test_rows_are_divided_by_their_sums():
    x = normalized(dataset(x=np.array([[1, 3], [0, 0], [2, 2], [0, 5], [1, 0]])), "row").x
    assert x.tolist() == [[0.25, 0.75], [0, 0], [0.5, 0.5], [0, 1], [1, 0]]


def test_negative_features_count_by_their_absolute_value():
    x = normalized(dataset(x=np.array([[1, -3], [0, 0], [2, 2], [0, -5], [1, 0]])), "row").x
    assert x.tolist() == [[0.25, -0.75], [0, 0], [0.5, 0.5], [0, -1], [1, 0]]


def test_sparse_rows_are_divided_as_dense_ones_are():
    found = Dataset.from_arrays("five", sparse_arrays(x_data=np.array([0.1, 0.2, 0.3, -4, 5])))
    sparse, full = normalized(found, "row").x, found.x.to_scipy().toarray()
    dense = normalized(dataset(x=full), "row").x
    assert isinstance(sparse, CSR)
    np.testing.assert_allclose(sparse.to_scipy().toarray(), dense.numpy(), rtol=1e-6)


def test_a_sparse_row_of_stored_zeros_stays_zero():
    arrays = sparse_arrays(x_data=np.array([0, 0, 3, 4, 5]))
    x = normalized(Dataset.from_arrays("five", arrays), "row").x
    assert x.weight.tolist() == [0, 0, 1, 1, 1]


def test_standard_features_have_mean_0_and_deviation_1_over_the_training_nodes():
    three = np.array([1, 1, 0, 0, 1], bool)
    found = dataset(x=normal(0, 5, 4).numpy() * 3 + 10, train_mask=three, y=np.zeros(5, int))
    train = normalized(found, "standard").x[found.train_mask].double()
    np.testing.assert_allclose(train.mean(0).numpy(), 0, atol=1e-6)
    np.testing.assert_allclose(train.std(0, unbiased=False).numpy(), 1, rtol=1e-5)


def test_other_nodes_are_moved_as_the_training_nodes_are():
    found = dataset(x=np.array([[0.0], [2], [5], [1], [-3]]))  # nodes 0 and 1 train: mean 1, deviation 1
    assert normalized(found, "standard").x.flatten().tolist() == [-1, 1, 4, 0, -4]


def test_a_constant_column_becomes_zero_and_stays_finite():
    assert normalized(dataset(x=np.full((5, 1), 7.0)), "standard").x.tolist() == [[0.0]] * 5


def test_none_changes_nothing():
    found = dataset()
    assert normalized(found, "none") is found


@pytest.mark.parametrize("how", ["row", "standard"])
def test_normalization_is_noted(how):
    assert normalized(dataset(), how).notes[-1].startswith("features: ")


def test_sparse_features_are_not_standardized():
    with pytest.raises(InputError, match="would fill sparse features in; use --normalize row or none"):
        normalized(Dataset.from_arrays("five", sparse_arrays()), "standard")


def test_an_unknown_normalization_is_answered_with_the_nearest_one():
    with pytest.raises(InputError, match="unknown normalization 'rows'; did you mean 'row'"):
        normalized(dataset(), "rows")


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("cora", "row"),
        ("pyg-Planetoid-Cora", "row"),
        ("citeseer", "row"),
        ("PubMed", "row"),
        ("dgl-yelp", "standard"),
        ("digits", "none"),
        ("coauthor_cs", "none"),
        ("ogb-ogbn-products", "none"),
    ],
)
def test_each_dataset_has_its_published_normalization(name, how):
    assert default_for(name) == how


def test_a_dataset_is_normalized_as_published_by_default(tmp_path):
    npz.save(dataset(), tmp_path / "cora.npz")
    npz.save(dataset(), tmp_path / "other.npz")
    np.testing.assert_allclose(load(f"npz:{tmp_path / 'cora.npz'}").x.sum(1).numpy(), 1, rtol=1e-6)
    assert torch.equal(load(f"npz:{tmp_path / 'other.npz'}").x, dataset().x)


# Real graphs.

# nodes, stored pairs, symmetric, pairs both ways without loops, features, classes, labelled, split
REAL = {
    "cora": (2_708, 10_556, True, 10_556, 1_433, 7, 2_708, [140, 500, 1000]),
    "citeseer": (3_327, 9_104, True, 9_104, 3_703, 6, 3_312, [120, 500, 1000]),
    "amazon_photo": (7_650, 143_663, False, 238_162, 745, 8, 7_650, None),
    "coauthor_cs": (18_333, 163_788, True, 163_788, 6_805, 15, 18_333, None),
    "tolokers": (11_758, 519_000, False, 1_038_000, 10, 2, 11_758, [5879, 2939, 2940]),
    "blogcatalog_attr": (5_196, 343_486, True, 343_486, 8_189, 6, 5_196, None),
    "dblp_full": (17_716, 105_734, True, 105_734, 1_639, 4, 17_716, None),
    "facebook_pages": (22_470, 171_002, False, 341_646, 4_714, 4, 22_470, None),
}


@pytest.fixture(scope="module", params=REAL)
def real(request, data_folder):
    path = data_folder / f"{request.param}.npz"
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    return plainly(path), REAL[request.param]


def test_a_real_graph_has_the_published_counts(real):
    found, (nodes, stored_pairs, symmetric, both_ways, features, classes, labelled, _) = real
    assert (found.graph.num_nodes, found.num_features) == (nodes, features)
    assert found.y[found.y >= 0].unique().numel() == classes
    assert (found.graph.num_edges, found.graph.is_symmetric) == (stored_pairs, symmetric)
    assert found.graph.symmetrized().without_self_loops().num_edges == both_ways
    assert int((found.y >= 0).sum()) == labelled


def test_a_real_graph_has_the_published_split_or_a_drawn_one(real):
    found, (*_, labelled, split) = real
    sizes = [int(mask.sum()) for mask in masks_of(found)]
    if split is None:
        assert sum(sizes) == labelled
        assert any("no split is stored" in note for note in found.notes)
    else:
        assert sizes == split


def test_word_counts_of_a_real_graph_stay_sparse(real):
    found, (*_, features, _, _, _) = real
    assert isinstance(found.x, CSR) == (features > 10)


# Digits.


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def test_digits_are_the_published_images(digits):
    assert digits.x.shape == (1797, 64)
    assert (float(digits.x.min()), float(digits.x.max())) == (0, 1)
    assert torch.bincount(digits.y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_are_joined_to_their_nearest_neighbours_both_ways(digits):
    # Of 1,797 images; the distance to the eighth nearest other one bounds who must be a neighbour.
    x = digits.x.double()
    distance = torch.cdist(x, x).fill_diagonal_(torch.inf)
    eighth = distance.kthvalue(8, dim=1).values
    near = distance < eighth[:, None] - 1e-9
    joined = torch.zeros_like(near)
    src, dst = digits.graph.edge_index().long()
    joined[dst, src] = True
    within = distance <= torch.maximum(eighth[:, None], eighth[None, :]) + 1e-9
    assert digits.graph.is_symmetric
    assert bool((joined | ~near).all())
    assert bool((within | ~joined).all())


def test_digits_take_the_number_of_neighbours():
    assert load("digits:1").graph.num_edges < load("digits:3").graph.num_edges


@pytest.mark.parametrize("argument", ["0", "101", "-1", "many", "8.0", "²"])
def test_digits_refuse_other_arguments(argument):
    with pytest.raises(InputError, match="the argument is the number of neighbours, 1 to 100"):
        load(f"digits:{argument}")


def test_an_array_that_memory_cannot_hold_is_no_damage(tmp_path, monkeypatch):
    np.savez(tmp_path / "g.npz", **some_arrays())

    def full(*_, **__):
        raise MemoryError("Unable to allocate 95 GiB")

    monkeypatch.setattr("gcnsys.datasets.npz.np.lib.format.read_array", full)
    with pytest.raises(InputError, match="does not fit into this machine's memory; convert it") as caught:
        load(f"npz:{tmp_path / 'g.npz'}")
    assert not isinstance(caught.value, DamagedFileError)


def test_a_plugin_tells_when_its_data_change(monkeypatch):
    def loader(_):
        return some_arrays()

    monkeypatch.setitem(loaders._builtin, "mine", loader)
    assert stamp("mine:a") is None
    loader.stamp = lambda argument: [argument, 7]
    assert stamp("mine:a") == [["a", 7]]
    assert stamp("digits") == stamp("synthetic:sbm") == []


def test_data_of_other_packages_are_those_of_their_folder(monkeypatch, tmp_path):
    found = []
    for name in ("one", "other"):
        monkeypatch.setenv("GCNSYS_DATA_ROOT", str(tmp_path / name))
        found.append(default_partitioning(RunConfig.checked({"data": "ogb:ogbn-arxiv"})))
    assert found[0] != found[1]
