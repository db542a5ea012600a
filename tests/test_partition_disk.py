"""Partitionings on disk: the parts that memory holds, whole or not there, and no damage unnoticed."""

import dataclasses
import fcntl
import json
import os
import shutil
import stat
import tempfile
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gcnsys import files
from gcnsys.datasets import Dataset
from gcnsys.errors import DamagedFileError, InputError
from gcnsys.graph import toy
from gcnsys.kernels import SparseRows
from gcnsys.manifest import NAME, SEAL
from gcnsys.partition import Cutting, Partitioning, build
from gcnsys.partition.local import cut_dataset
from gcnsys.testing.graphs import assignments, graphs, normal, seeds

build_module = import_module("gcnsys.partition.build")  # the package has a function of this name


def dataset_on(graph, seed=0, *, sparse=False, multilabel=False):
    """A graph with Gaussian features, random labels and random masks."""
    rng = np.random.default_rng(seed)
    nodes = graph.num_nodes
    arrays = {"edge_index": graph.edge_index(), "x": normal(seed, nodes, 3).float().numpy()}
    if graph.weight is not None:
        arrays["edge_weight"] = graph.weight
    if sparse:
        x = sp.csr_array(arrays.pop("x") * (rng.random((nodes, 3)) < 0.5))
        arrays |= {"x_indptr": x.indptr, "x_indices": x.indices, "x_data": x.data}
        arrays["x_shape"] = np.array(x.shape)
    arrays["y"] = rng.random((nodes, 4)) < 0.5 if multilabel else rng.integers(0, min(nodes, 4), nodes)
    of_mask = rng.integers(0, 3, nodes)
    of_mask[0] = 0
    for number, name in enumerate(("train_mask", "val_mask", "test_mask")):
        arrays[name] = of_mask == number
    return Dataset.from_arrays("drawn", arrays)


