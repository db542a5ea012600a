"""Calls the native core with arrays that fit, whose results are checked, and with arrays that do not.

A call that does not fit must raise ValueError or TypeError; a crash ends this process, and a sanitizer
says where. ``run.sh`` builds the core and starts this.
"""

import sys
import time

import numpy as np


def product(core, rng):
    """A pattern and a product, every array of it drawn."""
    rows, cols, edges, width = (int(rng.integers(0, high)) for high in (40, 30, 200, 70))
    edges = edges if rows and cols else 0
    indptr = np.sort(np.concatenate([[0], rng.integers(0, edges + 1, max(rows - 1, 0)), [edges]]))[: rows + 1]
    indptr[-1] = edges
    index, number = rng.choice([np.int32, np.int64]), rng.choice([np.float32, np.float64])
    arrays = {
        "indptr": indptr.astype(np.int64),
        "indices": rng.integers(0, max(cols, 1), edges).astype(index),
        "x": rng.standard_normal((cols, width)).astype(number),
        "out": rng.standard_normal((rows, width)).astype(number),
    }
    for name, size in (("weight", edges), ("row_scale", rows), ("column_scale", cols)):
        if rng.random() < 0.5:
            arrays[name] = rng.standard_normal(size).astype(number)
    listed = None
    if rng.random() < 0.3:
        arrays["column_map"] = rng.integers(-1, max(cols, 1), cols).astype(index)
    elif rng.random() < 0.3 and rows:
        listed = arrays["rows"] = rng.integers(0, rows, int(rng.integers(0, 50)))
        arrays["out"] = rng.standard_normal((len(listed), width)).astype(number)
        if "row_scale" in arrays:
            arrays["row_scale"] = rng.standard_normal(len(listed)).astype(number)
    settings = {
        "accumulate": bool(rng.integers(2)),
        "threads": int(rng.integers(1, 4)),
        "tile": int(rng.choice([-1, 0, 16, 64])),
        "block_bytes": int(rng.choice([0, 200, 2000])),
    }

    def call(a):
        pattern = core.Pattern(a["indptr"], a["indices"], cols)
        rest = {k: v for k, v in a.items() if k not in ("indptr", "indices", "x", "out")}
        pattern.product(a["x"], a["out"], **rest, **settings)

    def check(before, after):
        dense = np.zeros((rows, cols))
        of = np.repeat(np.arange(rows), np.diff(before["indptr"]))
        np.add.at(dense, (of, before["indices"]), before.get("weight", np.ones(edges)))
        dense *= before.get("column_scale", np.ones(cols))[None, :]
        x, mapped = before["x"].astype(np.float64), before.get("column_map")
        if mapped is not None:
            x = np.where(mapped[:, None] >= 0, x[np.maximum(mapped, 0)] if cols else x, 0)
        dense = dense if listed is None else dense[before["rows"]]
        expected = (dense @ x) * before.get("row_scale", np.ones(len(dense)))[:, None]
        expected += before["out"] if settings["accumulate"] else 0
        np.testing.assert_allclose(after["out"], expected, rtol=1e-3, atol=1e-3)

    return arrays, call, check


def dropout(core, rng):
    """Rows under a mask."""
    rows, width = int(rng.integers(0, 40)), int(rng.integers(0, 150))
    number = rng.choice([np.float32, np.float64])
    arrays = {
        "x": np.ones((rows, width), number), "out": np.zeros((rows, width), number),
        "a": rng.integers(-(2**31), 2**31, rows).astype(np.int32),
        "b": rng.integers(-(2**31), 2**31, rows).astype(np.int32),
    }  # fmt: skip

    def call(a):
        core.dropout(a["x"], a["out"], a["a"], a["b"], int(rng.integers(9)), 2**31, 2.0, 2)

    return arrays, call, lambda before, after: np.testing.assert_array_equal(after["out"] % 2, 0)


