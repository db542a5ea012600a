// Draws among neighbours: each row's depend on its own hash alone, so they are the same for any number of threads.
#include "hash.hpp"
#include "kernels.hpp"

#include <cmath>
#include <limits>
#include <vector>

namespace gcnsys {
namespace {

struct Words {
    std::uint32_t a, b;
};

inline Words words_of(const std::uint64_t (&steps)[3], std::int64_t node) {
    std::uint64_t word = std::uint64_t(node);
    for (const std::uint64_t step : steps) {
        word += step;
        word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9u;
        word = (word ^ (word >> 27)) * 0x94D049BB133111EBu;
        word ^= word >> 31;
    }
    return {std::uint32_t(word), std::uint32_t(word >> 32)};
}

inline std::int64_t below(std::uint32_t word, std::int64_t count) {
    return std::int64_t((std::uint64_t(word) * std::uint64_t(count)) >> 32);
}

// Rows one by one; pieces are small, since rows of a graph differ by orders of magnitude.
template <class Index, class Body>
void each_row(const Asked<Index>& asked, Body body) {
#pragma omp parallel num_threads(asked.threads)
    {
        std::vector<std::int64_t> scratch;
#pragma omp for schedule(dynamic, 64)
        for (std::int64_t row = 0; row < asked.rows; ++row) body(row, scratch);
    }
}

// Writes the entries at the given places of a row, if there is room for just as many.
template <class Index>
inline void put(const Asked<Index>& asked, std::int64_t row, const std::int64_t* places, std::int64_t count) {
    const std::int64_t first = asked.indptr[asked.nodes[row]], start = asked.starts[row];
    if (asked.starts[row + 1] - start != count) {
        asked.fits->store(false, std::memory_order_relaxed);
        return;
    }
    for (std::int64_t i = 0; i < count; ++i) asked.columns[start + i] = asked.indices[first + places[i]];
    if (asked.edges)
        for (std::int64_t i = 0; i < count; ++i) asked.edges[start + i] = first + places[i];
}

constexpr std::int64_t few = 48;

// Floyd's method (Bentley & Floyd 1987): `count` different numbers below `size`, ascending, each set equally likely.
inline void distinct(Words words, std::int64_t size, std::int64_t count, std::vector<std::int64_t>& places) {
    places.resize(std::size_t(count));
    if (count <= few) {
        for (std::int64_t j = 0; j < count; ++j) {
            const std::int64_t limit = size - count + j;
            std::int64_t drawn = below(hashed(words.a, words.b, std::uint32_t(j)), limit + 1);
            bool taken = false;
            for (std::int64_t i = 0; i < j; ++i) taken |= places[std::size_t(i)] == drawn;
            places[std::size_t(j)] = taken ? limit : drawn;
        }
        std::sort(places.begin(), places.end());
        return;
    }
    std::vector<std::uint64_t> taken(std::size_t(size + 63) / 64, 0);
    for (std::int64_t j = 0; j < count; ++j) {
        const std::int64_t limit = size - count + j;
        std::int64_t drawn = below(hashed(words.a, words.b, std::uint32_t(j)), limit + 1);
        if (taken[std::size_t(drawn >> 6)] >> (drawn & 63) & 1) drawn = limit;
        taken[std::size_t(drawn >> 6)] |= std::uint64_t(1) << (drawn & 63);
    }
    std::size_t found = 0;
    for (std::size_t word = 0; word < taken.size(); ++word)
        for (std::uint64_t bits = taken[word]; bits; bits &= bits - 1)
            places[found++] = std::int64_t(word) * 64 + __builtin_ctzll(bits);
}

template <class Index>
void drawn(const UniformDraw<Index>& d) {
    const Asked<Index>& asked = d.asked;
    each_row(asked, [&](std::int64_t row, std::vector<std::int64_t>& places) {
        const std::int64_t node = asked.nodes[row], size = asked.indptr[node + 1] - asked.indptr[node];
        if (size == 0 || d.count == 0) return put(asked, row, nullptr, 0);
        const Words words = words_of(asked.steps, asked.ids[row]);
        if (d.repeated) {
            places.resize(std::size_t(d.count));
            for (std::int64_t j = 0; j < d.count; ++j)
                places[std::size_t(j)] = below(hashed(words.a, words.b, std::uint32_t(j)), size);
            std::sort(places.begin(), places.end());
        } else if (size <= d.count) {
            places.resize(std::size_t(size));
            for (std::int64_t i = 0; i < size; ++i) places[std::size_t(i)] = i;
        } else {
            distinct(words, size, d.count, places);
        }
        put(asked, row, places.data(), std::int64_t(places.size()));
    });
}

template <class Index>
void drawn(const WeightedDraw<Index>& d) {
    const Asked<Index>& asked = d.asked;
#pragma omp parallel num_threads(asked.threads)
    {
        std::vector<std::pair<double, std::int64_t>> race;
        std::vector<std::int64_t> places;
#pragma omp for schedule(dynamic, 16)
        for (std::int64_t row = 0; row < asked.rows; ++row) {
            const std::int64_t node = asked.nodes[row], first = asked.indptr[node];
            const std::int64_t size = asked.indptr[node + 1] - first;
            const Words words = words_of(asked.steps, asked.ids[row]);
            race.clear();
            for (std::int64_t i = 0; i < size; ++i) {
                if (!(d.weight[first + i] > 0)) continue;
                const double u = (hashed(words.a, words.b, std::uint32_t(i)) + 0.5) * 0x1p-32;
                race.emplace_back(-std::log(u) / d.weight[first + i], i);
            }
            const std::int64_t count = std::min(d.count, std::int64_t(race.size()));
            d.last[row] = std::numeric_limits<double>::infinity();
            if (count < std::int64_t(race.size())) {
                std::nth_element(race.begin(), race.begin() + count, race.end());
                d.last[row] = race[std::size_t(count)].first;
            }
            places.resize(std::size_t(count));
            for (std::int64_t i = 0; i < count; ++i) places[std::size_t(i)] = race[std::size_t(i)].second;
            std::sort(places.begin(), places.end());
            put(asked, row, places.data(), count);
        }
    }
}

// A column's hash; those of ids that differ in their upper halves only differ as well.
template <class Index>
inline std::uint32_t hash_of(std::uint32_t a, std::uint32_t b, Index column) {
    if constexpr (sizeof(Index) == 4) return hashed(a, b, std::uint32_t(column));
    else return hashed(a ^ (std::uint32_t(std::uint64_t(column) >> 32) * 0x85EBCA6Bu), b, std::uint32_t(column));
}

template <class Index, class Hash>
void drawn_by(const PoissonDraw<Index>& d, Hash hash) {
    const Asked<Index>& asked = d.asked;
    each_row(asked, [&](std::int64_t row, std::vector<std::int64_t>& places) {
        const std::int64_t node = asked.nodes[row], first = asked.indptr[node];
        const std::int64_t size = asked.indptr[node + 1] - first;
        const Index* columns = asked.indices + first;
        const std::uint64_t threshold = d.below[row];
        if (d.counts) {
            std::int64_t count = 0;
            if (threshold >> 32) count = size;
            else {
                const std::uint32_t limit = std::uint32_t(threshold);
                for (std::int64_t i = 0; i < size; ++i) count += hash(columns[i]) < limit;
            }
            d.counts[row] = count;
            return;
        }
        places.resize(std::size_t(size) + 1);
        std::int64_t count = 0;
        for (std::int64_t i = 0; i < size; ++i) {
            places[std::size_t(count)] = i;
            count += hash(columns[i]) < threshold;
        }
        put(asked, row, places.data(), count);
    });
}

template <class Index>
void drawn(const PoissonDraw<Index>& d) {
    if (d.names) drawn_by(d, [&](Index column) { return hash_of(d.a, d.b, d.names[column]); });
    else drawn_by(d, [&](Index column) { return hash_of(d.a, d.b, column); });
}

}  // namespace

namespace VARIANT {
#define TASK(...) void run(const __VA_ARGS__& d) { drawn(d); }
GCNSYS_SAMPLING_TASKS(TASK)
#undef TASK
}  // namespace VARIANT

}  // namespace gcnsys
