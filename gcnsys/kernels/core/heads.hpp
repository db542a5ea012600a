// Passes over edges, a head and a few of its features at a time.
//
// Those features of all columns are copied together first (a slab), so that they stay in the cache while
// all edges pass over them.
#pragma once

#include "chunks.hpp"
#include "vector.hpp"
#include "workspace.hpp"

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace gcnsys {
namespace {

// Edges looked at together; what is known of them fits the first-level cache.
constexpr int block_edges = 256;

// How many edges ahead a row of features is asked for.
constexpr int ahead = 12;

// The type in which numbers stored like this are added up.
template <class Stored>
using SummedOf = decltype(widened(Stored()));

// Scratch memory for `size` numbers.
template <class T>
class Scratch {
public:
    explicit Scratch(std::int64_t size) : workspace_(std::size_t(size + 1) * sizeof(T)) {}
    T* data() const { return workspace_.as<T>(); }

private:
    Workspace workspace_;
};

// Stored numbers, widened.
inline Lanes<float> load(const bfloat16* from) {
    typedef std::uint16_t Half __attribute__((vector_size(VECTOR_BYTES / 2)));
    Half half;
    std::memcpy(&half, from, sizeof half);
    return Lanes<float>(__builtin_convertvector(half, Lanes<std::uint32_t>) << 16);
}

// Registers of features a pass: as many as their sums leave free, and equally many in all passes of a head.
template <class Stored>
int vectors_for(std::int64_t width) {
    constexpr std::int64_t lanes = Vector<SummedOf<Stored>>::lanes, most = 4;
    const std::int64_t needed = (width + lanes - 1) / lanes, passes = (needed + most - 1) / most;
    return int((needed + passes - 1) / passes);
}

// Calls `body` with a constant.
template <class Body>
void with_vectors(int vectors, Body body) {
    if (vectors == 4) body(std::integral_constant<int, 4>());
    else if (vectors == 3) body(std::integral_constant<int, 3>());
    else if (vectors == 2) body(std::integral_constant<int, 2>());
    else body(std::integral_constant<int, 1>());
}

// Copies features together; all threads of the region share the work.
template <int Tile, class Stored>
void fill_slab(Stored* slab, const Stored* x, std::int64_t stride, std::int64_t cols, std::int64_t kept) {
#pragma omp for schedule(static)
    for (std::int64_t column = 0; column < cols; ++column) {
        Stored* to = slab + column * Tile;
        std::memcpy(to, x + column * stride, std::size_t(kept) * sizeof(Stored));
        if (kept < Tile) std::memset(static_cast<void*>(to + kept), 0, std::size_t(Tile - kept) * sizeof(Stored));
    }
}

// Forced inline: see `fetch` of passes.hpp.
template <int Tile, bool Written = false, class Stored>
__attribute__((always_inline)) inline void prefetch(const Stored* row) {
    for (std::size_t byte = 0; byte < Tile * sizeof(Stored); byte += 64)
        __builtin_prefetch(reinterpret_cast<const char*>(row) + byte, Written ? 1 : 0, 3);
}

// Adds the slab's rows of some edges, weighted in one way and, if there is `other`, in a second one.
// `left` entries of `columns` can be read, these edges' and those of later rows.
template <int Vectors, bool Both, class Stored, class Summed, class Index>
inline void add_edges(Lanes<Summed>* sums, Lanes<Summed>* others, const Summed* weight, const Summed* other,
                      const Index* columns, int count, std::int64_t left, const Stored* slab) {
    constexpr int lanes = Vector<Summed>::lanes, tile = Vectors * lanes;
    Lanes<Summed> one[Vectors], two[Vectors];
    for (int v = 0; v < Vectors; ++v) {
        one[v] = sums[v];
        if (Both) two[v] = others[v];
    }
    for (int edge = 0; edge < count; ++edge) {
        if (edge + ahead < left) prefetch<tile>(slab + std::int64_t(columns[edge + ahead]) * tile);
        const Stored* from = slab + std::int64_t(columns[edge]) * tile;
        for (int v = 0; v < Vectors; ++v) {
            const Lanes<Summed> features = load(from + v * lanes);
            one[v] += features * weight[edge];
            if (Both) two[v] += features * other[edge];
        }
    }
    for (int v = 0; v < Vectors; ++v) {
        sums[v] = one[v];
        if (Both) others[v] = two[v];
    }
}

template <class Summed>
inline Summed total(Lanes<Summed> v) {
    Summed numbers[Vector<Summed>::lanes];
    std::memcpy(numbers, &v, sizeof v);
    for (int half = Vector<Summed>::lanes / 2; half; half /= 2)
        for (int lane = 0; lane < half; ++lane) numbers[lane] += numbers[lane + half];
    return numbers[0];
}

template <class Summed>
inline Summed largest(Lanes<Summed> v) {
    Summed numbers[Vector<Summed>::lanes];
    std::memcpy(numbers, &v, sizeof v);
    for (int half = Vector<Summed>::lanes / 2; half; half /= 2)
        for (int lane = 0; lane < half; ++lane) numbers[lane] = std::max(numbers[lane], numbers[lane + half]);
    return numbers[0];
}

template <class Stored, class Summed = SummedOf<Stored>>
inline Summed dot(const Stored* one, const Stored* other, std::int64_t width) {
    constexpr int lanes = Vector<Summed>::lanes;
    Lanes<Summed> sums = {};
    std::int64_t f = 0;
    for (; f + lanes <= width; f += lanes) sums += load(one + f) * load(other + f);
    Summed sum = total<Summed>(sums);
    for (; f < width; ++f) sum += widened(one[f]) * widened(other[f]);
    return sum;
}

template <class Stored, class Summed = SummedOf<Stored>>
inline void store(const Lanes<Summed>* sums, Stored* to, std::int64_t kept) {
    for (std::int64_t f = 0; f < kept; ++f) narrow(reinterpret_cast<const Summed*>(sums)[f], to[f]);
}

}  // namespace
}  // namespace gcnsys