def entry_dropout(core, rng):
    """Entries of a sparse matrix, or of its transpose, under a mask."""
    rows, cols, edges = int(rng.integers(1, 40)), int(rng.integers(1, 40)), int(rng.integers(0, 200))
    number = rng.choice([np.float32, np.float64])
    transposed = bool(rng.integers(2))
    nodes = cols if transposed else rows
    arrays = {
        "indptr": np.sort(np.append(rng.integers(0, edges + 1, rows - 1), [0, edges])),
        "indices": rng.integers(0, cols, edges).astype(rng.choice([np.int32, np.int64])),
        "x": np.ones(edges, number), "out": np.zeros(edges, number),
        "a": rng.integers(-(2**31), 2**31, nodes).astype(np.int32),
        "b": rng.integers(-(2**31), 2**31, nodes).astype(np.int32),
    }  # fmt: skip

    def call(a):
        pattern = core.Pattern(a["indptr"], a["indices"], cols)
        pattern.dropout(a["x"], a["out"], a["a"], a["b"], transposed, 2**31, 2.0, 2)

    return arrays, call, lambda before, after: np.testing.assert_array_equal(after["out"] % 2, 0)


def activation(core, rng):
    """Layer norm, ReLU and dropout of rows, then their gradient."""
    rows, width = int(rng.integers(0, 300)), int(rng.integers(0, 150))
    number = rng.choice([np.float32, np.float64])
    arrays = {
        name: rng.standard_normal((rows, width)).astype(number) for name in ("x", "out", "grad", "back")
    }
    if rng.random() < 0.5:
        arrays |= {n: np.ones(width, number) for n in ("weight", "bias", "weight_grad", "bias_grad")}
        arrays |= {n: np.ones(rows, number) for n in ("mean", "rstd")}
    if rng.random() < 0.5:
        arrays |= {n: rng.integers(0, 2**31, rows).astype(np.int32) for n in ("a", "b")}

    def call(a):
        norm = [a.get(n) for n in ("weight", "bias", "mean", "rstd")]
        mask = [a.get(n) for n in ("a", "b")]
        core.activate(a["x"], a["out"], *norm, 1e-5, *mask, 2**31, 2.0, 2)
        grads = [a.get(n) for n in ("weight_grad", "bias_grad")]
        core.activation_gradient(a["x"], a["grad"], a["back"], *norm, *grads, *mask, 2**31, 2.0, 2)

    return arrays, call, lambda before, after: None


def quantize(core, rng):
    """Rows to 8 or 16 bits and back."""
    rows, width, bits = int(rng.integers(0, 40)), int(rng.integers(0, 150)), int(rng.choice([8, 16]))
    number = rng.choice([np.float32, np.float64])
    x = (rng.standard_normal((rows, width)) * 10.0 ** rng.integers(-30, 37)).astype(number)
    wire_bytes = width + 4 if bits == 8 else 2 * width
    arrays = {
        "x": x, "out": np.zeros_like(x), "wire": np.zeros((rows, wire_bytes), np.uint8),
        "a": rng.integers(-(2**31), 2**31, rows).astype(np.int32),
        "b": rng.integers(-(2**31), 2**31, rows).astype(np.int32),
    }  # fmt: skip

    def call(a):
        core.quantize(a["x"], a["wire"], a["a"], a["b"], bits, 2)
        core.dequantize(a["wire"], a["out"], bits, 2)

    def check(before, after):
        assert (np.abs(after["out"]) <= 1.02 * np.abs(before["x"]).max(initial=0)).all()

    return arrays, call, check


