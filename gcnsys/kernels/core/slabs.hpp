// Products over features in slabs, which stay in a cache while edges pass over them.
#pragma once

#include "chunks.hpp"
#include "passes.hpp"

namespace gcnsys {
namespace {

// Features in slabs: a slab of a few features of all columns is copied together first (scaled on
// the way), so that it stays in the cache while all edges pass over it.
template <class Stored, class Summed, class Index>
class Slabs {
public:
    Slabs(const Product<Stored, Summed, Index>& p, std::int64_t tile)
        : p_(p), tile_(tile), scaled_(p.column_scale && !p.column_map),
          passes_(p, p.weight || (p.column_scale && !scaled_), bytes()) {}

    // The last slab takes up what would be less than a register.
    std::int64_t count() const { return std::max<std::int64_t>(1, (p_.width + tile_ - lanes) / tile_); }
    std::size_t bytes() const { return std::size_t(p_.x_rows) * (tile_ + lanes) * sizeof(Stored); }

    std::int64_t width(std::int64_t s) const { return s + 1 < count() ? tile_ : p_.width - s * tile_; }

    std::int64_t widest() const { return std::max(width(0), width(count() - 1)); }

    // Rows [first, last) of x.
    void copy(std::int64_t s, Stored* slab, std::int64_t first, std::int64_t last) const {
        const std::int64_t feature = s * tile_, width = this->width(s);
        for (std::int64_t row = first; row < last; ++row) {
            const Stored* from = p_.x + row * p_.x_stride + feature;
            // The processor does not find them: rows lie a page or more apart.
            const Stored* next = p_.x + std::min(row + 32, last - 1) * p_.x_stride + feature;
            fetch(reinterpret_cast<const char*>(next), width * sizeof(Stored), true);
            Stored* to = slab + (row - first) * width;
            // With a map, column and row of x differ: the scale stays with the edges.
            if (scaled_)
                for (std::int64_t f = 0; f < width; ++f) narrow(Summed(widened(from[f]) * p_.column_scale[row]), to[f]);
            else {  // a call of memcpy would cost more than it copies
                for (std::int64_t f = 0; f + lanes <= width; f += lanes) std::memcpy(to + f, from + f, lanes * sizeof(Stored));
                std::memcpy(to + width - lanes, from + width - lanes, lanes * sizeof(Stored));
            }
        }
    }

    void add(std::int64_t s, const Stored* slab, std::int64_t first, std::int64_t last) const {
        passes_.run({slab, width(s), scaled_ ? nullptr : p_.column_scale, s * tile_, 0, {}}, width(s), first, last);
    }

    // Columns of one block, whose rows are the slab.
    void add(std::int64_t s, const Stored* slab, std::int64_t from, const Block<Summed>& block) const {
        const std::int64_t width = this->width(s);
        passes_.run({slab - from * width, width, nullptr, s * tile_, 0, {}}, width, block);
    }

    // Whether a pass over a block takes the widest slab at once.
    bool in_one_pass() const { return widest() <= passes_.most_of_block; }

private:
    static constexpr std::int64_t lanes = Sum<Stored>::lanes;

    const Product<Stored, Summed, Index>& p_;
    std::int64_t tile_;
    bool scaled_;
    Passes<Stored, Summed, Index> passes_;
};

template <class Stored, class Summed, class Index>
void by_slabs(const Product<Stored, Summed, Index>& p, std::int64_t tile) {
    const Slabs<Stored, Summed, Index> slabs(p, tile);
    const std::int64_t count = slabs.count();
    // Threads that take whole slabs never wait for each other. They need a slab each, and room for it.
    if (p.threads > 1 && count >= p.threads && p.threads * slabs.bytes() <= last_cache_bytes() * 5 / 8) {
#pragma omp parallel num_threads(p.threads)
        {
            const Workspace workspace(slabs.bytes());
#pragma omp for schedule(dynamic, 1)
            for (std::int64_t s = 0; s < count; ++s) {
                slabs.copy(s, workspace.as<Stored>(), 0, p.x_rows);
                slabs.add(s, workspace.as<Stored>(), 0, p.rows);
            }
        }
        return;
    }
    const auto bounds = chunks(p.work, p.rows, p.threads);
    const std::int64_t pieces = std::int64_t(bounds.size()) - 1, step = p.x_rows / p.threads + 1;
    const Workspace workspace(slabs.bytes());
    Stored* slab = workspace.as<Stored>();
#pragma omp parallel num_threads(p.threads)
    for (std::int64_t s = 0; s < count; ++s) {
#pragma omp for schedule(static)
        for (std::int64_t row = 0; row < p.x_rows; row += step) 
            slabs.copy(s, slab + row * slabs.width(s), row, std::min(p.x_rows, row + step));
#pragma omp for schedule(dynamic, 1)
        for (std::int64_t i = 0; i < pieces; ++i) slabs.add(s, slab, bounds[i], bounds[i + 1]);
    }
}

// The same in blocks of so many columns, that a slab of which fits a core's own cache: sums wait outside it
// between blocks. Threads take whole slabs.
template <class Stored, class Summed, class Index>
void by_blocks(const Product<Stored, Summed, Index>& p, std::int64_t tile, std::int64_t columns) {
    const Slabs<Stored, Summed, Index> slabs(p, tile);
    const std::int64_t count = slabs.count(), widest = slabs.widest();
#pragma omp parallel num_threads(p.threads)
    {
        const Workspace copies(std::size_t(columns * widest) * sizeof(Stored));
        const Workspace sums(std::size_t(p.rows * (widest + Sum<Stored>::lanes)) * sizeof(Summed));
        const Workspace cursors(std::size_t(p.rows) * sizeof(std::int64_t));
#pragma omp for schedule(dynamic, 1)
        for (std::int64_t s = 0; s < count; ++s) {
            Block<Summed> block{0, true, false, cursors.as<std::int64_t>(), sums.as<Summed>()};
            for (std::int64_t row = 0; row < p.rows; ++row) block.cursors[row] = p.indptr[p.listed ? p.listed[row] : row];
            for (std::int64_t first = 0; first < p.cols; first = block.end, block.first = false) {
                block.end = std::min(p.cols, first + columns);
                block.last = block.end == p.cols;
                slabs.copy(s, copies.as<Stored>(), first, block.end);
                slabs.add(s, copies.as<Stored>(), first, block);
            }
        }
    }
}

}  // namespace
}  // namespace gcnsys
