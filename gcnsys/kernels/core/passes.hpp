// Passes over the edges of a pattern, each of which adds up a few registers of features a row.
#pragma once

#include "vector.hpp"
#include "workspace.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace gcnsys {
namespace {

// Registers of sums a pass has at most: more would fit, and measure slower.
template <class Stored>
constexpr int registers = (VECTOR_BYTES == 64 ? 10 : 8) / (std::is_same_v<Stored, bfloat16> ? 2 : 1);

// Which rows are fetched before their turn. From memory far away whole rows are, into the second cache: the
// first has too few places for lines on their way. The processor itself finds the end of a row that is near,
// and everything in a small x.
struct Ahead {
    std::int64_t edges;
    std::size_t bytes;
    bool far;

    static Ahead of(Prefetch asked, std::size_t gathered, int registers) {
        const std::size_t cache = last_cache_bytes();
        if (asked == Prefetch::by_size)
            asked = gathered > cache / 8                     ? Prefetch::far
                    : gathered > cache / 16 || registers > 1 ? Prefetch::near
                                                             : Prefetch::none;
        if (asked == Prefetch::far) return {32, std::size_t(-1), true};
        if (asked == Prefetch::near) return {24, 128, false};
        return {std::numeric_limits<std::int64_t>::max() / 2, 0, false};
    }
};

// Forced inline: GCC 12 takes a function of nothing but prefetches for one without effect, and drops the call.
__attribute__((always_inline)) inline void fetch(const char* from, std::size_t bytes, bool far) {
    if (far)
        for (std::size_t byte = 0; byte < bytes; byte += 64) __builtin_prefetch(from + byte, 0, 2);
    else
        for (std::size_t byte = 0; byte < bytes; byte += 64) __builtin_prefetch(from + byte, 0, 3);
}

// The features that one pass over the edges adds up, `V` registers of them. The last register lies at
// `last`, over the one before where the width is not a multiple.
template <class Stored, class Summed>
struct Pass {
    const Stored* base;          // column c lies at base + c * stride
    std::int64_t stride;
    const Summed* column_scale;  // or null: 1
    std::int64_t feature;        // the first one, in the result
    int last;                    // where the last register starts, behind `feature`
    Ahead ahead;
};

// Columns that a blocked pass adds up, of rows whose columns ascend: those below `end` that earlier blocks left.
template <class Summed>
struct Block {
    std::int64_t end;
    bool first, last;
    std::int64_t* cursors;  // [R] the next edge of each row
    Summed* sums;           // [R, registers] so far
};

template <class Stored, class Summed, class Index>
using Rows = void (*)(const Product<Stored, Summed, Index>&, const Pass<Stored, Summed>&, std::int64_t, std::int64_t);

template <class Stored, class Summed, class Index>
using Blocked = void (*)(const Product<Stored, Summed, Index>&, const Pass<Stored, Summed>&, const Block<Summed>&);

// Rows of the pattern one after the other are prefetched across their ends; those of a list lie apart.
enum class Kind { plain, weighted, mapped, listed };

template <int V, class Stored, class Summed, class Index>
inline void finish(const Product<Stored, Summed, Index>& p, const Pass<Stored, Summed>& pass, std::int64_t row,
                   Sum<Stored>* sums) {
    constexpr int lanes = Sum<Stored>::lanes;
    Stored* out = p.out + row * p.out_stride + pass.feature;
    for (int v = 0; v < V; ++v) {
        if (p.row_scale) sums[v].scale(p.row_scale[row]);
        // All are added before any is stored: registers may overlap.
        if (p.accumulate) sums[v].add(out + (v + 1 < V ? v * lanes : pass.last));
    }
    for (int v = 0; v < V; ++v) sums[v].store_to(out + (v + 1 < V ? v * lanes : pass.last));
}

// A row of one register takes less time than the processor loses where it guesses the row's end wrong. So edges
// go by fours, and zeros are added for those that the last four lack: no sum changes, as none is -0. Returns `end`.
template <class Stored, class Summed, class Index>
inline std::int64_t add_in_fours(const Pass<Stored, Summed>& pass, const Index* indices, std::int64_t edge,
                                 std::int64_t end, std::int64_t edges, Sum<Stored>& sum) {
    static const Stored zeros[Sum<Stored>::lanes] = {};
    for (; edge + 4 <= end; edge += 4)
        for (int k = 0; k < 4; ++k) sum.add(pass.base + indices[edge + k] * pass.stride);
    const Stored* from[3];
    for (int k = 0; k < 3; ++k) from[k] = pass.base + indices[std::min(edge + k, edges - 1)] * pass.stride;
    for (int k = 0; k < 3; ++k) sum.add(edge + k < end ? from[k] : zeros);
    return end;
}

template <int V, Kind kind, class Stored, class Summed, class Index>
void add_rows(const Product<Stored, Summed, Index>& p, const Pass<Stored, Summed>& pass, std::int64_t first,
              std::int64_t last) {
    constexpr bool Weighted = kind != Kind::plain, Mapped = kind == Kind::mapped, Listed = kind == Kind::listed;
    constexpr int lanes = Sum<Stored>::lanes;
    constexpr std::size_t bytes = V * lanes * sizeof(Stored);
    const std::size_t fetched = std::min(pass.ahead.bytes, bytes);
    const bool strided = p.out_stride > V * lanes;  // then the processor does not find the row written next
    const Index* indices = p.indices;
    const std::int64_t edges = p.work[p.rows];
    for (std::int64_t row = first; row < last; ++row) {
        Sum<Stored> sums[V] = {};
        bool any = !Mapped || !p.accumulate;
        if (strided && row + 1 < p.rows) {
            const char* next = reinterpret_cast<const char*>(p.out + (row + 1) * p.out_stride + pass.feature);
            for (std::size_t byte = 0; byte < bytes; byte += 64) __builtin_prefetch(next + byte, 1, 3);
        }
        const std::int64_t line = Listed ? p.listed[row] : row, end = p.indptr[line + 1];
        std::int64_t edge = p.indptr[line];
        if constexpr (V == 1 && kind == Kind::plain)
            if (pass.ahead.bytes == 0 && edges) edge = add_in_fours(pass, indices, edge, end, edges, sums[0]);
        for (; edge < end; ++edge) {
            if (edge + pass.ahead.edges < (Listed ? end : edges)) {
                std::int64_t next = indices[edge + pass.ahead.edges];
                if (Mapped) next = std::max<std::int64_t>(p.column_map[next], 0);
                fetch(reinterpret_cast<const char*>(pass.base + next * pass.stride), fetched, pass.ahead.far);
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
                any = true;
            }
            const Stored* from = pass.base + column * pass.stride;
            for (int v = 0; v < V; ++v) {
                const Stored* at = from + (v + 1 < V ? v * lanes : pass.last);
                if (Weighted) sums[v].add(at, factor);
                else sums[v].add(at);
            }
        }
        if (any) finish<V>(p, pass, row, sums);
    }
}

// Adds the same numbers in the same order as `add_rows`: what a row's sums are between blocks is kept as it is.
template <int V, bool Weighted, class Stored, class Summed, class Index>
void add_block(const Product<Stored, Summed, Index>& p, const Pass<Stored, Summed>& pass, const Block<Summed>& block) {
    constexpr int lanes = Sum<Stored>::lanes;
    const Index* indices = p.indices;
    for (std::int64_t row = 0; row < p.rows; ++row) {
        // A row's edges of one block are few, and the processor does not find those of the rows to come.
        const std::int64_t next = block.cursors[std::min(row + 16, p.rows - 1)];
        __builtin_prefetch(indices + next, 0, 3);
        __builtin_prefetch(indices + next + 8, 0, 3);
        const std::int64_t line = p.listed ? p.listed[row] : row, end = p.indptr[line + 1];
        std::int64_t edge = block.cursors[row];
        Summed* kept = block.sums + row * V * lanes;
        Sum<Stored> sums[V] = {};
        if (!block.first)
            for (int v = 0; v < V; ++v) sums[v].resume(kept + v * lanes);
        for (; edge < end && indices[edge] < block.end; ++edge) {
            const Stored* from = pass.base + indices[edge] * pass.stride;
            for (int v = 0; v < V; ++v) {
                const Stored* at = from + (v + 1 < V ? v * lanes : pass.last);
                if (Weighted) sums[v].add(at, p.weight[edge]);
                else sums[v].add(at);
            }
        }
        block.cursors[row] = edge;
        if (block.last) finish<V>(p, pass, row, sums);
        else
            for (int v = 0; v < V; ++v) sums[v].keep(kept + v * lanes);
    }
}

template <Kind kind, class Stored, class Summed, class Index, std::size_t... I>
constexpr auto compiled(std::index_sequence<I...>) {
    return std::array<Rows<Stored, Summed, Index>, sizeof...(I)>{
        add_rows<int(I) + 1, kind, Stored, Summed, Index>...};
}

template <bool Weighted, class Stored, class Summed, class Index, std::size_t... I>
constexpr auto compiled_blocks(std::index_sequence<I...>) {
    return std::array<Blocked<Stored, Summed, Index>, sizeof...(I)>{
        add_block<int(I) + 1, Weighted, Stored, Summed, Index>...};
}

// One product on its way: which of the compiled passes it runs.
template <class Stored, class Summed, class Index>
class Passes {
public:
    static constexpr int lanes = Sum<Stored>::lanes, most = registers<Stored> * lanes;
    // A block has slabs of 256 bytes at most, the last one with up to a register more.
    static constexpr int most_of_block = std::min(registers<Stored>, 256 / VECTOR_BYTES + 1) * lanes;