def same(one, other):
    """Whether two values are equal in everything they hold."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, SparseRows):
        return same((one.pattern, one.values), (other.pattern, other.values))
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if dataclasses.is_dataclass(one):
        names = [field.name for field in dataclasses.fields(one)]
        return all(same(getattr(one, name), getattr(other, name)) for name in names)
    return one == other


@st.composite
def cut_datasets(draw):
    graph = draw(graphs())
    made = dataset_on(graph, draw(seeds()), sparse=draw(st.booleans()), multilabel=draw(st.booleans()))
    num_parts = draw(st.integers(1, min(3, graph.num_nodes)))
    return made, draw(assignments(graph.num_nodes, num_parts)), num_parts


def built_by_hand(made, assignment, num_parts, folder, *, inductive=False, order="natural"):
    """A partitioning by a given assignment."""
    own = Path(folder) / "own.npy"
    np.save(own, assignment.numpy())
    cutting = Cutting(num_parts, method=f"file:{own}", inductive=inductive, order=order)
    return build(made, cutting, Path(folder) / "parts")


@settings(max_examples=25)
@given(cut_datasets(), st.booleans())
def test_parts_from_disk_are_those_from_memory(drawn, inductive):
    made, assignment, num_parts = drawn
    wanted = cut_dataset(made, assignment, num_parts, inductive=inductive)
    with tempfile.TemporaryDirectory() as folder:
        built_by_hand(made, assignment, num_parts, folder, inductive=inductive)
        opened = Partitioning.open(Path(folder) / "parts")
        assert opened.num_parts == num_parts
        for rank, want in enumerate(wanted):
            assert same(opened.part(rank), want)
            assert torch.equal(opened.inner_ids(rank), want.whole.inner_ids)


@settings(max_examples=15)
@given(cut_datasets(), st.booleans())
def test_the_manifest_says_what_the_parts_are(drawn, inductive):
    made, assignment, num_parts = drawn
    with tempfile.TemporaryDirectory() as folder:
        opened = built_by_hand(made, assignment, num_parts, folder, inductive=inductive)
        parts = [opened.part(rank) for rank in range(num_parts)]
        manifest = opened.manifest
        for part, summary in zip(parts, manifest.parts, strict=True):
            whole = part.whole
            assert (summary.inner, summary.halo) == (whole.num_inner, whole.num_halo)
            assert (summary.inner_edges, summary.halo_edges) == (whole.inner.num_edges, whole.halo.num_edges)
            assert summary.boundary == whole.plan.send_rows.numel()
            assert summary.sends == list(whole.plan.send_counts)
            assert summary.train_sends == list(part.training.plan.send_counts)
            masks = part.nodes.train_mask, part.nodes.val_mask, part.nodes.test_mask
            assert [summary.train, summary.val, summary.test] == [int(mask.sum()) for mask in masks]
        src, dst = made.graph.edge_index().long()
        crossing = int((assignment[src] != assignment[dst]).sum())
        assert manifest.edge_cut == (crossing // 2 if made.graph.is_symmetric else crossing)
        assert manifest.volume == sum(part.whole.num_halo for part in parts)
        assert (manifest.num_nodes, manifest.num_edges) == (made.graph.num_nodes, made.graph.num_edges)
        assert manifest.num_train == int(made.train_mask.sum())


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """A small partitioning with everything in it: weights, sparse features, a training graph."""
    edges = toy.grid(4, 3).edge_index()
    keep = torch.arange(edges.shape[1]) % 5 > 0
    weight = normal(1, int(keep.sum())).abs() + 0.1
    graph = type(toy.grid()).from_edge_index(edges[:, keep], num_nodes=12, weight=weight)
    folder = tmp_path_factory.mktemp("pristine") / "parts"
    return build(dataset_on(graph, sparse=True), Cutting(2, "random", inductive=True), folder).folder


@pytest.fixture
def parts(pristine, tmp_path):
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(pristine, tmp_path / "parts"))


def findings(folder):
    """What opening and verifying a partitioning complain about."""
    try:
        return [wrong for _, wrong in Partitioning.open(folder).verify() if wrong]
    except DamagedFileError as error:
        return [str(error)]


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


# Damage.


def test_what_was_just_built_is_whole(parts):
    checked = dict(Partitioning.open(parts).verify())
    assert set(checked.values()) == {None}
    assert set(checked) == {str(path.relative_to(parts)) for path in files_of(parts)} - {NAME, SEAL}


def test_every_one_of_500_altered_bytes_is_found(parts):
    rng = np.random.default_rng(2024)
    paths = files_of(parts)
    for _ in range(500):
        path = paths[rng.integers(len(paths))]
        whole = path.read_bytes()
        at, by = int(rng.integers(len(whole))), int(rng.integers(1, 256))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ by]) + whole[at + 1 :])
        assert findings(parts), f"{path.name}: byte {at} altered by {by}"
        path.write_bytes(whole)
    assert not findings(parts)


def test_an_altered_array_is_named(parts):
    path = parts / "part-00001" / "nodes.safetensors"
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    content[start + header["val_mask"]["data_offsets"][0]] ^= 1
    path.write_bytes(content)
    (wrong,) = findings(parts)
    assert wrong == f"{path}: altered since it was written (array val_mask); build the partitioning again"


def test_an_altered_header_is_said_to_be_one(parts):
    path = parts / "part-00000" / "graph.safetensors"
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"halo_ids"', b'"hallo_id"'))
    (wrong,) = findings(parts)
    assert "altered since it was written (array halo_ids)" in wrong


def test_a_header_that_cannot_be_read_is_said_so(parts):
    path = parts / "part-00000" / "graph.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:8] + b"?" + content[9:])
    (wrong,) = findings(parts)
    assert "altered since it was written (its header cannot be read)" in wrong


@pytest.mark.parametrize("name", ["graph", "exchange", "nodes"])
@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_truncated_file_is_found_by_opening_and_by_verifying(parts, name, length):
    path = parts / "part-00000" / f"{name}.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedFileError, match=f"{name}.safetensors: missing or not of the size"):
        Partitioning.open(parts).part(0)
    (wrong,) = findings(parts)
    assert f"{name}.safetensors: {path.stat().st_size} bytes where " in wrong


@pytest.mark.parametrize("name", [NAME, SEAL])
@pytest.mark.parametrize("length", [0, 10, -1])
def test_a_truncated_manifest_is_found(parts, name, length):
    path = parts / name
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedFileError, match=f"{NAME} or {SEAL} was altered; build the partitioning again"):
        Partitioning.open(parts)


@pytest.mark.parametrize("name", ["graph", "exchange", "nodes"])
def test_a_missing_file_is_found_by_opening_and_by_verifying(parts, name):
    (parts / "part-00001" / f"{name}.safetensors").unlink()
    with pytest.raises(
        DamagedFileError, match=rf"{name}.safetensors: missing .*gcnsys partition verify {parts}"
    ):
        Partitioning.open(parts).part(1)
    (wrong,) = findings(parts)
    assert wrong.endswith(f"{name}.safetensors: the file is missing; build the partitioning again")


@pytest.mark.parametrize("name", [NAME, SEAL])
def test_without_its_manifest_it_is_not_a_partitioning(parts, name):
    (parts / name).unlink()
    with pytest.raises(DamagedFileError, match=f"not a partitioning .{name} cannot be read.*partition build"):
        Partitioning.open(parts)


@pytest.mark.parametrize("place", ["more.txt", "part-00000/.graph.tmp", "part-00002/graph.safetensors"])
def test_an_extra_file_is_found(parts, place):
    (parts / place).parent.mkdir(exist_ok=True)
    (parts / place).write_text("not ours")
    assert findings(parts) == [f"{parts / place}: not part of this partitioning; remove it"]


def test_a_part_that_is_not_there_is_refused(parts):
    with pytest.raises(DamagedFileError, match=r"part-00002/graph\.safetensors: missing"):
        Partitioning.open(parts).part(2)


def test_a_file_of_another_part_is_not_taken(parts):
    shutil.copy(parts / "part-00000" / "exchange.safetensors", parts / "part-00001" / "exchange.safetensors")
    assert any("part-00001/exchange.safetensors" in wrong for wrong in findings(parts))


def test_an_array_of_another_type_is_found_by_opening(parts):
    path = parts / "part-00000" / "graph.safetensors"
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"dtype":"F64"', b'"dtype":"I64"', 1))
    with pytest.raises(DamagedFileError, match=r"array '\w+' is not as the manifest says; look with"):
        Partitioning.open(parts).part(0)


def resealed(folder, change):
    """Replace the manifest by a changed one whose seal is right."""
    content = change(json.loads((folder / NAME).read_text()))
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / NAME).write_text(text)
    (folder / SEAL).write_text(files.sha256(folder / NAME) + "\n")


def without(about, name):
    return {key: value for key, value in about.items() if key != name}


OTHER_MANIFESTS = {
    "another version": (lambda about: about | {"version": 2}, "version 2, this gcnsys reads .* version 1"),
    "another format": (
        lambda about: about | {"format": "other"},
        "format 'other' version 1, this gcnsys reads",
    ),
    "no version": (lambda about: without(about, "version"), "version None, this gcnsys reads"),
    "a missing field": (lambda about: without(about, "num_nodes"), "field num_nodes: Field required"),
    "a field of another type": (
        lambda about: about | {"num_parts": "two"},
        "field num_parts: Input should be",
    ),
    "an unknown field": (lambda about: about | {"more": 1}, "field more: Extra inputs are not permitted"),
    "no parts": (lambda about: about | {"num_parts": 0}, "field num_parts: .*greater than or equal to 1"),
    "no object": (lambda about: [about], "not JSON"),
    "no JSON": (lambda about: "{", "not JSON"),
}


@pytest.mark.parametrize("name", OTHER_MANIFESTS)
def test_a_manifest_is_refused_that_has(parts, name):
    change, message = OTHER_MANIFESTS[name]
    resealed(parts, change)
    with pytest.raises(DamagedFileError, match=f"{NAME}: .*{message}") as caught:
        Partitioning.open(parts)
    assert "\n" not in str(caught.value)


def test_resealing_alone_changes_nothing(parts):
    resealed(parts, lambda about: about)
    assert not findings(parts)


@pytest.mark.parametrize("kind", ["an empty folder", "no folder", "a file"])
def test_something_else_is_not_a_partitioning(tmp_path, kind):
    place = tmp_path / "place"
    if kind == "an empty folder":
        place.mkdir()
    elif kind == "a file":
        place.write_text("words")
    with pytest.raises(DamagedFileError, match=r"place: not a partitioning .*gcnsys partition build"):
        Partitioning.open(place)


# Building.


def small_dataset():
    return dataset_on(toy.grid(4, 3))


def test_a_part_needs_no_other_part(parts):
    shutil.rmtree(parts / "part-00001")
    assert Partitioning.open(parts).part(0).rank == 0


def test_sparse_features_stay_sparse_on_disk(parts):
    part = Partitioning.open(parts).part(0)
    assert isinstance(part.nodes.x, SparseRows)
    assert part.nodes.x.shape == (part.whole.num_inner, 3)


def test_equal_builds_have_equal_fingerprints(tmp_path):
    cutting = Cutting(3, "random", seed=1)
    first, again = (build(small_dataset(), cutting, tmp_path / name) for name in ("first", "again"))
    assert first.manifest.fingerprint == again.manifest.fingerprint


def test_other_assignments_have_other_fingerprints(tmp_path):
    made = [build(small_dataset(), Cutting(3, "random", seed=seed), tmp_path / f"{seed}") for seed in (1, 2)]
    assert made[0].manifest.fingerprint != made[1].manifest.fingerprint


def test_the_manifest_remembers_how_it_was_made(tmp_path):
    cutting = Cutting(2, "range", objective="cut", balance="edges", seed=5)
    made = build(small_dataset(), cutting, tmp_path / "parts", spec="npz:drawn.npz")
    manifest = Partitioning.open(tmp_path / "parts").manifest
    assert made.manifest == manifest
    assert (manifest.spec, manifest.normalization, manifest.mirrored) == ("npz:drawn.npz", "none", False)
    assert (manifest.method, manifest.objective, manifest.balance) == ("range", "cut", "edges")
    assert (manifest.seed, manifest.dataset, manifest.notes) == (5, "drawn", [])


@pytest.mark.parametrize(("inductive", "balance"), [(True, "train"), (False, "nodes")])
def test_inductive_cuts_are_balanced_on_training_nodes(tmp_path, inductive, balance):
    made = build(small_dataset(), Cutting(2, "range", inductive=inductive), tmp_path / "parts")
    assert made.manifest.balance == balance


def test_the_digest_of_a_graph_tells_weights_apart():
    graph = toy.house()
    pairs = graph.edge_index()
    weighted = type(graph).from_edge_index(pairs, num_nodes=5, weight=torch.ones(pairs.shape[1]))
    digests = {build_module.graph_digest(made) for made in (graph, weighted, toy.chain(), toy.loner())}
    assert len(digests) == 4


def test_the_digest_of_a_graph_sees_its_first_edge():
    made = [
        type(toy.house()).from_edge_index(torch.tensor([[first], [3]]), num_nodes=4) for first in range(3)
    ]
    assert len({build_module.graph_digest(graph) for graph in made}) == 3


def test_what_exists_is_not_built_over(tmp_path):
    build(small_dataset(), Cutting(2, "random"), tmp_path / "parts")
    before = {path: path.read_bytes() for path in files_of(tmp_path)}
    with pytest.raises(InputError, match=r"parts exists; choose another --out or pass --overwrite"):
        build(small_dataset(), Cutting(3, "random"), tmp_path / "parts")
    assert {path: path.read_bytes() for path in files_of(tmp_path)} == before


def test_what_exists_is_replaced_when_that_is_asked_for(tmp_path):
    build(small_dataset(), Cutting(3, "random"), tmp_path / "parts")
    build(small_dataset(), Cutting(2, "random"), tmp_path / "parts", overwrite=True)
    assert Partitioning.open(tmp_path / "parts").num_parts == 2
    assert not findings(tmp_path / "parts")
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]


def test_a_file_is_not_taken_for_a_folder_to_replace(tmp_path):
    (tmp_path / "parts").write_text("precious")
    with pytest.raises(InputError, match="parts is not a folder; choose another --out"):
        build(small_dataset(), Cutting(2, "random"), tmp_path / "parts", overwrite=True)
    assert (tmp_path / "parts").read_text() == "precious"


class Stop(BaseException):
    """Something that is not even an Exception, as an interrupt is."""


def stop_at(monkeypatch, module, name, call):
    """Raise at the given call of a function, counted from 0; do what it does before."""
    original, calls = getattr(module, name), []

    def wrapped(*arguments, **named):
        calls.append(None)
        if len(calls) > call:
            raise Stop
        return original(*arguments, **named)

    monkeypatch.setattr(module, name, wrapped)


STOPS = {
    "while it is cut": (build_module, "assign", 0),
    "before the first array": (build_module, "save_arrays", 0),
    "between two parts": (build_module, "save_arrays", 3),
    "while the manifest is flushed": (os, "fsync", 0),
    "while the folder is flushed": (files, "flush", 4),
    "before it is put in its place": (files, "_put_in_place", 0),
}


@pytest.mark.parametrize("when", STOPS)
def test_a_build_leaves_nothing_behind_that_stops(tmp_path, monkeypatch, when):
    stop_at(monkeypatch, *STOPS[when])
    with pytest.raises(Stop):
        build(small_dataset(), Cutting(2, "random"), tmp_path / "parts")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("when", STOPS)
def test_a_build_leaves_what_it_was_to_replace_that_stops(tmp_path, monkeypatch, when):
    build(small_dataset(), Cutting(3, "random"), tmp_path / "parts")
    stop_at(monkeypatch, *STOPS[when])
    with pytest.raises(Stop):
        build(small_dataset(), Cutting(2, "random"), tmp_path / "parts", overwrite=True)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]
    assert Partitioning.open(tmp_path / "parts").num_parts == 3
    assert not findings(tmp_path / "parts")


def test_a_folder_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    build(small_dataset(), Cutting(3, "random"), tmp_path / "parts")
    replace = os.replace

    def refuse(source, target):
        if Path(target).name == "parts" and str(source).endswith(".tmp"):
            raise PermissionError("no")
        replace(source, target)

    monkeypatch.setattr(files, "_exchange", lambda one, other: False)  # a system that does not know how
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError):
        build(small_dataset(), Cutting(2, "random"), tmp_path / "parts", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]
    assert not findings(tmp_path / "parts")


@pytest.mark.parametrize("known", [True, False])
def test_a_folder_is_replaced_at_once_or_in_two_steps(tmp_path, monkeypatch, known):
    build(small_dataset(), Cutting(3, "random"), tmp_path / "parts")
    if not known:
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    build(small_dataset(), Cutting(2, "random"), tmp_path / "parts", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]
    assert Partitioning.open(tmp_path / "parts").num_parts == 2


def test_what_a_killed_writer_left_goes_and_what_a_living_one_fills_stays(tmp_path):
    dead, busy, other = (f"{files._prefix(Path(name))}tmp" for name in ("parts", "parts", "other"))
    dead, busy = dead.replace(".tmp", ".dead.tmp"), busy.replace(".tmp", ".busy.tmp")
    for name in (dead, busy, other):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_bytes(b"half")
    handle = os.open(tmp_path / busy, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        build(small_dataset(), Cutting(2, "random"), tmp_path / "parts")
    finally:
        os.close(handle)
    assert {path.name for path in tmp_path.iterdir()} == {"parts", busy, other}


def test_bad_input_leaves_nothing_behind(tmp_path):
    with pytest.raises(InputError, match="more than the graph's 12 nodes"):
        build(small_dataset(), Cutting(13), tmp_path / "parts")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def private_umask():
    """New files of this process are nobody else's, unless it says otherwise."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("private_umask")
