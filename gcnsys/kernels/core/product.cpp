// Products of a CSR matrix and dense rows.
#include "chunks.hpp"
#include "vector.hpp"
#include "workspace.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
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

template <class Stored, class Summed, class Index>
using Rows = void (*)(const Product<Stored, Summed, Index>&, const Pass<Stored, Summed>&, std::int64_t, std::int64_t);

// Rows of the pattern one after the other are prefetched across their ends; those of a list lie apart.
enum class Kind { plain, weighted, mapped, listed };

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
        for (std::int64_t edge = p.indptr[line]; edge < end; ++edge) {
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
        if (!any) continue;
        Stored* out = p.out + row * p.out_stride + pass.feature;
        for (int v = 0; v < V; ++v) {
            if (p.row_scale) sums[v].scale(p.row_scale[row]);
            // All are added before any is stored: registers may overlap.
            if (p.accumulate) sums[v].add(out + (v + 1 < V ? v * lanes : pass.last));
        }
        for (int v = 0; v < V; ++v) sums[v].store_to(out + (v + 1 < V ? v * lanes : pass.last));
    }
}

template <Kind kind, class Stored, class Summed, class Index, std::size_t... I>
constexpr auto compiled(std::index_sequence<I...>) {
    return std::array<Rows<Stored, Summed, Index>, sizeof...(I)>{
        add_rows<int(I) + 1, kind, Stored, Summed, Index>...};
}

// One product on its way: which of the compiled passes it runs.
template <class Stored, class Summed, class Index>
class Passes {
public:
    static constexpr int lanes = Sum<Stored>::lanes, most = registers<Stored> * lanes;

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