def attention(core, rng):
    """Softmax, dot products, weighted sums and fused attention over a pattern."""
    rows, cols, edges = (int(rng.integers(1, high)) for high in (40, 30, 200))
    heads, width = int(rng.integers(1, 5)), int(rng.integers(1, 40))
    indptr = np.sort(np.concatenate([[0], rng.integers(0, edges + 1, rows - 1), [edges]]))
    index, number = rng.choice([np.int32, np.int64]), rng.choice([np.float32, np.float64])
    shapes = {
        "x": (cols, heads * width), "y": (rows, heads * width), "out": (rows, heads * width),
        "derivative": (rows, heads * width), "destination": (rows, heads), "source": (cols, heads),
        "normalizer": (rows, heads), "logits": (edges, heads), "alpha": (edges, heads),
        "back": (edges, heads), "dots": (edges, heads), "added": (edges, heads), "leaky": (edges, heads),
        "vector": (heads, width), "slopes": (rows, heads * width), "values": (rows, heads * width),
    }  # fmt: skip
    arrays = {name: rng.standard_normal(shape).astype(number) for name, shape in shapes.items()}
    arrays |= {"indptr": indptr.astype(np.int64), "indices": rng.integers(0, cols, edges).astype(index)}
    threads = int(rng.integers(1, 4))

    def call(a):
        pattern = core.Pattern(a["indptr"], a["indices"], cols)
        pattern.edge_softmax(a["logits"], a["alpha"], threads)
        pattern.edge_softmax_gradient(a["alpha"], a["logits"], a["back"], threads)
        pattern.edge_add(a["destination"], a["source"], a["added"], threads)
        pattern.edge_dot(a["y"], a["x"], a["dots"], threads)
        pattern.leaky_dot(a["y"], a["x"], a["vector"], 0.2, a["leaky"], threads)
        pattern.leaky_sum(a["alpha"], a["y"], a["x"], 0.2, a["slopes"], a["values"], threads)
        pattern.weighted_sum(a["alpha"], a["x"], a["out"], threads)
        pattern.attention(
            a["x"],
            a["destination"],
            a["source"],
            0.2,
            a["out"],
            a["normalizer"],
            a["derivative"],
            threads=threads,
        )

    def check(before, after):
        of = np.repeat(np.arange(rows), np.diff(before["indptr"]))
        scores = before["destination"][of] + before["source"][before["indices"]]
        power = np.exp(np.where(scores > 0, scores, 0.2 * scores))
        total = np.zeros((rows, heads))
        np.add.at(total, of, power)
        messages = (power / total[of])[:, :, None] * before["x"].reshape(cols, heads, width)[
            before["indices"]
        ]
        expected = np.zeros((rows, heads, width))
        np.add.at(expected, of, messages)
        np.testing.assert_allclose(after["out"], expected.reshape(rows, -1), rtol=1e-3, atol=1e-3)

    return arrays, call, check


