"""Graphs through OGB's, DGL's and PyG's own loaders, from small files in those packages' formats."""

import gzip
import hashlib
import importlib.util
import json
import os
import pickle
import re
import socket
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp

from gcnsys.datasets import load
from gcnsys.datasets.dgl import read as read_dgl
from gcnsys.datasets.foreign import data_root, foreign_code, labels
from gcnsys.datasets.ogb import read as read_ogb
from gcnsys.datasets.pyg import read as read_pyg
from gcnsys.errors import InputError, MissingPackageError


def needs(package):
    absent = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(absent, reason=f"the package {package} is not installed")


needs_ogb, needs_dgl, needs_pyg = needs("ogb"), needs("dgl"), needs("torch_geometric")

EDGES = np.array([[0, 1, 2, 3, 4, 0], [1, 2, 3, 4, 5, 5]])
X = (np.arange(18, dtype=np.float32).reshape(6, 3) - 5) / 4
Y = np.array([0, 1, 2, 0, 1, 2])
SPLIT = {"train": [0, 4], "valid": [1], "test": [2, 3, 5]}
WORD_COUNTS = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 1]], np.float32)


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """Where the loaders look for files; there is no network, and nobody to answer a question."""

    def unreachable(*_, **__):
        raise OSError("the network is switched off")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    monkeypatch.setenv("GCNSYS_DATA_ROOT", str(tmp_path / "root"))
    return tmp_path / "root"


def pairs(edge_index):
    return sorted(map(tuple, np.asarray(edge_index).T.tolist()))


def both_ways(edges=EDGES):
    return sorted({*pairs(edges), *pairs(edges[::-1])})


def adjacency(edges=EDGES):
    return sp.csr_matrix((np.ones(edges.shape[1]), (edges[0], edges[1])), shape=(6, 6))


def masks_of(arrays):
    return [np.flatnonzero(arrays[f"{name}_mask"]).tolist() for name in ("train", "val", "test")]


# OGB


def write_csv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        np.savetxt(file, np.asarray(rows), delimiter=",", fmt="%g")


def write_ogb(root, name="ogbn-arxiv", *, split="time", **raw):
    folder = root / name.replace("-", "_")
    for file, rows in {"edge": EDGES.T, "num-node-list": [6], "num-edge-list": [6], **raw}.items():
        write_csv(folder / "raw" / f"{file}.csv.gz", rows)
    for part, nodes in SPLIT.items():
        write_csv(folder / "split" / split / f"{part}.csv.gz", nodes)
    (folder / "RELEASE_v1.txt").touch()
    return folder


ARXIV = {"node-feat": X, "node-label": Y[:, None]}


@needs_ogb
def test_arxiv_keeps_its_edges_one_way(root):
    write_ogb(root, **ARXIV)
    arrays = read_ogb("ogbn-arxiv")
    assert pairs(arrays["edge_index"]) == pairs(EDGES)
    assert np.array_equal(arrays["x"], X)
    assert np.array_equal(arrays["y"], Y)
    assert masks_of(arrays) == list(SPLIT.values())


@needs_ogb
def test_an_ogb_name_loads_as_a_dataset(root):
    write_ogb(root, **ARXIV)
    dataset = load("ogb:ogbn-arxiv")
    assert (dataset.num_classes, dataset.graph.num_edges) == (3, len(both_ways()))
    assert load("ogb:ogbn-arxiv", undirected=False).graph.num_edges == 6


@needs_ogb
def test_products_have_edges_both_ways_as_ogb_hands_them_out(root):
    write_ogb(root, "ogbn-products", split="sales_ranking", **ARXIV)
    assert pairs(read_ogb("ogbn-products")["edge_index"]) == both_ways()


@needs_ogb
def test_proteins_get_the_mean_of_their_edges_features_and_several_labels(root):
    y = np.zeros((6, 112))
    y[2, 5] = y[2, 7] = 1
    feat = np.arange(12, dtype=float).reshape(6, 2) / 8
    write_ogb(root, "ogbn-proteins", split="species", **{"edge-feat": feat, "node-label": y})
    arrays = read_ogb("ogbn-proteins")
    touching = [np.any(node == EDGES, 0) for node in range(6)]
    assert np.allclose(arrays["x"], [feat[edges].mean(0) for edges in touching])
    assert load("ogb:ogbn-proteins").is_multilabel
    assert np.array_equal(arrays["y"], y)


