"""The native core: the same results as plain torch, and a sentence for whatever does not fit."""

import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gcnsys.errors import InputError
from gcnsys.graph import CSR
from gcnsys.kernels import DropoutKey, Mask, Matrix, SparseRows, backend, keyed_dropout
from gcnsys.kernels.dropout import row_words
from gcnsys.kernels.sampled import SampledBlock

if os.environ.get("GCNSYS_KERNELS") == "torch":
    pytest.skip("GCNSYS_KERNELS=torch", allow_module_level=True)
core = pytest.importorskip("gcnsys.kernels._core", reason="the native core was not built")

TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12, torch.bfloat16: 2e-2}


def sparse(rows, cols, edges, seed, *, weighted=False, dtype=torch.int32):
    rng = np.random.default_rng(seed)
    pairs = torch.from_numpy(rng.integers(0, (max(rows, 1), max(cols, 1)), (edges, 2)))
    weight = torch.from_numpy(rng.standard_normal(edges)) if weighted else None
    csr = CSR.from_pairs(pairs[:, 0], pairs[:, 1], rows, cols, weight)
    return CSR(csr.indptr, csr.indices.to(dtype), cols, csr.weight)


def dense(csr):
    values = torch.ones(csr.num_edges) if csr.weight is None else csr.weight
    matrix = torch.zeros(csr.num_rows, csr.num_cols, dtype=torch.float64)
    matrix[csr.rows().long(), csr.indices.long()] = values.double()
    return matrix


def deviation(found, expected):
    scale = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    return float((found.double() - expected).abs().max()) / scale if expected.numel() else 0.0


@given(
    rows=st.integers(0, 12),
    cols=st.integers(1, 12),
    edges=st.integers(0, 60),
    width=st.integers(0, 700),
    stored=st.sampled_from(list(TOLERANCE)),
    index=st.sampled_from([torch.int32, torch.int64]),
    weighted=st.booleans(),
    tile=st.sampled_from([-1, 0, 16, 32, 64]),
    block_bytes=st.sampled_from([0, 150, 400, 1000]),
    accumulate=st.booleans(),
    diagonals=st.booleans(),
    threads=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_product_is_the_dense_one(
    rows, cols, edges, width, stored, index, weighted, tile, block_bytes, accumulate, diagonals, threads, seed
):
    csr = sparse(rows, cols, edges if rows else 0, seed, weighted=weighted, dtype=index)
    generator = torch.Generator().manual_seed(seed)
    x, start = (torch.randn(n, width, generator=generator).to(stored) for n in (cols, rows))
    wide = backend.summed(stored)
    scales = [torch.rand(n, generator=generator).to(wide) for n in (rows, cols)] if diagonals else [None] * 2
    out = start.clone() if accumulate else torch.full_like(start, torch.nan)
    weight = None if csr.weight is None else csr.weight.to(wide)
    core.Pattern(csr.indptr, csr.indices, cols).product(
        x, out, accumulate, weight, *scales, None, threads, tile, block_bytes=block_bytes
    )
    expected = dense(csr) @ (x.double() if scales[1] is None else x.double() * scales[1].double()[:, None])
    if scales[0] is not None:
        expected *= scales[0].double()[:, None]
    if accumulate:
        expected += start.double()
    assert deviation(out, expected) <= TOLERANCE[stored]


@pytest.mark.parametrize("tile", [-1, 16, 64])
@pytest.mark.parametrize("width", [8, 41, 256])
def test_the_bits_do_not_depend_on_the_number_of_threads(tile, width):
    csr = sparse(500, 400, 20_000, 0, weighted=True)
    x, weight = torch.randn(400, width), csr.weight.float()
    results = []
    for threads in (1, 2, 3, 7):
        out = torch.empty(500, width)
        pattern = core.Pattern(csr.indptr, csr.indices, 400)
        pattern.product(x, out, False, weight, None, None, None, threads, tile)
        results.append(out)
    assert all(torch.equal(results[0], other) for other in results)


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("stored", list(TOLERANCE))
@pytest.mark.parametrize("width", [41, 64, 131])
def test_the_bits_do_not_depend_on_the_way(width, stored, weighted, accumulate, descending, listed):
    csr = sparse(300, 200, 9_000, 1, weighted=weighted)
    indices = csr.indices.clone()
    for begin, end in pairwise(csr.indptr.tolist() if descending else []):
        indices[begin:end] = indices[begin:end].flip(0)
    rows = torch.randint(0, 300, (70,)) if listed else None
    weight = csr.weight.to(backend.summed(stored)) if weighted else None
    x, start = torch.randn(200, width).to(stored), torch.randn(70 if listed else 300, width).to(stored)
    # The compiler may fuse a scale with the addition that follows it: in every way, or in none.
    scale = torch.rand(start.shape[0], dtype=backend.summed(stored)) if accumulate else None
    pattern, found = core.Pattern(csr.indptr, indices, 200), []
    for tile, block_bytes in [(-1, 0), (16, 0), (64, 0), (16, 2000), (32, 5000), (64, 20_000)]:
        out = start.clone()
        pattern.product(
            x, out, accumulate, weight, scale, threads=2, tile=tile, rows=rows, block_bytes=block_bytes
        )  # fmt: skip
        found.append(out)
    assert all(torch.equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize("tile", [-1, 0, 16, 64])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_matrix_without_columns_gives_zeros_by_any_way(threads, tile):
    out = torch.full((4, 70), 7.0)
    nothing = torch.empty(0, dtype=torch.int32)
    core.Pattern(torch.zeros(5, dtype=torch.int64), nothing, 0).product(
        torch.empty(0, 70), out, threads=threads, tile=tile
    )
    assert torch.equal(out, torch.zeros(4, 70))


@pytest.mark.parametrize("stored", list(TOLERANCE))
@pytest.mark.parametrize("width", [16, 32, 41])
def test_a_row_of_any_length_sees_its_own_columns_only(width, stored):
    degrees = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0])
    indptr = torch.cat([torch.zeros(1, dtype=torch.int64), degrees.cumsum(0)])
    columns = torch.arange(int(indptr[-1]), dtype=torch.int32)
    for row in range(11):  # of which all others are not finite
        x = torch.full((columns.numel(), width), torch.inf).to(stored)
        x[1::2] = torch.nan
        x[indptr[row] : indptr[row + 1]] = 1
        out = torch.full((11, width), 7.0).to(stored)
        core.Pattern(indptr, columns, columns.numel()).product(x, out)
        assert torch.equal(out[row], torch.full((width,), float(degrees[row])).to(stored))


