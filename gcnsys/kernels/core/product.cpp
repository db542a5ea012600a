// Products of a CSR matrix and dense rows.
#include "slabs.hpp"

#include <chrono>
#include <cmath>
#include <ctime>

namespace gcnsys {
namespace {

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

// Columns a block, or 0: all at once.
template <class Stored, class Summed, class Index>
std::int64_t block_of(const Product<Stored, Summed, Index>& p, std::int64_t slab) {
    const std::int64_t columns = p.way.block_bytes / (slab * std::int64_t(sizeof(Stored)));
    if (columns <= 0 || columns >= p.cols || p.column_map || !p.ascending) return 0;
    // The sums that wait outside should not be far away, nor take memory that counts.
    const double sums = double(p.threads) * double(p.rows) * double(slab) * sizeof(Summed);
    return sums <= 2 * double(last_cache_bytes()) && Slabs<Stored, Summed, Index>(p, slab).in_one_pass() ? columns : 0;
}

template <class Stored, class Summed, class Index>
void go(const Product<Stored, Summed, Index>& p) {
    const std::int64_t slab = slab_of(p);
    if constexpr (sizeof(Index) == 4)  // else a part has 2^31 columns
        if (const std::int64_t columns = slab ? block_of(p, slab) : 0) return by_blocks(p, slab, columns);
    if (slab) by_slabs(p, slab);
    else straight(p);
}

// Of this thread alone where it is the only one: what else the machine does then decides nothing.
inline double seconds_now(int threads) {
#ifdef __linux__
    timespec now;
    if (threads == 1 && clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0)
        return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
#endif
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <class Stored, class Summed, class Index>
void multiplied(const Product<Stored, Summed, Index>& p) {
    if (p.rows == 0 || p.width == 0) return;
    if (p.width < Sum<Stored>::lanes) return padded(p);
    // Less is over before it could be timed.
    if (!p.tuner || double(p.work[p.rows]) * double(p.width) < 1e6) return go(p);
    const Alike alike = !p.column_scale || p.column_map ? Alike::all : slab_of(p) ? Alike::slabs : Alike::straight;
    const Tuner::Size size{int(sizeof(Stored)), p.width, std::ilogb(double(p.x_rows)), p.threads,
                           (p.listed ? 1 : 0) + (p.column_map ? 2 : 0), alike};
    Product<Stored, Summed, Index> tried = p;
    tried.way = p.tuner->next(size);
    const double began = seconds_now(p.threads);
    go(tried);
    p.tuner->settle(size, tried.way, seconds_now(p.threads) - began);
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
