// The kernels for Python; the interpreter lock is released while one runs.
#include "arena.hpp"
#include "pattern.hpp"
#include "workspace.hpp"

#include <cstring>

#include <nanobind/stl/pair.h>

using namespace gcnsys;

namespace {

template <class Stored, class Summed, class Index>
void multiply(const Pattern& pattern, const Index* indices, const Array& x, const Array& out, bool accumulate,
              const Offered& weight, const Offered& row_scale, const Offered& column_scale,
              const Offered& column_map, const Offered& listed, int threads, int tile,
              std::int64_t block_bytes) {
    const Listed list(pattern, listed);
    const std::int64_t rows = list.rows(), cols = pattern.cols();
    Product<Stored, Summed, Index> p{};
    p.rows = rows;
    p.cols = cols;
    p.width = -1;
    p.x = matrix<Stored>(x, column_map ? -1 : cols, p.width, p.x_stride, "x");
    p.x_rows = std::int64_t(x.shape(0));
    p.out = matrix<Stored>(out, rows, p.width, p.out_stride, "out");
    p.indptr = pattern.offsets();
    p.indices = indices;
    p.listed = list.numbers();
    p.work = list.work();
    p.ascending = pattern.ascending();
    p.far = pattern.far();
    p.present = 1;
    p.weight = vector<Summed>(weight, pattern.edges(), "weight");
    p.row_scale = vector<Summed>(row_scale, rows, "row_scale");
    p.column_scale = vector<Summed>(column_scale, cols, "column_scale");
    p.column_map = vector<Index>(column_map, cols, "column_map");
    if (p.column_map && p.listed) refuse("rows and column_map exclude each other");
    if (p.column_map) {
        std::int64_t present = 0;
        for (std::int64_t column = 0; column < cols; ++column) {
            if (p.column_map[column] >= p.x_rows)
                refuse("column_map names row " + std::to_string(p.column_map[column]) + " of " +
                       std::to_string(p.x_rows));
            present += p.column_map[column] >= 0;
        }
        p.present = cols ? double(present) / double(cols) : 1;
    }
    if (p.column_map && p.x_rows == 0 && !accumulate && p.width) {
        std::memset(p.out, 0, sizeof(Stored) * std::size_t(p.width) * (p.out_stride == p.width ? rows : 0));
        if (p.out_stride != p.width) refuse("out must be contiguous where every column is absent");
        return;
    }
    if (p.column_map && p.x_rows == 0) return;
    p.accumulate = accumulate;
    p.threads = threads < 1 ? 1 : threads;
    p.way.tile = tile;
    p.way.block_bytes = block_bytes;
    p.tuner = tile ? nullptr : pattern.tuner();
    nb::gil_scoped_release unlocked;
    kernels(p.width * std::int64_t(sizeof(Stored))).run(p);
}

void product(const Pattern& pattern, const Array& x, const Array& out, bool accumulate, Offered weight,
             Offered row_scale, Offered column_scale, Offered column_map, int threads, int tile, Offered rows,
             std::int64_t block_bytes) {
    pattern.with_indices([&](auto indices) {
        by_dtype(x, [&](auto stored, auto summed) {
            multiply<decltype(stored), decltype(summed)>(pattern, indices, x, out, accumulate, weight, row_scale,
                                                         column_scale, column_map, rows, threads, tile, block_bytes);
        });
    });
}

void dropout(const Pattern& pattern, const Array& x, const Array& out, const Array& a, const Array& b, bool transposed,
             std::uint32_t threshold, double scale, int threads) {
    pattern.with_indices([&](auto indices) {
        by_dtype(x, [&](auto stored, auto) {
            using Stored = decltype(stored);
            using Index = std::remove_const_t<std::remove_pointer_t<decltype(indices)>>;
            const std::int64_t nodes = transposed ? pattern.cols() : pattern.rows();
            EntryDropout<Stored, Index> d{};
            d.rows = pattern.rows(), d.indptr = pattern.offsets(), d.indices = indices, d.transposed = transposed;
            d.x = vector<Stored>(x, pattern.edges(), "x");
            d.out = vector<Stored>(out, pattern.edges(), "out");
            d.a = vector<std::int32_t>(a, nodes, "a");
            d.b = vector<std::int32_t>(b, nodes, "b");
            d.threshold = threshold, d.scale = scale;
            d.threads = threads < 1 ? 1 : threads;
            nb::gil_scoped_release unlocked;
            kernels().run(d);
        });
    });
}

}  // namespace

NB_MODULE(_core, m) {
    // At exit, objects that a frame or a cycle still holds would be reported as leaks.
    nb::set_leak_warnings(false);
    m.doc() = "Native kernels of gcnsys; use gcnsys.kernels, which falls back to torch without them.";
    m.attr("VECTOR") = kernels().name();
    nb::class_<Contest>(m, "Contest")
        .def(nb::init<std::size_t>(), nb::arg("ways"))
        .def("next", &Contest::next)
        .def("settle", [](Contest& contest, std::size_t way, double seconds) {
            if (way >= contest.size()) refuse("there is no such way");
            contest.settle(way, seconds);
        }, nb::arg("way"), nb::arg("seconds"))
        .def("behind", [](const Contest& contest, std::size_t way) {
            if (way >= contest.size()) refuse("there is no such way");
            return contest.behind(way);
        }, nb::arg("way"))
        .def_prop_ro("best", &Contest::best)
        .def_prop_ro("begun", &Contest::begun)
        .def_prop_ro("decided", &Contest::decided);
    nb::class_<Pattern> pattern(m, "Pattern");
    pattern
        .def(nb::init<Array, Array, std::int64_t, bool>(), nb::arg("indptr"), nb::arg("indices"), nb::arg("num_cols"),
             nb::arg("tuned") = true)
        .def_prop_ro("decided", [](const Pattern& own) { return !own.tuner() || own.tuner()->decided(); })
        .def("product", &product, nb::arg("x"), nb::arg("out"), nb::arg("accumulate") = false,
             nb::arg("weight") = nb::none(), nb::arg("row_scale") = nb::none(),
             nb::arg("column_scale") = nb::none(), nb::arg("column_map") = nb::none(),
             nb::arg("threads") = 1, nb::arg("tile") = 0, nb::arg("rows") = nb::none(),
             nb::arg("block_bytes") = 0);
    pattern.def("dropout", &dropout, nb::arg("x"), nb::arg("out"), nb::arg("a"), nb::arg("b"), nb::arg("transposed"),
                nb::arg("threshold"), nb::arg("scale"), nb::arg("threads") = 1);
    bind_attention(pattern);
    bind_rows(m);
    bind_sampling(m, pattern);
    bind_islands(pattern);
    bind_sharing(m);
    m.def("arena_under", &arena_under, nb::arg("library"), nb::arg("least"));
    m.def("arena_bytes", [] { return std::make_pair(arena_used(), arena_taken()); });
}