@needs_ogb
def test_papers_without_a_label_get_minus_one(root):
    folder = write_ogb(root, "ogbn-papers100M")
    lists = {"num_nodes_list": [6], "num_edges_list": [6]}
    np.savez(folder / "raw" / "data.npz", edge_index=EDGES, node_feat=X, node_year=Y[:, None], **lists)
    y = np.where(Y == 2, np.nan, Y).astype(np.float32)[:, None]
    np.savez(folder / "raw" / "node-label.npz", node_label=y)
    arrays = read_ogb("ogbn-papers100M")
    assert arrays["y"].tolist() == [0, 1, -1, 0, 1, -1]
    assert arrays["y"].dtype == np.int64
    assert masks_of(load("ogb:ogbn-papers100M").to_arrays()) == [[0, 4], [1], [3]]


@needs_ogb
def test_what_ogb_has_pickled_is_neither_read_nor_written(root):
    folder = write_ogb(root, **ARXIV)
    (folder / "processed").mkdir()
    (folder / "processed" / "data_processed").write_bytes(b"not a pickle")
    before = sorted(root.rglob("*"))
    read_ogb("ogbn-arxiv")
    assert sorted(root.rglob("*")) == before


@needs_ogb
def test_another_release_of_an_ogb_graph_is_refused_without_asking(root):
    folder = write_ogb(root, **ARXIV)
    (folder / "RELEASE_v1.txt").unlink()
    with pytest.raises(InputError, match=r"ogbn_arxiv has no RELEASE_v1.txt: .*remove the folder"):
        read_ogb("ogbn-arxiv")


@needs_ogb
def test_an_ogb_folder_without_raw_files_is_refused(root):
    folder = write_ogb(root, **ARXIV)
    (folder / "raw" / "edge.csv.gz").unlink()
    with pytest.raises(InputError, match=r"ogbn_arxiv has no raw/edge.csv.gz"):
        read_ogb("ogbn-arxiv")