    void copy(std::int64_t s, Stored* slab, std::int64_t first, std::int64_t last) const {
        const std::int64_t feature = s * tile_, width = this->width(s);
        for (std::int64_t row = first; row < last; ++row) {
            const Stored* from = p_.x + row * p_.x_stride + feature;
            // The processor does not find them: rows lie a page or more apart.
            const Stored* next = p_.x + std::min(row + 32, last - 1) * p_.x_stride + feature;
            fetch(reinterpret_cast<const char*>(next), width * sizeof(Stored), true);
            Stored* to = slab + row * width;
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

private:
    static constexpr std::int64_t lanes = Sum<Stored>::lanes;

    std::int64_t width(std::int64_t s) const { return s + 1 < count() ? tile_ : p_.width - s * tile_; }

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
        for (std::int64_t row = 0; row < p.x_rows; row += step) slabs.copy(s, slab, row, std::min(p.x_rows, row + step));
#pragma omp for schedule(dynamic, 1)
        for (std::int64_t i = 0; i < pieces; ++i) slabs.add(s, slab, bounds[i], bounds[i + 1]);
    }
}

// Straight from x, all features of a row before the next row.
template <class Stored, class Summed, class Index>
void straight(const Product<Stored, Summed, Index>& p) {
    const Passes<Stored, Summed, Index> passes(p, p.weight || p.column_scale, std::size_t(p.x_rows) * p.width * sizeof(Stored));
    const auto bounds = chunks(p.work, p.rows, p.threads);
    const std::int64_t count = std::int64_t(bounds.size()) - 1;
    const Pass<Stored, Summed> pass{p.x, p.x_stride, p.column_scale, 0, 0, {}};
#pragma omp parallel for schedule(dynamic, 1) num_threads(p.threads)
    for (std::int64_t i = 0; i < count; ++i) {
        if (p.width <= passes.most) passes.run(pass, p.width, bounds[i], bounds[i + 1]);
        else
            for (std::int64_t row = bounds[i]; row < bounds[i + 1]; ++row) passes.run(pass, p.width, row, row + 1);
    }
}

// Less than a register of features: rows are padded to one.
template <class Stored, class Summed, class Index>
void padded(const Product<Stored, Summed, Index>& p) {
    constexpr std::int64_t lanes = Sum<Stored>::lanes;
    const Workspace wide_x(std::size_t(p.x_rows + 1) * lanes * sizeof(Stored));
    const Workspace wide_out(std::size_t(p.rows) * lanes * sizeof(Stored));
    Stored *x = wide_x.as<Stored>(), *sums = wide_out.as<Stored>();
#pragma omp parallel for schedule(static) num_threads(p.threads)
    for (std::int64_t row = 0; row < p.x_rows; ++row) {
        std::memset(x + row * lanes, 0, lanes * sizeof(Stored));
        std::memcpy(x + row * lanes, p.x + row * p.x_stride, p.width * sizeof(Stored));
    }
#pragma omp parallel for schedule(static) num_threads(p.threads)
    for (std::int64_t row = 0; row < p.rows; ++row) {
        std::memset(sums + row * lanes, 0, lanes * sizeof(Stored));
        if (p.accumulate) std::memcpy(sums + row * lanes, p.out + row * p.out_stride, p.width * sizeof(Stored));
    }
    Product<Stored, Summed, Index> wide = p;
    wide.x = x, wide.x_stride = lanes, wide.out = sums, wide.out_stride = lanes, wide.width = lanes;
    straight(wide);
#pragma omp parallel for schedule(static) num_threads(p.threads)
    for (std::int64_t row = 0; row < p.rows; ++row)
        std::memcpy(p.out + row * p.out_stride, sums + row * lanes, p.width * sizeof(Stored));
}

// Bytes a nanosecond that rows are gathered with, by one thread, from so much memory. Measured with a last
// cache of 32 MiB; only the relation of one size to another matters.
inline double gather_rate(double bytes) {
    const double share = bytes / double(last_cache_bytes());
    return share <= 0.125 ? 95 : share <= 0.25 ? 70 : share <= 0.5 ? 54 : share <= 0.75 ? 40 : share <= 1 ? 35
         : share <= 2 ? 28 : 24;
}

// Features a slab, or -1 to go straight: whatever should be faster.
template <class Stored, class Summed, class Index>
std::int64_t chosen_tile(const Product<Stored, Summed, Index>& p) {
    const double rows = double(std::max<std::int64_t>(p.x_rows, 1));
    const double reads = double(p.work[p.rows]) * p.present / rows;
    const double row_bytes = double(p.width) * sizeof(Stored);
    // Rows used shortly before are near however large x is.
    double least = reads * (p.far / gather_rate(rows * row_bytes) + (1 - p.far) / gather_rate(0));
    std::int64_t best = -1;
    const bool aligned = p.x_stride * sizeof(Stored) % 64 == 0 && p.out_stride * sizeof(Stored) % 64 == 0;
    for (int bytes : {256, 128, 64}) {
        if (rows * bytes > double(last_cache_bytes())) continue;
        // Copying and writing, which takes parts of cache lines twice where rows start anywhere.
        const double moved = aligned ? 0.08 : 51.0 / bytes;
        const double time = reads / (gather_rate(rows * bytes) * (bytes == 64 ? 0.6 : 1)) + moved;
        if (time < least) least = time, best = bytes / int(sizeof(Stored));
    }
    return best;
}

// Features a slab, or 0: straight.
template <class Stored, class Summed, class Index>
std::int64_t slab_of(const Product<Stored, Summed, Index>& p) {
    constexpr std::int64_t lanes = Sum<Stored>::lanes;
    const std::int64_t tile = p.way.tile ? p.way.tile : chosen_tile(p);
    return tile < 0 || tile >= p.width ? 0 : std::max(lanes, tile / lanes * lanes);
}

template <class Stored, class Summed, class Index>
void go(const Product<Stored, Summed, Index>& p) {
    const std::int64_t slab = slab_of(p);
    if (slab) by_slabs(p, slab);
    else straight(p);
}

template <class Stored, class Summed, class Index>
void multiplied(const Product<Stored, Summed, Index>& p) {
    if (p.rows == 0 || p.width == 0) return;
    if (p.width < Sum<Stored>::lanes) return padded(p);
    // Less is over before it could be timed.
    if (!p.tuner || double(p.work[p.rows]) * double(p.width) < 4e6) return go(p);
    const Alike alike = !p.column_scale || p.column_map ? Alike::all : slab_of(p) ? Alike::slabs : Alike::straight;
    const Tuner::Size size{int(sizeof(Stored)), p.width, std::ilogb(double(p.x_rows)), p.threads,
                           (p.column_map ? 2 : 0) + (p.listed ? 1 : 0), alike};
    Product<Stored, Summed, Index> tried = p;
    tried.way = p.tuner->next(size);
    const auto began = std::chrono::steady_clock::now();
    go(tried);
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - began;
    p.tuner->settle(size, tried.way, spent.count());
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
