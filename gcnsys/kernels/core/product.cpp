// Products of a CSR matrix and dense rows.
#include "chunks.hpp"
#include "vector.hpp"

#include <algorithm>
#include <cstring>
#include <new>

namespace gcnsys {
namespace {

// Where a pass finds its columns, and which features of the result it writes.
template <class Stored, class Summed>
struct Pass {
    const Stored* base;         // column c lies at base + c * stride
    std::int64_t stride;
    const Summed* column_scale; // or null: 1
    std::int64_t feature;       // of the first lane
    int from, to;               // lanes written
};

// Adds up `Vectors` vectors of features of one row.
template <int Vectors, bool Weighted, bool Mapped, class Stored, class Summed, class Index>
inline void add_row(const Product<Stored, Summed, Index>& p, const Pass<Stored, Summed>& pass, std::int64_t row,
                    std::int64_t edges) {
    constexpr int lanes = Vector<Summed>::lanes;
    constexpr std::int64_t ahead = 12;
    Lanes<Summed> sums[Vectors] = {};
    const Index* indices = p.indices;
    const std::int64_t end = p.indptr[row + 1];
    for (std::int64_t edge = p.indptr[row]; edge < end; ++edge) {
        if (edge + ahead < edges) {
            std::int64_t next = indices[edge + ahead];
            if (Mapped) next = std::max<std::int64_t>(p.column_map[next], 0);
            const char* address = reinterpret_cast<const char*>(pass.base + next * pass.stride);
            for (std::size_t byte = 0; byte < Vectors * lanes * sizeof(Stored); byte += 64)
                __builtin_prefetch(address + byte, 0, 3);
        }
        std::int64_t column = indices[edge];
        Summed factor = 1;
        if (Weighted) {
            if (p.weight) factor = p.weight[edge];
            if (pass.column_scale) factor *= pass.column_scale[column];
        }
        if (Mapped) {
            column = p.column_map[column];
            if (column < 0) continue;
        }
        const Stored* from = pass.base + column * pass.stride;
        for (int v = 0; v < Vectors; ++v) {
            if (Weighted) sums[v] += load(from + v * lanes) * factor;
            else sums[v] += load(from + v * lanes);
        }
    }
    const Summed scale = p.row_scale ? p.row_scale[row] : Summed(1);
    Stored* out = p.out + row * p.out_stride + pass.feature;
    for (int f = pass.from; f < pass.to; ++f) {
        Summed sum = reinterpret_cast<const Summed*>(sums)[f] * scale;
        if (p.accumulate) sum += widened(out[f]);
        narrow(sum, out[f]);
    }
}

template <bool Weighted, bool Mapped, class Stored, class Summed, class Index>
inline void add_row(int vectors, const Product<Stored, Summed, Index>& p, const Pass<Stored, Summed>& pass,
                    std::int64_t row, std::int64_t edges) {
    if (vectors == 8) add_row<8, Weighted, Mapped>(p, pass, row, edges);
    else if (vectors == 4) add_row<4, Weighted, Mapped>(p, pass, row, edges);
    else if (vectors == 2) add_row<2, Weighted, Mapped>(p, pass, row, edges);
    else add_row<1, Weighted, Mapped>(p, pass, row, edges);
}

struct Aligned {
    explicit Aligned(std::size_t bytes) : memory(::operator new(bytes, std::align_val_t(64))) {}
    ~Aligned() { ::operator delete(memory, std::align_val_t(64)); }
    Aligned(const Aligned&) = delete;
    void* memory;
};

// Features in slabs: a slab of a few features of all columns is copied together first (scaled on
// the way), so that it stays in the cache while all edges pass over it.
template <bool Weighted, bool Mapped, class Stored, class Summed, class Index>
void by_slabs(const Product<Stored, Summed, Index>& p, int vectors) {
    const int tile = vectors * Vector<Summed>::lanes;
    const auto bounds = chunks(p.indptr, p.rows, p.threads);
    const std::int64_t count = std::int64_t(bounds.size()) - 1, edges = p.indptr[p.rows];
    Aligned buffer(std::size_t(p.x_rows + 1) * tile * sizeof(Stored));
    Stored* slab = static_cast<Stored*>(buffer.memory);
    // With a map, column and row of x differ: the scale stays with the edges.
    const bool scaled = p.column_scale && !Mapped;
#pragma omp parallel num_threads(p.threads)
    for (std::int64_t feature = 0; feature < p.width; feature += tile) {
        const int kept = int(std::min<std::int64_t>(tile, p.width - feature));
#pragma omp for schedule(static)
        for (std::int64_t row = 0; row < p.x_rows; ++row) {
            const Stored* from = p.x + row * p.x_stride + feature;
            Stored* to = slab + row * tile;
            if (scaled)
                for (int f = 0; f < kept; ++f) narrow(Summed(widened(from[f]) * p.column_scale[row]), to[f]);
            else
                std::memcpy(to, from, kept * sizeof(Stored));
            if (kept < tile) std::memset(to + kept, 0, (tile - kept) * sizeof(Stored));
        }
        const Pass<Stored, Summed> pass{slab, tile, scaled ? nullptr : p.column_scale, feature, 0, kept};
#pragma omp for schedule(dynamic, 1)
        for (std::int64_t i = 0; i < count; ++i)
            for (std::int64_t row = bounds[i]; row < bounds[i + 1]; ++row)
                add_row<Weighted, Mapped>(vectors, p, pass, row, edges);
    }
}

// Straight from x, all features of a row before the next row. The last vector may overlap the one
// before it and then writes only what is left; so this needs a vector's worth of features.
template <bool Weighted, bool Mapped, class Stored, class Summed, class Index>
void straight(const Product<Stored, Summed, Index>& p) {
    constexpr int lanes = Vector<Summed>::lanes;
    const auto bounds = chunks(p.indptr, p.rows, p.threads);
    const std::int64_t count = std::int64_t(bounds.size()) - 1, edges = p.indptr[p.rows];
#pragma omp parallel for schedule(dynamic, 1) num_threads(p.threads)
    for (std::int64_t i = 0; i < count; ++i)
        for (std::int64_t row = bounds[i]; row < bounds[i + 1]; ++row)
            for (std::int64_t feature = 0; feature < p.width;) {
                const std::int64_t whole = (p.width - feature) / lanes;
                const int vectors = whole >= 8 ? 8 : whole >= 4 ? 4 : whole >= 2 ? 2 : 1;
                const std::int64_t first = std::min(feature, p.width - vectors * lanes);
                const Pass<Stored, Summed> pass{p.x + first, p.x_stride, p.column_scale, first,
                                                int(feature - first), vectors * lanes};
                add_row<Weighted, Mapped>(vectors, p, pass, row, edges);
                feature = first + vectors * lanes;
            }
}

template <bool Weighted, bool Mapped, class Stored, class Summed, class Index>
void pass_over(const Product<Stored, Summed, Index>& p, int tile) {
    constexpr int lanes = Vector<Summed>::lanes;
    if (tile < 0 && p.width >= lanes) straight<Weighted, Mapped>(p);
    else by_slabs<Weighted, Mapped>(p, tile >= 8 * lanes ? 8 : tile >= 4 * lanes ? 4 : tile >= 2 * lanes ? 2 : 1);
}

template <class Stored, class Summed, class Index>
void multiplied(const Product<Stored, Summed, Index>& p) {
    if (p.rows == 0 || p.width == 0) return;
    constexpr int lanes = Vector<Summed>::lanes;
    int tile = p.tile;
    if (tile == 0) {
        // Copying pays where each column is read several times and x does not lie in the cache anyway.
        const double edges = double(p.indptr[p.rows]), bytes = double(p.x_rows) * p.width * sizeof(Stored);
        const double feature = double(p.x_rows) * sizeof(Stored);
        if (edges < 4.0 * p.x_rows || bytes < double(1 << 20)) tile = -1;
        else tile = feature * 64 <= double(16 << 20) ? 64 : feature * 32 <= double(16 << 20) ? 32 : 16;
    }
    if (tile > 0) tile = int(std::min<std::int64_t>(tile, (p.width + lanes - 1) / lanes * lanes));
    // Slabs without a map carry the column scale themselves.
    const bool weighted = p.weight || (p.column_scale && (p.column_map || tile < 0));
    if (p.column_map) weighted ? pass_over<true, true>(p, tile) : pass_over<false, true>(p, tile);
    else weighted ? pass_over<true, false>(p, tile) : pass_over<false, false>(p, tile);
}

}  // namespace

namespace VARIANT {
void run(const Product<float, float, std::int32_t>& p) { multiplied(p); }
void run(const Product<float, float, std::int64_t>& p) { multiplied(p); }
void run(const Product<double, double, std::int32_t>& p) { multiplied(p); }
void run(const Product<double, double, std::int64_t>& p) { multiplied(p); }
void run(const Product<bfloat16, float, std::int32_t>& p) { multiplied(p); }
void run(const Product<bfloat16, float, std::int64_t>& p) { multiplied(p); }
}  // namespace VARIANT

}  // namespace gcnsys