def sampling(core, rng):
    """A pattern, and one of the draws among the entries of some of its rows."""
    rows, cols = int(rng.integers(1, 30)), int(rng.integers(1, 40))
    degree = rng.integers(0, rng.choice([60, 60, 1500]), rows)
    index, count, total = rng.choice([np.int32, np.int64]), int(rng.integers(0, 70)), int(degree.sum())
    nodes = rng.permutation(rows)[: int(rng.integers(0, rows + 1))]
    kind = str(
        rng.choice(["uniform", "repeated", "weighted", "poisson", "induce", "step", "renumber", "named"])
    )
    weight = rng.integers(0, 3, total).astype(np.float64)
    first = np.concatenate([[0], degree.cumsum()])
    positive = np.array([(weight[first[r] : first[r + 1]] > 0).sum() for r in range(rows)], dtype=np.int64)
    sizes = {
        "uniform": np.minimum(degree, count), "repeated": np.where(degree > 0, count, 0),
        "weighted": np.minimum(positive, count), "poisson": degree,
    }.get(kind, degree)[nodes]  # fmt: skip
    starts = np.concatenate([[0], sizes.cumsum()]).astype(np.int64)
    drawn = int(starts[-1])
    arrays = {
        "indptr": first.astype(np.int64), "indices": rng.integers(0, cols, total).astype(index),
        "nodes": nodes.astype(np.int64), "starts": starts, "columns": np.zeros(drawn, index),
        "edges": np.zeros(drawn, np.int64),
    }  # fmt: skip
    steps, threads = rng.integers(0, 2**63, 3).tolist(), int(rng.integers(1, 4))
    if kind == "weighted":
        arrays |= {"speed": weight, "last": np.zeros(len(nodes))}
    elif kind == "poisson":  # all of each row: the room is known
        arrays["below"] = np.full(len(nodes), 2**32)
    elif kind == "induce":
        arrays |= {"columns": np.zeros(drawn, np.int32), "counts": np.zeros(len(nodes), np.int64)}
        arrays["among"] = rng.permutation(cols)[: int(rng.integers(0, cols + 1))].astype(np.int64)
    elif kind == "step":
        arrays = {name: arrays[name] for name in ("indptr", "indices", "nodes")}
        arrays |= {"unit": rng.random(len(nodes)), "columns": np.zeros(len(nodes), np.int64)}
    elif kind == "renumber":
        inside = rng.permutation(cols)[: int(rng.integers(0, cols + 1))]
        arrays = {
            "nodes": inside.astype(np.int64), "columns": arrays["indices"],
            "local": np.zeros(total, np.int32), "fresh": np.zeros(total, np.int64),
        }  # fmt: skip
    elif kind == "named":
        arrays = {
            "rows": rng.integers(0, rows, total), "ids": rng.integers(0, cols, total) << 31,
            "own": np.arange(rows),
            "a": rng.integers(-9, 9, rows).astype(np.int32), "b": rng.integers(-9, 9, rows).astype(np.int32),
            "counts": np.zeros(rows, np.int64), "columns": np.zeros(total, np.int64),
            "times": np.zeros(total, np.float32),
        }  # fmt: skip

    def call(a):
        if kind == "renumber":
            core.renumber(a["nodes"], a["columns"], cols, a["local"], a["fresh"])
            return
        if kind == "named":
            core.most_named(*list(a.values())[:5], count, a["counts"], a["columns"], a["times"], threads)
            return
        pattern, edges = core.Pattern(a["indptr"], a["indices"], cols), a.get("edges")
        if kind == "step":
            pattern.step(a["nodes"], a["unit"], a["columns"], threads)
            return
        room = a["starts"], a["columns"]
        if kind == "weighted":
            pattern.draw_weighted(
                a["nodes"], None, steps, count, a["speed"], *room, a["last"], edges, threads
            )
        elif kind == "poisson":
            pattern.draw_poisson(a["nodes"], 1, 2, a["below"], None, None, *room, edges, threads)
        elif kind == "induce":
            pattern.induce(a["nodes"], a["among"], a["starts"], a["counts"], a["columns"], edges, threads)
        else:
            repeated = kind == "repeated"
            pattern.draw_uniform(a["nodes"], None, steps, count, repeated, *room, edges, threads)

    def check(before, after):
        if kind == "renumber":
            fresh = dict.fromkeys(before["columns"].tolist())
            names = [*before["nodes"].tolist(), *(name for name in fresh if name not in set(before["nodes"]))]
            assert [names[number] for number in after["local"]] == before["columns"].tolist()
        elif kind == "named":
            for row in range(rows):
                said = before["ids"][before["rows"] == row]
                most = np.sort(np.unique(said[said != row], return_counts=True)[1])[::-1][:count]
                number, begin = after["counts"][row], int(after["counts"][:row].sum())
                assert np.sort(after["times"][begin : begin + number])[::-1].tolist() == most.tolist()
        elif kind == "step":
            place = first[nodes] + (before["unit"] * degree[nodes]).astype(np.int64)
            there = before["indices"][np.minimum(place, total - 1)] if total else -1
            np.testing.assert_array_equal(after["columns"], np.where(degree[nodes] > 0, there, -1))
        elif kind == "induce":
            listed = before["among"].tolist()
            found = int(after["counts"].sum())
            entries = np.concatenate([np.arange(first[n], first[n + 1]) for n in nodes] or [[]]).astype(int)
            kept = [entry for entry in entries if before["indices"][entry] in listed]
            assert after["edges"][:found].tolist() == kept
            assert [listed[c] for c in after["columns"][:found]] == before["indices"][kept].tolist()
        else:
            owner = np.repeat(nodes, np.diff(starts))
            assert ((after["edges"] >= first[owner]) & (after["edges"] < first[owner + 1])).all()
            np.testing.assert_array_equal(after["columns"], before["indices"][after["edges"]])

    return arrays, call, check


def islands(core, rng):
    """A symmetric pattern, and connected sets of its nodes that a cap keeps small."""
    count, levels, cap = int(rng.integers(1, 40)), int(rng.integers(1, 6)), int(rng.integers(1, 12))
    there = rng.random((count, count)) < rng.random() * 0.3
    rows, cols = np.nonzero(there | there.T)
    arrays = {
        "indptr": np.concatenate([[0], np.bincount(rows, minlength=count).cumsum()]),
        "indices": cols.astype(rng.choice([np.int32, np.int64])),
        "level": rng.integers(0, levels, count).astype(np.int32), "label": np.zeros(count, np.int64),
    }  # fmt: skip

    def call(a):
        core.Pattern(a["indptr"], a["indices"], count).islands(a["level"], levels, cap, a["label"])

    def check(before, after):
        label = after["label"]
        apart = (label[rows] != label[cols]) & (label[rows] >= 0) & (label[cols] >= 0)
        assert not apart.any()
        assert np.bincount(label + 1)[1:].max(initial=0) <= cap

    return arrays, call, check


