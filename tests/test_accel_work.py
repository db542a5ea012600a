"""What layers take, against counts of every single operation."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gcnsys.accel import GraphCounts, Structure, counts, graphs, model_work
from gcnsys.errors import InputError
from gcnsys.graph import CSR, Graph


@st.composite
def small(draw):
    """A graph and features with zeros."""
    nodes, width = draw(st.integers(1, 9)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    pairs = torch.from_numpy(rng.integers(0, nodes, (2, draw(st.integers(0, 20)))))
    graph = Graph.from_edge_index(pairs, num_nodes=nodes).symmetrized()
    x = rng.random((nodes, width)) * (rng.random((nodes, width)) < draw(st.floats(0, 1)))
    return graph, torch.from_numpy(x).float()


def multiplications(left, right):
    """Of a matrix with zeros times a full one, counted one by one."""
    return sum(right.shape[1] for row in left for value in row if value != 0)


@given(small(), st.integers(1, 4), st.integers(1, 4))
def test_operations_are_those_of_the_products_counted_one_by_one(drawn, hidden, classes):
    graph, x = drawn
    work = model_work("tiny", Structure.of(graph), [x.shape[1], hidden, classes], x)
    looped = np.eye(graph.num_nodes) + graph.to_scipy().toarray() * (1 - np.eye(graph.num_nodes))
    full = np.ones((graph.num_nodes, hidden))
    one = multiplications(x.numpy(), np.ones((x.shape[1], hidden))) + multiplications(looped, full)
    two = multiplications(full, np.ones((hidden, classes))) + multiplications(looped, full[:, :1]) * classes
    assert work.macs("xw") == one + two
    assert [step.macs for step in work.steps("xw")] == [one, two]


@given(small())
def test_sparse_and_dense_features_are_the_same_work(drawn):
    graph, x = drawn
    rows, cols = torch.nonzero(x, as_tuple=True)
    csr = CSR.from_pairs(rows, cols, *x.shape, x[rows, cols])
    one, other = (model_work("tiny", Structure.of(graph), [x.shape[1], 2], each) for each in (x, csr))
    assert one.macs() == other.macs()
    assert one.layers[0].row_nonzeros.tolist() == other.layers[0].row_nonzeros.tolist()


def test_aggregation_first_sums_the_inputs_and_expects_them_filled():
    work = model_work("t", Structure(100, 600), [10, 4], 0.5)
    (step,) = work.steps("ax")
    assert step.width == 10
    assert step.combination == pytest.approx(100 * 10 * (1 - 0.5**6) * 4)
    assert work.steps("narrower")[0].width == 4
    wider = model_work("t", Structure(100, 600), [4, 10], 0.5)
    assert wider.steps("narrower")[0].width == 4


def test_what_is_filled_is_right_on_average():
    rng = np.random.default_rng(3)
    graph = Graph.from_edge_index(torch.from_numpy(rng.integers(0, 300, (2, 900))), num_nodes=300)
    structure = Structure.of(graph)
    matrix = structure.matrix.to_scipy().astype(float)
    filled = [
        np.count_nonzero(matrix @ (rng.random((300, 40)) < 0.1)) for _ in range(20)
    ]  # fmt: skip
    work = model_work("t", structure, [40, 4], 0.1)
    assert work.filled(work.layers[0]) == pytest.approx(np.mean(filled), rel=0.02)


def test_training_goes_back_through_all_products():
    nodes, entries, widths = 50, 300, [12, 5, 3]
    work = model_work("t", Structure(nodes, entries), widths, training=True)
    steps = {step.name: step for step in work.steps("xw")}
    assert list(steps) == ["layer 1", "layer 2", "layer 2 back", "layer 1 back"]
    # dXW = A^T dY, dW = X^T dXW, and dX = dXW W^T where there is a layer before.
    assert steps["layer 2 back"].macs == entries * 3 + nodes * 5 * 3 + nodes * 3 * 5
    assert steps["layer 1 back"].macs == entries * 5 + nodes * 12 * 5
    assert work.update == 12 * 5 + 5 * 3
    # Aggregated first, A X is constant: no gradient goes through the first aggregation.
    assert work.steps("ax")[-1].width == 0


def test_layers_of_sage_have_two_products_and_no_loops():
    graph = Graph.from_edge_index(torch.tensor([[0, 1], [1, 0]]), num_nodes=3)
    work = model_work("t", Structure.of(graph, kind="sage"), [4, 2], kind="sage")
    assert work.structure.entries == 2
    assert work.macs() == 2 * (3 * 4 * 2) + 2 * 2
    gin = model_work("t", Structure.of(graph), [4, 2], kind="gin")
    assert gin.macs() == 3 * 4 * 2 + 3 * 2 * 2 + 5 * 2
    assert counts("cora").structure("sage").entries == 10556


def test_graphs_that_are_known_by_counts_say_where_they_come_from():
    known = graphs()
    assert known["cora"].structure().entries == 13264
    assert known["reddit"].edges - known["reddit-saint"].edges > 9e7  # two graphs of one name
    assert known["nell"].features != known["nell-5414"].features
    assert all(graph.source for graph in known.values())
    assert known["cora"].work("cora").macs() == pytest.approx(1.33e6, rel=0.01)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: model_work("t", Structure(3, 3), [4]), "needs the widths"),
        (lambda: model_work("t", Structure(3, 3), [4, 2], 1.5), r"lies in \[0, 1\], got 1.5"),
        (lambda: model_work("t", Structure(3, 3), [4, 2, 2], hidden_density=[0.1, 0.2]), "each of 1 hidden"),
        (lambda: model_work("t", Structure(3, 3), [4, 2], torch.ones(3, 5)), r"must be \[3, 4\]"),
        (lambda: model_work("t", Structure(3, 3), [4, 2], kind="gat"), "unknown kind of layer 'gat'"),
        (lambda: model_work("t", Structure(3, 3), [4, 2], bits=0), "1 to 64 bits, got 0"),
        (lambda: Structure(0, 0), "needs a node"),
        (lambda: counts("redit"), "did you mean 'reddit'"),
        (lambda: GraphCounts.checked({"nodes": 0, "source": ""}, "mine.toml"), "mine.toml: nodes: "),
    ],
)
def test_what_makes_no_sense_is_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


def test_a_file_of_counts_is_read(tmp_path):
    (tmp_path / "mine.toml").write_text('nodes = 5\nedges = 9\nfeatures = 3\nclasses = 2\nsource = "me"\n')
    assert counts(str(tmp_path / "mine.toml")).structure().entries == 14
    (tmp_path / "mine.toml").write_text("nodes = ")
    with pytest.raises(InputError, match=r"mine\.toml: not TOML"):
        counts(str(tmp_path / "mine.toml"))


def test_an_update_is_of_all_weights_that_are_multiplied_by():
    structure = Structure(10, 40)
    for kind, weights in (("gcn", 7 * 3), ("sage", 2 * 7 * 3), ("gin", 7 * 3 + 3 * 3)):
        work = model_work("made", structure, (7, 3), kind=kind, training=True)
        assert work.update == weights
        assert work.update == sum(step.weights for step in work.steps() if not step.back)