def test_a_hub_of_a_hundred_thousand_edges_is_added_up():
    indptr = torch.tensor([0, 0, 100_000, 100_003])
    indices = torch.cat([torch.arange(100_000), torch.tensor([5, 5, 99_999])]).int()
    x = torch.randn(100_000, 20, dtype=torch.float64)
    out = torch.empty(3, 20, dtype=torch.float64)
    core.Pattern(indptr, indices, 100_000).product(x, out, threads=2)
    expected = torch.stack([torch.zeros(20).double(), x.sum(0), 2 * x[5] + x[-1]])
    assert deviation(out, expected) < 1e-12


@pytest.mark.parametrize("tile", [-1, 0, 32])
def test_a_column_map_skips_what_is_absent(tile):
    csr = sparse(60, 50, 600, 1, weighted=True)
    present = torch.arange(0, 50, 3)
    column_map = torch.full((50,), -1, dtype=torch.int32)
    column_map[present] = torch.arange(present.numel(), dtype=torch.int32)
    x, scale = torch.randn(present.numel(), 37, dtype=torch.float64), torch.rand(50, dtype=torch.float64)
    out = torch.empty(60, 37, dtype=torch.float64)
    pattern = core.Pattern(csr.indptr, csr.indices, 50)
    pattern.product(x, out, False, csr.weight.double(), None, scale, column_map, 2, tile)
    expected = dense(csr)[:, present] @ (scale[present, None] * x)
    assert deviation(out, expected) < 1e-12


