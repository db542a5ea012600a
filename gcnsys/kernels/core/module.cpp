// The kernels for Python: arrays come in by DLPack or buffer, are checked, and are not copied.
//
// The interpreter lock is released while a kernel runs.
#include "arrays.hpp"
#include "workspace.hpp"

#include <cstring>

using namespace gcnsys;

namespace {

// A CSR pattern, checked once; it keeps the arrays it was given.
class Pattern {
public:
    Pattern(Array indptr, Array indices, std::int64_t cols) : indptr_(indptr), indices_(indices), cols_(cols) {
        if (!holds<std::int64_t>(indptr) || indptr.ndim() != 1 || indptr.shape(0) < 1)
            refuse("indptr must be a vector of int64 with at least one entry");
        rows_ = std::int64_t(indptr.shape(0)) - 1;
        if (rows_ && indptr.stride(0) != 1) refuse("indptr must be contiguous");
        if (indices.ndim() != 1) refuse("indices must be a vector");
        edges_ = std::int64_t(indices.shape(0));
        if (edges_ > 1 && indices.stride(0) != 1) refuse("indices must be contiguous");
        aligned<std::int64_t>(indptr, "indptr");
        const std::int64_t* offsets = this->offsets();
        if (offsets[0] != 0 || offsets[rows_] != edges_)
            refuse("indptr must run from 0 to " + std::to_string(edges_));
        for (std::int64_t row = 0; row < rows_; ++row)
            if (offsets[row] > offsets[row + 1]) refuse("indptr decreases at row " + std::to_string(row));
        if (holds<std::int32_t>(indices)) check<std::int32_t>();
        else if (holds<std::int64_t>(indices)) check<std::int64_t>();
        else refuse("indices must be int32 or int64");
    }

    void product(const Array& x, const Array& out, bool accumulate, Offered weight, Offered row_scale,
                 Offered column_scale, Offered column_map, int threads, int tile) const {
        const auto run = [&](auto stored, auto summed) {
            using Stored = decltype(stored);
            using Summed = decltype(summed);
            if (holds<std::int32_t>(indices_))
                run_as<Stored, Summed, std::int32_t>(x, out, accumulate, weight, row_scale, column_scale, column_map,
                                                     threads, tile);
            else
                run_as<Stored, Summed, std::int64_t>(x, out, accumulate, weight, row_scale, column_scale, column_map,
                                                     threads, tile);
        };
        by_dtype(x, run);
    }

private:
    const std::int64_t* offsets() const { return static_cast<const std::int64_t*>(indptr_.data()); }

    template <class Index>
    void check() const {
        const Index* indices = aligned<Index>(indices_, "indices");
        for (std::int64_t edge = 0; edge < edges_; ++edge)
            if (indices[edge] < 0 || indices[edge] >= cols_)
                refuse("index " + std::to_string(indices[edge]) + " at edge " + std::to_string(edge) +
                       " is outside 0.." + std::to_string(cols_ - 1));
    }

    template <class Stored, class Summed, class Index>
    void run_as(const Array& x, const Array& out, bool accumulate, const Offered& weight,
             const Offered& row_scale, const Offered& column_scale, const Offered& column_map, int threads,
             int tile) const {
        Product<Stored, Summed, Index> p{};
        p.rows = rows_;
        p.cols = cols_;
        p.width = -1;
        p.x = matrix<Stored>(x, column_map ? -1 : cols_, p.width, p.x_stride, "x");
        p.x_rows = std::int64_t(x.shape(0));
        p.out = matrix<Stored>(out, rows_, p.width, p.out_stride, "out");
        p.indptr = offsets();
        p.indices = static_cast<const Index*>(indices_.data());
        p.weight = vector<Summed>(weight, edges_, "weight");
        p.row_scale = vector<Summed>(row_scale, rows_, "row_scale");
        p.column_scale = vector<Summed>(column_scale, cols_, "column_scale");
        p.column_map = vector<Index>(column_map, cols_, "column_map");
        if (p.column_map)
            for (std::int64_t column = 0; column < cols_; ++column)
                if (p.column_map[column] >= p.x_rows)
                    refuse("column_map names row " + std::to_string(p.column_map[column]) + " of " +
                           std::to_string(p.x_rows));
        if (p.column_map && p.x_rows == 0 && !accumulate && p.width) {
            std::memset(p.out, 0, sizeof(Stored) * std::size_t(p.width) * (p.out_stride == p.width ? rows_ : 0));
            if (p.out_stride != p.width) refuse("out must be contiguous where every column is absent");
            return;
        }
        if (p.column_map && p.x_rows == 0) return;
        p.accumulate = accumulate;
        p.threads = threads < 1 ? 1 : threads;
        p.tile = tile;
        nb::gil_scoped_release unlocked;
        kernels(p.width * std::int64_t(sizeof(Stored))).run(p);
    }

    Array indptr_, indices_;
    std::int64_t rows_ = 0, cols_ = 0, edges_ = 0;
};

}  // namespace

NB_MODULE(_core, m) {
    // At exit, objects that a frame or a cycle still holds would be reported as leaks.
    nb::set_leak_warnings(false);
    m.doc() = "Native kernels of gcnsys; use gcnsys.kernels, which falls back to torch without them.";
    m.attr("VECTOR") = kernels().name();
    nb::class_<Pattern>(m, "Pattern")
        .def(nb::init<Array, Array, std::int64_t>(), nb::arg("indptr"), nb::arg("indices"), nb::arg("num_cols"))
        .def("product", &Pattern::product, nb::arg("x"), nb::arg("out"), nb::arg("accumulate") = false,
             nb::arg("weight") = nb::none(), nb::arg("row_scale") = nb::none(),
             nb::arg("column_scale") = nb::none(), nb::arg("column_map") = nb::none(), nb::arg("threads") = 1,
             nb::arg("tile") = 0);
    m.def("keep_freed_memory", &keep_freed_memory);
    bind_rows(m);
}