def test_a_partitioning_may_be_read_by_others(tmp_path):
    folder = build(small_dataset(), Cutting(2, "random"), tmp_path / "parts").folder
    modes = {stat.S_IMODE(path.stat().st_mode) for path in files_of(folder)}
    folders = [folder, *(path for path in folder.iterdir() if path.is_dir())]
    assert modes == {0o644}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o755}


# Single files.


def test_a_written_file_holds_its_content_and_nothing_is_beside_it(tmp_path):
    files.write(tmp_path / "new" / "file", b"content")
    assert [path.read_bytes() for path in (tmp_path / "new").iterdir()] == [b"content"]


def test_a_written_file_replaces_the_old_one(tmp_path):
    files.write(tmp_path / "file", b"a longer content")
    files.write(tmp_path / "file", b"short")
    assert (tmp_path / "file").read_bytes() == b"short"


@pytest.mark.usefixtures("private_umask")
def test_a_written_file_may_be_read_by_others(tmp_path):
    files.write(tmp_path / "file", b"content")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
def test_a_write_that_stops_leaves_the_old_file_alone(tmp_path, monkeypatch, step):
    files.write(tmp_path / "file", b"old")
    stop_at(monkeypatch, os, step, 0)
    with pytest.raises(Stop):
        files.write(tmp_path / "file", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]