@pytest.mark.parametrize("tile", [-1, 0, 32])
@pytest.mark.parametrize("threads", [1, 3])
def test_listed_rows_are_computed_in_the_order_of_the_list(tile, threads):
    csr = sparse(60, 50, 600, 1, weighted=True)
    rows = torch.tensor([59, 0, 7, 7, 30, *range(40, 50)])
    x, scale = torch.randn(50, 37, dtype=torch.float64), torch.rand(rows.numel(), dtype=torch.float64)
    out = torch.ones(rows.numel(), 37, dtype=torch.float64)
    pattern = core.Pattern(csr.indptr, csr.indices, 50)
    pattern.product(x, out, True, csr.weight.double(), scale, None, None, threads, tile, rows)
    assert deviation(out, 1 + scale[:, None] * (dense(csr)[rows] @ x)) < 1e-12


@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled columns"])
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("cols", "edges"), [(1500, 60_000), (40_000, 60_000), (40_000, 900_000)])
def test_a_product_finds_its_way_by_trying_and_gives_the_same_bits_each_time(
    cols, edges, stored, weighted, scaled
):
    csr = sparse(2000, cols, edges, 3, weighted=weighted)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(cols, 128, generator=generator).to(stored)
    weight = None if csr.weight is None else csr.weight.float()
    scale = torch.rand(cols, generator=generator) if scaled else None
    pattern, found = core.Pattern(csr.indptr, csr.indices, cols), []
    for _ in range(30):  # more often than there are ways to try
        found.append(torch.empty(2000, 128, dtype=stored))
        pattern.product(x, found[-1], weight=weight, column_scale=scale)
    assert all(torch.equal(found[0], other) for other in found)


