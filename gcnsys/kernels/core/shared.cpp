// Products of rows that share sums: the sums are made in each slab of features, and read while they are near.
#include "slabs.hpp"

namespace gcnsys {
namespace {

// A level of sums of two rows each: there is no loop over a row's edges, whose end would be guessed wrong.
template <class Stored, class Summed>
void add_pairs(const Product<Stored, Summed, std::int32_t>& level, const Stored* slab) {
    constexpr std::int64_t lanes = Sum<Stored>::lanes;
    const std::int64_t width = level.width, last = width - lanes;
    for (std::int64_t row = 0; row < level.rows; ++row) {
        const Stored* one = slab + level.indices[2 * row] * width;
        const Stored* other = slab + level.indices[2 * row + 1] * width;
        Stored* out = level.out + row * width;
        for (std::int64_t feature = 0; feature < last; feature += lanes)
            store(load(one + feature) + load(other + feature), out + feature);
        store(load(one + last) + load(other + last), out + last);
    }
}

// Rows of so many registers, every other edge in sums of its own: an addition need not wait for the one before it.
template <int V, class Stored, class Summed>
void add_twofold(const Product<Stored, Summed, std::int32_t>& p, const Pass<Stored, Summed>& pass) {
    constexpr int lanes = Sum<Stored>::lanes;
    const std::int32_t* indices = p.indices;
    const std::int64_t edges = p.indptr[p.rows];
    for (std::int64_t row = 0; row < p.rows; ++row) {
        Sum<Stored> sums[V] = {}, others[V] = {};
        // The processor does not find the rows written next, where they lie apart; one row takes less than a fetch.
        const Stored* later = p.out + std::min(row + 8, p.rows - 1) * p.out_stride + pass.feature;
        for (int v = 0; v < V; ++v) __builtin_prefetch(later + (v + 1 < V ? v * lanes : pass.last), 1, 3);
        std::int64_t edge = p.indptr[row];
        const std::int64_t end = p.indptr[row + 1];
        const auto at = [&](std::int64_t e, int v) {
            return pass.base + indices[e] * pass.stride + (v + 1 < V ? v * lanes : pass.last);
        };
        for (; edge + 2 <= end; edge += 2) {
            if (edge + pass.ahead.edges + 1 < edges)
                for (int k = 0; k < 2; ++k)
                    fetch(reinterpret_cast<const char*>(pass.base + indices[edge + pass.ahead.edges + k] * pass.stride),
                          std::min<std::size_t>(pass.ahead.bytes, V * lanes * sizeof(Stored)), false);
            for (int v = 0; v < V; ++v) sums[v].add(at(edge, v)), others[v].add(at(edge + 1, v));
        }
        if (edge < end)
            for (int v = 0; v < V; ++v) sums[v].add(at(edge, v));
        for (int v = 0; v < V; ++v) sums[v].v += others[v].v;
        finish<V>(p, pass, row, sums);
    }
}

// The same for whatever fits in registers twice. Whether it does.
template <class Stored, class Summed>
bool added_twofold(const Product<Stored, Summed, std::int32_t>& p, Pass<Stored, Summed> pass, std::int64_t width) {
    constexpr std::int64_t lanes = Sum<Stored>::lanes;
    const std::int64_t needed = (width + lanes - 1) / lanes;
    pass.last = int(width - lanes);
    pass.ahead = Ahead::of(p.way.prefetch, 0, int(needed));
    if (needed == 1) pass.base += pass.last, pass.feature += pass.last, pass.last = 0;
    switch (needed) {
        case 1: add_twofold<1>(p, pass); return true;
        case 2: add_twofold<2>(p, pass); return true;
        case 3: add_twofold<3>(p, pass); return true;
        case 4: add_twofold<4>(p, pass); return true;
        case 5: add_twofold<5>(p, pass); return true;
        default: return false;
    }
}

template <class Stored, class Summed>
void multiplied(const SharedProduct<Stored, Summed>& shared) {
    using Passed = Passes<Stored, Summed, std::int32_t>;
    constexpr std::int64_t lanes = Sum<Stored>::lanes;
    const Product<Stored, Summed, std::int32_t>& p = shared.rows;
    if (p.rows == 0 || p.width == 0) return;
    const Slabs<Stored, Summed, std::int32_t> slabs(p, std::max(lanes, p.way.tile / lanes * lanes));
    const std::int64_t count = slabs.count();
    const std::size_t bytes = std::size_t(p.x_rows + shared.sums) * std::size_t(slabs.widest()) * sizeof(Stored);
#pragma omp parallel num_threads(std::min<std::int64_t>(p.threads, count))
    {
        const Workspace workspace(bytes);
        Stored* slab = workspace.as<Stored>();
#pragma omp for schedule(dynamic, 1)
        for (std::int64_t s = 0; s < count; ++s) {
            const std::int64_t width = slabs.width(s);
            slabs.copy(s, slab, 0, p.x_rows);
            std::int64_t filled = p.x_rows;
            for (std::int64_t l = 0; l < shared.count; ++l) {
                Product<Stored, Summed, std::int32_t> level = shared.levels[l];
                level.out = slab + filled * width, level.out_stride = width, level.width = width;
                level.way.prefetch = p.way.prefetch;
                if (shared.pairs) add_pairs(level, slab);
                else Passed(level, false, bytes).run({slab, width, nullptr, 0, 0, {}}, width, 0, level.rows);
                filled += level.rows;
            }
            const Pass<Stored, Summed> pass{slab, width, nullptr, s * slabs.width(0), 0, {}};
            if (p.weight || !added_twofold(p, pass, width)) Passed(p, p.weight, bytes).run(pass, width, 0, p.rows);
        }
    }
}

}  // namespace

namespace VARIANT {
void run(const SharedProduct<float, float>& p) { multiplied(p); }
void run(const SharedProduct<double, double>& p) { multiplied(p); }
}  // namespace VARIANT

}  // namespace gcnsys