    // `gathered` is how many bytes a pass gathers its rows from.
    Passes(const Product<Stored, Summed, Index>& p, bool weighted, std::size_t gathered)
        : p_(p), gathered_(gathered),
          table_(p.listed       ? table<Kind::listed>()
                 : p.column_map ? table<Kind::mapped>()
                 : weighted     ? table<Kind::weighted>()
                                : table<Kind::plain>()) {}

    // Adds up all of `width` features, at least a register's worth, of the rows in [first, last).
    void run(Pass<Stored, Summed> pass, std::int64_t width, std::int64_t first, std::int64_t last) const {
        for (std::int64_t needed = (width + lanes - 1) / lanes; needed > 0;) {
            // Even shares: the last has two registers or more, so that none overlaps what another pass stored.
            constexpr int most = registers<Stored>;
            const auto left = (needed + most - 1) / most;
            const int v = int((needed + left - 1) / left);
            needed -= v;
            pass.last = int(needed ? (v - 1) * lanes : width - lanes);
            pass.ahead = Ahead::of(p_.way.prefetch, gathered_, v);
            if (v == 1) pass.base += pass.last, pass.feature += pass.last, pass.last = 0;
            table_[v - 1](p_, pass, first, last);
            pass.base += v * lanes, pass.feature += v * lanes, width -= v * lanes;
        }
    }

    // The same for the columns of one block, in one pass.
    void run(Pass<Stored, Summed> pass, std::int64_t width, const Block<Summed>& block) const {
        static constexpr auto indices = std::make_index_sequence<std::size_t(most_of_block / lanes)>();
        static constexpr auto plain = compiled_blocks<false, Stored, Summed, Index>(indices);
        static constexpr auto weighted = compiled_blocks<true, Stored, Summed, Index>(indices);
        const int v = int((width + lanes - 1) / lanes);
        pass.last = int(width - lanes);
        if (v == 1) pass.base += pass.last, pass.feature += pass.last, pass.last = 0;
        (p_.weight ? weighted : plain)[std::size_t(v - 1)](p_, pass, block);
    }

private:
    using Table = std::array<Rows<Stored, Summed, Index>, std::size_t(registers<Stored>)>;

    template <Kind kind>
    static const Table& table() {
        static constexpr Table made =
            compiled<kind, Stored, Summed, Index>(std::make_index_sequence<std::size_t(registers<Stored>)>());
        return made;
    }

    const Product<Stored, Summed, Index>& p_;
    std::size_t gathered_;
    const Table& table_;
};

}  // namespace
}  // namespace gcnsys