def test_rows_that_lie_apart_are_read_in_place():
    csr = sparse(30, 20, 200, 2)
    wide = torch.randn(20, 90)
    out = torch.empty(30, 40)
    core.Pattern(csr.indptr, csr.indices, 20).product(wide[:, 7:47], out)
    assert deviation(out, dense(csr) @ wide[:, 7:47].double()) < 1e-5


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_matrix_gives_what_torch_gives(symmetric, monkeypatch):
    csr = sparse(40, 40, 300, 3, weighted=True)
    x, out, row, column = torch.randn(40, 19), torch.randn(40, 19), torch.rand(40), torch.rand(40)
    native = Matrix(csr).times(x, out.clone(), row_scale=row, column_scale=column)
    native_back = Matrix(csr).transpose_times(x, row_scale=row, column_scale=column)
    monkeypatch.setattr("gcnsys.kernels.matrix.native_for", lambda *_: None)
    assert torch.allclose(
        native, Matrix(csr).times(x, out.clone(), row_scale=row, column_scale=column), atol=1e-5
    )
    assert torch.allclose(
        native_back, Matrix(csr).transpose_times(x, row_scale=row, column_scale=column), atol=1e-5
    )


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize(("rows", "width", "first"), [(1, 1, 0), (50, 63, 0), (33, 200, 1000), (0, 5, 0)])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.999])
def test_dropout_gives_the_bits_that_torch_gives(dtype, rows, width, first, rate, monkeypatch):
    key, ids = DropoutKey(7, 3, 1), torch.randperm(10**6)[:rows]
    x = torch.randn(rows, width).to(dtype)
    results = []
    for native in (True, False):
        if not native:
            monkeypatch.setattr("gcnsys.kernels.dropout.native_for", lambda *_: None)
        leaf = x.clone().requires_grad_()
        y = keyed_dropout(leaf, key, ids, rate, first_feature=first)
        y.backward(torch.ones_like(y))
        results.append((y.detach(), leaf.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("index", [torch.int32, torch.int64])
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_of_entries_gives_the_bits_that_torch_gives(dtype, index, rate, monkeypatch):
    csr = sparse(50, 30, 600, 4, weighted=True, dtype=index)
    rows = SparseRows.from_csr(csr).to(dtype)
    mask = Mask(DropoutKey(7, 3, 1), torch.randperm(10**6)[:50], rate)
    native = rows.dropped(mask)
    monkeypatch.setattr("gcnsys.kernels.dropout.native_for", lambda *_: None)
    plain = rows.dropped(mask)
    assert torch.equal(native.values, plain.values)
    assert torch.equal(native.by_column, plain.by_column)


def test_dropout_keeps_no_mask_for_backward():
    x = torch.randn(100, 64, requires_grad=True)
    y = keyed_dropout(x, DropoutKey(0, 0, 0), torch.arange(100), 0.5)
    assert sum(saved.nbytes for saved in y.grad_fn.saved_tensors) <= 8 * 100


PTR, IDX = torch.tensor([0, 1, 2]), torch.tensor([0, 1], dtype=torch.int32)

WRONG_PATTERNS = {
    "an index that is too large": (
        PTR,
        torch.tensor([0, 2], dtype=torch.int32),
        "index 2 at edge 1 is outside 0..1",
    ),
    "a negative index": (PTR, torch.tensor([-1, 1], dtype=torch.int32), "index -1 at edge 0"),
    "offsets that end early": (torch.tensor([0, 1, 1]), IDX, "must run from 0 to 2"),
    "offsets that start late": (torch.tensor([1, 1, 2]), IDX, "must run from 0 to 2"),
    "offsets that decrease": (torch.tensor([0, 3, 2]), IDX, "decreases at row 1"),
    "narrow offsets": (PTR.int(), IDX, "vector of int64"),
    "no offsets": (PTR[:0], IDX, "at least one entry"),
    "indices of another type": (PTR, IDX.float(), "int32 or int64"),
    "indices in two dimensions": (PTR, IDX[None], "must be a vector"),
    "indices with gaps": (PTR, torch.zeros(4, dtype=torch.int32)[::2], "must be contiguous"),
}


@pytest.mark.parametrize(("indptr", "indices", "told"), WRONG_PATTERNS.values(), ids=WRONG_PATTERNS)
def test_a_pattern_that_is_none_is_refused(indptr, indices, told):
    with pytest.raises(ValueError, match=told.replace("..", r"\.\.")):
        core.Pattern(indptr, indices, 2)


X, OUT = torch.ones(2, 3), torch.ones(2, 3)
WRONG_PRODUCTS = {
    "too few rows": ({"x": X[:1]}, "x must have 2 rows, got 1"),
    "one dimension": ({"x": X[0]}, "two dimensions"),
    "columns that lie apart": ({"x": torch.ones(3, 2).t()}, "contiguous rows"),
    "integers": ({"x": X.long()}, "float32, float64 or bfloat16"),
    "a result of another type": ({"out": OUT.double()}, "out has the wrong dtype"),
    "a result that is too wide": ({"out": torch.ones(2, 4)}, "out must have 3 columns, got 4"),
    "a result that is too short": ({"out": torch.ones(1, 3)}, "out must have 2 rows, got 1"),
    "rows that overlap": ({"out": torch.ones(4).as_strided((2, 3), (1, 1))}, "overlapping"),
    "too few weights": ({"weight": torch.ones(1)}, r"weight must have shape \[2\]"),
    "weights of another type": ({"weight": torch.ones(2).double()}, "weight has the wrong dtype"),
    "a short diagonal": ({"row_scale": torch.ones(3)}, r"row_scale must have shape \[2\]"),
    "a map to nowhere": (
        {"column_map": torch.tensor([0, 5], dtype=torch.int32)},
        "column_map names row 5 of 2",
    ),
    "a row that is not there": ({"rows": torch.tensor([0, 2])}, "rows names row 2 of 2"),
    "a negative row": ({"rows": torch.tensor([0, -1])}, "rows names row -1 of 2"),
    "rows of another type": ({"rows": torch.tensor([0, 1]).int()}, "rows has the wrong dtype"),
    "fewer rows than results": ({"rows": torch.tensor([0])}, "out must have 1 rows, got 2"),
    "rows and absent columns": (
        {"rows": torch.tensor([0, 1]), "column_map": torch.tensor([0, -1], dtype=torch.int32)},
        "exclude each other",
    ),
}


@pytest.mark.parametrize(("changes", "told"), WRONG_PRODUCTS.values(), ids=WRONG_PRODUCTS)
def test_a_product_of_what_does_not_fit_is_refused(changes, told):
    with pytest.raises(ValueError, match=told):
        core.Pattern(PTR, IDX, 2).product(**({"x": X, "out": OUT.clone()} | changes))


def test_dropout_of_what_does_not_fit_is_refused():
    a, b = row_words(DropoutKey(0, 0, 0), torch.arange(2))
    fitting = {"x": X, "out": OUT.clone(), "a": a, "b": b, "first": 0, "threshold": 0, "scale": 1.0}
    core.dropout(**fitting)
    for changes in ({"a": a[:1]}, {"b": b.long()}, {"out": OUT.double()}, {"x": X.t()}, {"x": X.int()}):
        with pytest.raises(ValueError, match=r"."):
            core.dropout(**(fitting | changes))


def test_dropout_of_entries_that_do_not_fit_is_refused():
    pattern, x = core.Pattern(PTR, IDX, 3), torch.ones(2)
    a, b = row_words(DropoutKey(0, 0, 0), torch.arange(2))
    fitting = {"x": x, "out": x.clone(), "a": a, "b": b, "transposed": False, "threshold": 0, "scale": 1.0}
    pattern.dropout(**fitting)
    misfits = {"a": a[:1]}, {"b": b.long()}, {"out": x.double()}, {"x": x[:1]}, {"x": x.int()}
    for changes in (*misfits, {"transposed": True}):  # there are three columns
        with pytest.raises(ValueError, match=r"."):
            pattern.dropout(**(fitting | changes))


VECTORS = ["baseline", "avx2", "avx512"]


@pytest.mark.parametrize("vector", VECTORS)
def test_every_vector_width_that_runs_here_computes_the_same(vector):
    script = (
        "import torch, gcnsys.kernels._core as core\n"
        "torch.manual_seed(0); rows = torch.randint(0, 90, (100, 20)).int()\n"
        "ptr = torch.arange(0, 2001, 20); x = torch.randn(90, 77, dtype=torch.float64)\n"
        "out = torch.empty(100, 77, dtype=torch.float64)\n"
        "core.Pattern(ptr, rows.flatten(), 90).product(x, out)\n"
        "assert (out - x[rows.long()].sum(1)).abs().max() < 1e-12; print(core.VECTOR)"
    )
    environment = os.environ | {"GCNSYS_VECTOR": vector}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in VECTORS[: 1 + VECTORS.index(vector)]  # or the widest there is


@pytest.mark.parametrize(("wanted", "code", "told"), [
    ("torch", 0, "kernels: torch"), ("native", 0, "kernels: native-"), ("fast", 2, "must be native or torch"),
])  # fmt: skip
def test_the_environment_picks_the_kernels(wanted, code, told):
    environment = os.environ | {"GCNSYS_KERNELS": wanted}
    command = [sys.executable, "-m", "gcnsys", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == code
    assert told in done.stdout + done.stderr


def test_without_a_core_torch_works_and_says_so_once(monkeypatch, caplog):
    monkeypatch.delenv("GCNSYS_KERNELS", raising=False)
    monkeypatch.setitem(sys.modules, "gcnsys.kernels._core", None)
    backend.core.cache_clear()
    try:
        csr = sparse(5, 5, 9, 0)
        for _ in range(3):
            Matrix(csr).times(torch.ones(5, 2))
        assert backend.name() == "torch"
        assert [record.message for record in caplog.records].count(
            "the native kernels are not built; torch does their work, more slowly"
        ) == 1  # fmt: skip
        monkeypatch.setenv("GCNSYS_KERNELS", "native")
        backend.core.cache_clear()
        with pytest.raises(InputError, match="was not built"):
            backend.core()
    finally:
        backend.core.cache_clear()


@pytest.mark.full
@pytest.mark.processes
def test_no_array_makes_the_core_fault():
    if shutil.which("g++") is None or shutil.which("cmake") is None:
        pytest.skip("needs g++ and cmake")
    script = Path(__file__).parent / "sanitize" / "run.sh"
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run([script, "20"], env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no fault found" in done.stdout


def test_products_of_a_batch_try_no_ways():
    pairs = torch.randint(2000, (2, 60_000), generator=torch.Generator().manual_seed(0))
    csr = CSR.from_pairs(pairs[0].sort().values, pairs[1], 2000, 2000)
    x = torch.ones(2000, 128)
    kept, fleeting = Matrix(csr), Matrix(csr, tuned=False)
    for matrix in (kept, fleeting, kept.flipped, fleeting.flipped):
        matrix.times(x)
    assert not kept.native().decided
    assert not kept.flipped.native().decided
    assert fleeting.native().decided
    assert fleeting.flipped.native().decided
    block = SampledBlock(csr, torch.arange(2000), csr.indptr.diff().double(), None, lambda ids: None)
    assert not block.matrix.tuned
