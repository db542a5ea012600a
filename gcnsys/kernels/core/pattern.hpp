// The CSR pattern that the kernels pass over.
#pragma once

#include "arrays.hpp"

#include <algorithm>
#include <memory>
#include <vector>

namespace gcnsys {

// Checked once; it keeps the arrays it was given.
class Pattern {
public:
    // One that is used a few times alone takes the way that should be fastest, and tries no others.
    Pattern(Array indptr, Array indices, std::int64_t cols, bool tuned)
        : indptr_(indptr), indices_(indices), cols_(cols), tuner_(tuned ? std::make_unique<Tuner>() : nullptr) {
        if (!holds<std::int64_t>(indptr) || indptr.ndim() != 1 || indptr.shape(0) < 1)
            refuse("indptr must be a vector of int64 with at least one entry");
        rows_ = std::int64_t(indptr.shape(0)) - 1;
        if (rows_ && indptr.stride(0) != 1) refuse("indptr must be contiguous");
        if (cols < 0) refuse("num_cols must not be negative");
        if (indices.ndim() != 1) refuse("indices must be a vector");
        edges_ = std::int64_t(indices.shape(0));
        if (edges_ > 1 && indices.stride(0) != 1) refuse("indices must be contiguous");
        const std::int64_t* offsets = aligned<std::int64_t>(indptr, "indptr");
        if (offsets[0] != 0 || offsets[rows_] != edges_)
            refuse("indptr must run from 0 to " + std::to_string(edges_));
        for (std::int64_t row = 0; row < rows_; ++row)
            if (offsets[row] > offsets[row + 1]) refuse("indptr decreases at row " + std::to_string(row));
        if (holds<std::int32_t>(indices)) check<std::int32_t>();
        else if (holds<std::int64_t>(indices)) check<std::int64_t>();
        else refuse("indices must be int32 or int64");
    }

    std::int64_t rows() const { return rows_; }
    std::int64_t cols() const { return cols_; }
    std::int64_t edges() const { return edges_; }
    bool ascending() const { return ascending_; }
    double far() const { return edges_ ? double(far_) / double(edges_) : 0; }
    const std::int64_t* offsets() const { return static_cast<const std::int64_t*>(indptr_.data()); }

    Tuner* tuner() const { return tuner_.get(); }

    // Calls `body` with a pointer to the columns, in their type.
    template <class Body>
    void with_indices(Body body) const {
        if (holds<std::int32_t>(indices_)) body(static_cast<const std::int32_t*>(indices_.data()));
        else body(static_cast<const std::int64_t*>(indices_.data()));
    }

private:
    template <class Index>
    void check() {
        const nb::gil_scoped_release unlocked;  // a billion edges take seconds
        // In stretches of 256 edges: columns seen in this one or the two before are still in a core's cache.
        std::vector<std::uint32_t> seen(std::size_t(cols_), 0);
        const Index* indices = aligned<Index>(indices_, "indices");
        for (std::int64_t edge = 0; edge < edges_; ++edge) {
            if (indices[edge] < 0 || indices[edge] >= cols_)
                refuse("index " + std::to_string(indices[edge]) + " at edge " + std::to_string(edge) +
                       " is outside 0.." + std::to_string(cols_ - 1));
            const std::uint32_t stretch = std::uint32_t(edge >> 8) + 3;
            far_ += stretch - seen[std::size_t(indices[edge])] > 2;
            seen[std::size_t(indices[edge])] = stretch;
        }
        for (std::int64_t row = 0; row < rows_ && ascending_; ++row)
            ascending_ = std::is_sorted(indices + offsets()[row], indices + offsets()[row + 1]);
    }

    Array indptr_, indices_;
    std::int64_t rows_ = 0, cols_ = 0, edges_ = 0, far_ = 0;
    bool ascending_ = true;
    std::unique_ptr<Tuner> tuner_;
};

// The rows of a pattern that are computed: all, or those of a list, in its order.
class Listed {
public:
    Listed(const Pattern& pattern, const Offered& listed) : rows_(pattern.rows()), work_(pattern.offsets()) {
        if (!listed) return;
        if (listed->ndim() != 1) refuse("rows must be a vector");
        rows_ = std::int64_t(listed->shape(0));
        numbers_ = vector<std::int64_t>(listed, rows_, "rows");
        own_.resize(std::size_t(rows_) + 1);
        for (std::int64_t i = 0; i < rows_; ++i) {
            const std::int64_t row = numbers_[i];
            if (row < 0 || row >= pattern.rows())
                refuse("rows names row " + std::to_string(row) + " of " + std::to_string(pattern.rows()));
            own_[std::size_t(i) + 1] = own_[std::size_t(i)] + work_[row + 1] - work_[row];
        }
        work_ = own_.data();
    }

    std::int64_t rows() const { return rows_; }
    const std::int64_t* numbers() const { return numbers_; }
    const std::int64_t* work() const { return work_; }

private:
    std::int64_t rows_;
    const std::int64_t* numbers_ = nullptr;
    const std::int64_t* work_;
    std::vector<std::int64_t> own_;
};

void bind_attention(nb::class_<Pattern>& pattern);
void bind_sampling(nb::module_& m, nb::class_<Pattern>& pattern);
void bind_islands(nb::class_<Pattern>& pattern);
void bind_sharing(nb::module_& m);

}  // namespace gcnsys