def test_a_file_is_flushed_before_it_takes_its_name(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *given, of=original, name=name: (done.append(name), of(*given))[1]
        )
    files.write(tmp_path / "file", b"content")
    assert done == ["fsync", "replace", "fsync"]
    done.clear()
    (tmp_path / ".file.tmp").write_bytes(b"new")
    files.move_into_place(tmp_path / ".file.tmp", tmp_path / "file")
    assert done == ["fsync", "replace", "fsync"]


@pytest.mark.usefixtures("private_umask")
def test_a_file_that_moves_into_its_place_replaces_what_is_there(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / ".file.tmp").write_text("new")
    files.move_into_place(tmp_path / ".file.tmp", tmp_path / "file")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "new")]
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


def test_json_is_written_as_json(tmp_path):
    files.write_json(tmp_path / "file.json", {"a": [1, 2.5, None]})
    assert json.loads((tmp_path / "file.json").read_text()) == {"a": [1, 2.5, None]}


@pytest.mark.parametrize(
    "array",
    [np.zeros((0, 3)), np.array(True), np.arange(12).reshape(3, 4).T, np.array([[1.5]], np.float32)],
    ids=["empty", "scalar", "transposed", "single"],
)
def test_arrays_come_back_as_they_were(tmp_path, array):
    entry = files.save_arrays(tmp_path / "arrays", {"array": array})
    entry.check(tmp_path / "arrays", "arrays")
    back = files.load_arrays(tmp_path / "arrays", name="arrays")["array"].numpy()
    assert np.array_equal(back.reshape(array.shape), array)
    assert back.dtype == array.dtype


