"""What counts edges has 64 bits: beyond 2^31 of them, nothing wraps around."""

import numpy as np
import pytest
import torch

from gcnsys.datasets import load
from gcnsys.graph import CSR, index_dtype, offsets
from gcnsys.partition import build
from gcnsys.partition.build import Cutting
from gcnsys.partition.pieces import Pieces
from gcnsys.partition.stream import stream

FAR = 2**31


@pytest.fixture
def far(tmp_path):
    """Three rows, the first of 2^31 entries that nobody looks at, a hole in a file; the others lie beyond."""
    indices = np.memmap(tmp_path / "indices", np.int32, "w+", shape=(FAR + 7,))
    indices[FAR:] = [3, 1, 4, 2, 0, 5, 6]
    indptr = torch.tensor([0, FAR, FAR + 4, FAR + 7])
    return CSR(indptr, torch.from_numpy(indices), 7)


def test_rows_beyond_two_billion_entries_are_found(far):
    taken = far.take_rows(torch.tensor([2, 1]))
    assert taken.indptr.tolist() == [0, 3, 7]
    assert taken.indices.tolist() == [0, 5, 6, 3, 1, 4, 2]
    assert far.num_edges == FAR + 7
    assert far.head(2, 7).num_edges == FAR + 4
    assert far.row_sums().tolist() == [FAR, 4, 3]


def test_offsets_and_numbers_are_as_wide_as_they_need_to_be():
    assert offsets(torch.tensor([FAR, 5, FAR])).tolist() == [0, FAR, FAR + 5, 2 * FAR + 5]
    assert offsets(torch.tensor([FAR, 5])).dtype == torch.int64
    assert index_dtype(FAR - 1) == torch.int32
    assert index_dtype(FAR) == torch.int64
    joined = CSR(torch.tensor([0, 1]), torch.tensor([5], dtype=torch.int32), FAR - 8).followed_by(
        CSR(torch.tensor([0, 1]), torch.tensor([20], dtype=torch.int32), 100)
    )
    assert joined.indices.dtype == torch.int64
    assert joined.indices.tolist() == [5, FAR + 12]


def test_what_counts_edges_on_disk_has_64_bits(tmp_path):
    dataset = load("synthetic:sbm,nodes=300,degree=6")
    made = build(dataset, Cutting(3, method="stream"), tmp_path / "parts")
    for name, file in made.manifest.files.items():
        for array, about in file.arrays.items():
            if array.endswith(("indptr", "_ids", "send_rows", "send_counts", "recv_counts", "send_edges")):
                assert about["dtype"] == "int64", (name, array)
    for name in ("num_edges", "edge_cut", "volume"):
        manifest = made.manifest.model_copy(update={name: 3 * FAR})
        again = type(manifest).model_validate_json(manifest.model_dump_json())
        assert getattr(again, name) == 3 * FAR


def test_pieces_of_a_graph_count_in_64_bits():
    graph = load("synthetic:sbm,nodes=60,degree=6").graph
    pieces = Pieces(graph, stream(graph, 3), 3)
    assert graph.adjacency.indptr.dtype == torch.int64
    assert pieces.starts.dtype == pieces.ids.dtype == torch.int64
    assert pieces.position.dtype == index_dtype(graph.num_nodes)
    for piece in pieces:
        assert piece.inner.indptr.dtype == piece.halo.indptr.dtype == torch.int64
        assert piece.boundary.edges.dtype == torch.int64