def sharing(core, rng):
    """Rows with ascending columns, and sums that they share."""
    rows, cols = int(rng.integers(1, 30)), int(rng.integers(1, 30))
    row, col = np.nonzero(rng.random((rows, cols)) < rng.random())
    reach, least = int(rng.integers(2, 12)), int(rng.integers(2, 5))
    arrays = {
        "indptr": np.concatenate([[0], np.bincount(row, minlength=rows).cumsum()]),
        "indices": col.astype(rng.choice([np.int32, np.int64])),
    }
    found = {}

    def call(a):
        made = core.Sharing(core.Pattern(a["indptr"], a["indices"], cols), reach, least, rng.random())
        sums, items = np.zeros(2 * made.num_sums, np.int64), np.zeros(made.num_terms, np.int64)
        ends = np.zeros(len(a["indptr"]), np.int64)
        made.write(sums, ends, items)
        found.update(sums=sums.reshape(-1, 2), ends=ends, items=items)

    def check(before, after):
        terms = list(np.eye(cols, dtype=int))
        for one, other in found["sums"]:
            terms.append(terms[one] + terms[other])
        for number in range(rows):
            items = found["items"][found["ends"][number] : found["ends"][number + 1]]
            whole = sum((terms[item] for item in items), np.zeros(cols, int))
            np.testing.assert_array_equal(np.flatnonzero(whole), col[row == number])
            assert whole.max(initial=0) <= 1

    return arrays, call, check