def test_a_missing_file_of_arrays_is_named(tmp_path):
    with pytest.raises(DamagedFileError, match="my arrays: the file is missing"):
        files.load_arrays(tmp_path / "none", name="my arrays")


def test_a_file_that_holds_no_arrays_is_named(tmp_path):
    (tmp_path / "words").write_text("these are words")
    with pytest.raises(DamagedFileError, match="my arrays: not a readable safetensors file"):
        files.load_arrays(tmp_path / "words", name="my arrays")


def test_where_a_link_leads_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "parts").symlink_to(tmp_path / "disk/parts")
    for parts in (2, 3):
        build(small_dataset(), Cutting(parts, "random"), tmp_path / "parts", overwrite=True)
        assert (tmp_path / "parts").is_symlink()
        assert Partitioning.open(tmp_path / "disk/parts").num_parts == parts
    assert {path.name for path in tmp_path.iterdir()} == {"disk", "parts"}
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["parts"]


def test_what_another_machine_writes_is_left_to_it_for_a_day(tmp_path):
    for name, age in (("new", 3600), ("old", 2 * 86_400)):
        (tmp_path / f".parts.elsewhere.{name}.tmp").mkdir()
        os.utime(tmp_path / f".parts.elsewhere.{name}.tmp", (time.time() - age,) * 2)
    build(small_dataset(), Cutting(2, "random"), tmp_path / "parts")
    assert {path.name for path in tmp_path.iterdir()} == {"parts", ".parts.elsewhere.new.tmp"}