@needs_ogb
def test_damaged_ogb_files_are_one_sentence(root):
    folder = write_ogb(root, **ARXIV)
    (folder / "raw" / "node-label.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(InputError, match=r"^ogb:ogbn-arxiv: could not be read from .*gzip"):
        read_ogb("ogbn-arxiv")


@needs_ogb
@pytest.mark.parametrize("name", ["ogbn-arxif", "arxiv"])
def test_an_unknown_ogb_name_gets_the_nearest_known_one(name):
    with pytest.raises(InputError, match=r"did you mean 'ogbn-arxiv'"):
        read_ogb(name)


@needs_ogb
def test_an_ogb_graph_with_several_kinds_of_nodes_is_refused():
    with pytest.raises(InputError, match=r"one kind of node 'ogbn-mag'"):
        read_ogb("ogbn-mag")


@needs_ogb
def test_reading_ogb_data_starts_no_thread():
    code = (
        "import threading; threading.Thread.start = None\n"
        "from gcnsys.datasets.ogb import read\n"
        "try: read('ogbn-mag')\n"
        "except LookupError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ogbn-mag" in done.stdout, done.stderr


# DGL


def dgl_folder(root, name, file):
    """DGL names its folders by a hash of where it fetches the file."""
    url = f"https://data.dgl.ai/dataset/{file}.zip"
    folder = root / f"{name}_{hashlib.sha1(url.encode()).hexdigest()[:8]}"
    folder.mkdir(parents=True)
    return folder


def write_yelp(folder):
    y = np.zeros((6, 4), int)
    y[np.arange(6), Y] = y[3] = 1
    sp.save_npz(folder / "adj_full.npz", adjacency())
    np.save(folder / "feats.npy", X)
    (folder / "class_map.json").write_text(json.dumps({str(node): y[node].tolist() for node in range(6)}))
    (folder / "role.json").write_text(json.dumps(dict(zip(("tr", "va", "te"), SPLIT.values(), strict=True))))
    return y


def write_planetoid(folder, name):
    """A ring of 505 nodes: 3 for training, 500 for validation as the format has it, 2 for testing."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 2, (505, 4)).astype(np.float32)
    counts[:, 0] = 1
    y = rng.integers(0, 3, 505)
    words, onehot = sp.csr_matrix(counts), np.eye(3, dtype=np.int32)[y]
    content = {
        "x": words[:3], "allx": words[:503], "tx": words[503:],
        "y": onehot[:3], "ally": onehot[:503], "ty": onehot[503:],
        "graph": {node: [(node - 1) % 505, (node + 1) % 505] for node in range(505)},
    }  # fmt: skip
    for kind, value in content.items():
        (folder / f"ind.{name}.{kind}").write_bytes(pickle.dumps(value, protocol=2))
    (folder / f"ind.{name}.test.index").write_text("503\n504\n")
    return counts, y


def check_planetoid(arrays, counts, y):
    ring = np.stack([np.arange(505), (np.arange(505) + 1) % 505])
    assert pairs(arrays["edge_index"]) == both_ways(ring)
    assert np.allclose(arrays["x"], counts)
    assert arrays["y"].tolist() == y.tolist()
    assert masks_of(arrays) == [list(range(3)), list(range(3, 503)), [503, 504]]


@needs_dgl
def test_dgl_reads_a_graph_with_several_labels_a_node(root):
    y = write_yelp(dgl_folder(root, "yelp", "yelp"))
    arrays = read_dgl("yelp")
    assert pairs(arrays["edge_index"]) == pairs(EDGES)
    assert np.array_equal(arrays["x"], X)
    assert np.array_equal(arrays["y"], y)
    assert masks_of(arrays) == list(SPLIT.values())
    assert load("dgl:yelp").is_multilabel


@needs_dgl
def test_dgl_reads_reddit_and_its_own_copy_of_it(root):
    folder = dgl_folder(root, "reddit", "reddit")
    pair = np.concatenate([EDGES, EDGES[::-1]], 1)
    sp.save_npz(folder / "reddit_graph.npz", adjacency(pair))
    kinds = np.array([1, 2, 3, 3, 1, 3])
    np.savez(folder / "reddit_data.npz", feature=X, label=Y, node_types=kinds)
    first, again = read_dgl("reddit"), read_dgl("reddit")
    assert [len(nodes) for nodes in masks_of(first)] == [2, 1, 3]
    # DGL renumbers the nodes of this graph: rows of x tell which is which.
    old = [int(np.flatnonzero(np.all(row == X, 1))[0]) for row in first["x"]]
    assert first["y"].tolist() == Y[old].tolist()
    assert pairs(np.array(old)[first["edge_index"]]) == both_ways()
    for name, array in first.items():
        assert np.array_equal(array, again[name]), name


@needs_dgl
def test_dgl_reads_a_citation_graph(root):
    counts, y = write_planetoid(dgl_folder(root, "cora_v2", "cora_v2"), "cora_v2")
    # DGL divides each row by its sum.
    check_planetoid(read_dgl("cora"), counts / counts.sum(1, keepdims=True), y)


@needs_dgl
def test_dgl_writes_nothing_to_the_home_folder_or_standard_output(root, tmp_path):
    write_yelp(dgl_folder(root, "yelp", "yelp"))
    home = tmp_path / "home"
    home.mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DGL")}
    environment |= {"HOME": str(home), "DGLDEFAULTDIR": str(home)}
    code = (
        "import os; from gcnsys.datasets.dgl import read; read('yelp'); print(os.environ.get('DGLBACKEND'))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "None\n", done.stderr
    assert not list(home.iterdir())


def test_an_unknown_dgl_name_gets_the_nearest_known_one():
    with pytest.raises(InputError, match=r"unknown DGL graph 'redit'; did you mean 'reddit'"):
        read_dgl("redit")


# PyG


def made(folder):
    folder.mkdir(parents=True)
    return folder


@needs_pyg
def test_pyg_reads_a_citation_graph(root):
    counts, y = write_planetoid(made(root / "Planetoid" / "Cora" / "raw"), "cora")
    check_planetoid(read_pyg("Planetoid/Cora"), counts, y)


@needs_pyg
def test_pyg_reads_a_graph_without_a_split(root):
    counts, near = sp.csr_matrix(WORD_COUNTS), adjacency()
    content = {"labels": Y}
    for name, matrix in {"attr": counts, "adj": near}.items():
        content |= {f"{name}_data": matrix.data, f"{name}_indices": matrix.indices}
        content |= {f"{name}_indptr": matrix.indptr, f"{name}_shape": matrix.shape}
    np.savez(made(root / "Amazon" / "Photo" / "raw") / "amazon_electronics_photo.npz", **content)
    assert "train_mask" not in read_pyg("Amazon/Photo")
    dataset = load("pyg:Amazon/Photo")
    assert pairs(dataset.graph.edge_index()) == both_ways()
    assert dataset.notes == ("no split is stored; a random one of 0.6/0.2/0.2 with seed 0 is used",)


@needs_pyg
def test_pyg_reads_a_graph_with_several_labels_a_node(root):
    y = write_yelp(made(root / "Yelp" / "raw"))
    arrays = read_pyg("Yelp")
    assert np.array_equal(arrays["y"], y)
    assert masks_of(arrays) == list(SPLIT.values())
    assert load("pyg:Yelp").is_multilabel


@needs_pyg
def test_the_first_of_several_splits_is_taken(root):
    order = np.random.default_rng(0).permuted(np.tile(np.arange(6), (10, 1)), axis=1)
    split = {"train_masks": order < 3, "val_masks": order == 3, "test_masks": order > 3}
    folder = made(root / "HeterophilousGraphDataset" / "tolokers" / "raw")
    np.savez(folder / "tolokers.npz", node_features=X, node_labels=Y, edges=EDGES.T, **split)
    arrays = read_pyg("HeterophilousGraphDataset/Tolokers")
    assert masks_of(arrays) == [np.flatnonzero(mask[0]).tolist() for mask in split.values()]


@needs_pyg
def test_features_that_pyg_stores_sparse_stay_sparse(root):
    x = sp.random_array((6, 10_001), density=0.001, format="csr", dtype=np.float32, rng=0)
    folder = made(root / "AttributedGraphDataset" / "wiki" / "raw")
    sp.save_npz(folder / "attrs.npz", sp.csr_matrix(x))
    np.savetxt(folder / "edgelist.txt", EDGES.T, fmt="%d")
    (folder / "labels.txt").write_text("".join(f"{node} {label + 1}\n" for node, label in enumerate(Y)))
    dataset = load("pyg:AttributedGraphDataset/Wiki")
    assert np.array_equal(dataset.x.to_scipy().toarray(), x.toarray())
    assert dataset.y.tolist() == Y.tolist()


@needs_pyg
def test_part_of_a_split_is_no_split():
    assert "train_mask" not in read_pyg("KarateClub")
    assert load("pyg:KarateClub").graph.num_edges == 156


@needs_pyg
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("Planetoit/Cora", r"unknown PyG dataset class 'Planetoit'; did you mean 'Planetoid'"),
        ("Planetoid", r"pyg:Planetoid: this class is used as pyg:Planetoid/NAME"),
        ("Reddit/Cora", r"pyg:Reddit/Cora: this class is used as pyg:Reddit$"),
        ("Planetoid/Cara", r"pyg:Planetoid/Cara: could not be read"),
    ],
)
def test_a_wrong_pyg_name_is_one_sentence(argument, message):
    with pytest.raises(InputError, match=message):
        read_pyg(argument)


# All of them


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param("ogb:ogbn-products", marks=needs_ogb),
        pytest.param("dgl:flickr", marks=needs_dgl),
        pytest.param("pyg:Amazon/Photo", marks=needs_pyg),
        pytest.param("pyg:Planetoid/Cora", marks=needs_pyg),
    ],
)
def test_without_files_and_network_the_error_names_dataset_folder_and_cause(spec, root, capsys):
    with pytest.raises(InputError) as caught:
        load(spec)
    message = str(caught.value)
    assert message.startswith(f"{spec}: could not be read from {root}")
    assert re.search("switched off|Cannot connect", message)
    assert "\n" not in message
    assert capsys.readouterr().out == ""
    assert not root.exists()


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    for package, spec in {"ogb.io.read_graph_raw": "ogb:ogbn-arxiv", "dgl.data": "dgl:yelp"}.items():
        monkeypatch.setitem(sys.modules, package, None)
        extra = spec.partition(":")[0]
        message = rf"{spec} needs the package '{extra}'.*gcnsys\[{extra}\]"
        with pytest.raises(MissingPackageError, match=message):
            load(spec)


def test_foreign_chatter_does_not_reach_standard_output(capsys, root):
    with foreign_code("some:data", root):
        sys.stdout.write("chatter\n")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "chatter\n")


def test_the_data_folder_is_data_unless_it_is_named(monkeypatch, root):
    assert data_root() == root
    monkeypatch.delenv("GCNSYS_DATA_ROOT")
    assert str(data_root()) == "data"


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ([[0], [2]], [0, 2]),
        ([[np.nan], [1.0]], [-1, 1]),
        ([0.5, 1.0], [0.5, 1.0]),
        ([[0, 1], [1, 1]], [[0, 1], [1, 1]]),
    ],
)
def test_labels_become_class_numbers_where_they_are(stored, expected):
    assert labels(np.array(stored)).tolist() == expected