def shared_rows(core, rng):
    """Products of rows that read columns, and sums of them in levels, of two items each or of any number."""
    cols, pairs = int(rng.integers(1, 30)), rng.random() < 0.7
    number, arrays, items, filled = rng.choice([np.float32, np.float64]), {}, [], cols
    levels = int(rng.integers(0, 4))
    for place in range(levels + 1):  # the last are the rows
        rows = int(rng.integers(1, 20))
        sizes = np.full(rows, 2) if place < levels and pairs else rng.integers(0, 6, rows)
        items.append((np.concatenate([[0], sizes.cumsum()]), rng.integers(0, filled, sizes.sum())))
        filled += rows
    for place, (indptr, indices) in enumerate(items):
        arrays |= {f"indptr{place}": indptr.astype(np.int64), f"indices{place}": indices.astype(np.int32)}
    width = int(rng.integers(64 // number().itemsize, 120))
    arrays["x"] = rng.standard_normal((cols, width)).astype(number)
    arrays["out"] = rng.standard_normal((rows, width)).astype(number)
    if rng.random() < 0.3:
        arrays["weight"] = rng.choice([-1, 1], sizes.sum()).astype(np.float32)
    for name, size in (("row_scale", rows), ("column_scale", cols)):
        if rng.random() < 0.5:
            arrays[name] = rng.standard_normal(size).astype(number)
    accumulate, ahead = (bool(rng.integers(2)) for _ in range(2))
    tile, threads = int(rng.choice([1, 16, 32, 64, 500])), int(rng.integers(1, 4))

    def call(a):
        patterns, above = [], cols
        for place in range(len(items)):
            patterns.append(core.Pattern(a[f"indptr{place}"], a[f"indices{place}"], above))
            above += len(a[f"indptr{place}"]) - 1
        made = core.SharedRows(cols, patterns[:-1], patterns[-1], a.get("weight"))
        scales = a.get("row_scale"), a.get("column_scale")
        made.product(a["x"], a["out"], accumulate, *scales, threads, tile, ahead)

    def check(before, after):
        terms = before["x"].astype(np.float64) * before.get("column_scale", np.ones(cols))[:, None]
        for place, (indptr, indices) in enumerate(items):
            last = place == len(items) - 1
            signs = before.get("weight", np.ones(len(indices))) if last else np.ones(len(indices))
            sums = np.zeros((len(indptr) - 1, width))
            np.add.at(sums, np.repeat(np.arange(len(sums)), np.diff(indptr)), signs[:, None] * terms[indices])
            terms = sums if last else np.concatenate([terms, sums])
        expected = terms * before.get("row_scale", np.ones(rows))[:, None]
        expected += before["out"] if accumulate else 0
        np.testing.assert_allclose(after["out"], expected, rtol=1e-3, atol=1e-3)

    return arrays, call, check


def tuned(core, rng):
    """A product that is large enough for all ways to be tried, again and again."""
    rows, cols, edges, width = (int(rng.integers(low, 2 * low)) for low in (300, 300, 5000, 200))
    number = rng.choice([np.float32, np.float64])
    arrays = {
        "indptr": np.sort(np.append(rng.integers(0, edges + 1, rows - 1), [0, edges])),
        "indices": rng.integers(0, cols, edges).astype(rng.choice([np.int32, np.int64])),
        "x": rng.standard_normal((cols, width)).astype(number),
        "out": np.zeros((rows, width), number),
    }
    threads, found = int(rng.integers(1, 4)), []

    def call(a):
        pattern = core.Pattern(a["indptr"], a["indices"], cols)
        for _ in range(40):
            pattern.product(a["x"], a["out"], threads=threads)
            found.append(a["out"].copy())

    def check(before, after):
        assert all(map(np.array_equal, found, found[1:])), "ways differ in bits"
        dense = np.zeros((rows, cols))
        np.add.at(dense, (np.repeat(np.arange(rows), np.diff(before["indptr"])), before["indices"]), 1)
        np.testing.assert_allclose(after["out"], dense @ before["x"], rtol=1e-3, atol=1e-3)
        found.clear()

    return arrays, call, check


def lots(core, rng):
    """Groups of rows, of which some are drawn."""
    counts = rng.integers(0, 30, int(rng.integers(0, 6)))
    sizes = np.array([rng.integers(0, count + 1) for count in counts], np.int64)
    arrays = {
        "steps": rng.integers(-(2**63), 2**63, 3 * len(counts)),
        "starts": np.concatenate([[0], counts.cumsum()]).astype(np.int64),
        "sizes": sizes,
        "places": np.zeros(sizes.sum(), np.int64),
    }

    def call(a):
        core.draw_lots(**a, threads=int(rng.integers(1, 4)))

    def check(before, after):
        groups = np.searchsorted(before["starts"], after["places"], side="right") - 1
        np.testing.assert_array_equal(np.bincount(groups, minlength=len(counts)), sizes)
        assert (np.diff(after["places"]) > 0).all()

    return arrays, call, check


def spoilt(array, rng):
    """An array with one thing about it changed."""
    types = [np.int8, np.uint16, np.int32, np.int64, np.float16, np.float32, np.float64, bool]
    kind = rng.choice(["dtype", "shape", "rank", "stride", "alignment", "values", "length"])
    if kind == "dtype":
        with np.errstate(all="ignore"):
            return array.astype(rng.choice(types))
    if kind == "shape":
        return np.resize(array, tuple(max(0, side + int(rng.integers(-2, 3))) for side in array.shape))
    if kind == "rank":
        return array[None] if rng.random() < 0.5 else array.ravel()
    if kind == "stride":
        return np.repeat(array, 2, axis=-1)[..., ::2] if rng.random() < 0.5 else array[::-1]
    if kind == "alignment":
        raw = np.zeros(array.nbytes + 8, np.uint8)
        moved = raw[1 : 1 + array.nbytes].view(array.dtype).reshape(array.shape)
        moved[...] = array
        return moved
    if kind == "values" and array.size and array.dtype.kind == "i":
        changed = array.copy()
        changed.flat[int(rng.integers(array.size))] = rng.choice([-1, -(2**31), 2**31 - 1, 10**6])
        return changed
    return array[: max(0, array.shape[0] - 1)]


OPTIONAL = {"rows", "weight", "row_scale", "column_scale", "column_map", "weight_grad", "mean", "edges"}
KINDS = [
    product, dropout, entry_dropout, activation, quantize, attention, sampling, islands, sharing, shared_rows,
    tuned, lots,
]  # fmt: skip


def main():
    sys.path.insert(0, sys.argv[1])
    import _core as core

    until, calls, refused = time.monotonic() + float(sys.argv[2]), 0, 0
    seed = 0
    while time.monotonic() < until:
        rng = np.random.default_rng(seed)
        seed += 1
        arrays, call, check = rng.choice(KINDS)(core, rng)
        before = {name: array.copy() for name, array in arrays.items()}
        call(arrays)
        check(before, arrays)
        for _ in range(5):
            name = str(rng.choice(list(arrays)))
            changed = {n: a.copy() for n, a in before.items()} | {name: spoilt(before[name], rng)}
            if rng.random() < 0.1 and name in OPTIONAL:
                del changed[name]
            calls += 1
            try:
                call(changed)
            except (ValueError, TypeError):
                refused += 1
    sys.stdout.write(
        f"{seed} calls that fit, {calls} that were spoilt, {refused} of them refused; no fault found\n"
    )


if __name__ == "__main__":
    main()
