// Draws among neighbours: each row's depend on its own hash alone, so they are the same for any number of threads.
#include "hash.hpp"
#include "kernels.hpp"

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace gcnsys {
namespace {

struct Words {
    std::uint32_t a, b;
};

inline Words halves(std::uint64_t word) { return {std::uint32_t(word), std::uint32_t(word >> 32)}; }

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

constexpr std::int64_t few = 48, lanes = 16, short_row = 1024;
constexpr std::uint32_t no_place = ~std::uint32_t(0);

// A number below `size + j * growth` for each of `count` draws; written up to a multiple of `lanes`, for which a
// loop without a rest fits any vector unit.
inline void draw(Words words, std::int64_t size, std::int64_t growth, std::int64_t count, std::uint32_t* drawn) {
    for (std::int64_t first = 0; first < count; first += lanes)
        for (std::int64_t j = first; j < first + lanes; ++j)
            drawn[j] = std::uint32_t(below(hashed(words.a, words.b, std::uint32_t(j)), size + j * growth));
}

// Writes few numbers in ascending order: each goes where as many are smaller as have been before. Returns how many
// are equal to one before them.
inline std::int64_t sort_few(std::uint32_t* numbers, std::int64_t count, std::int64_t* sorted) {
    const std::int64_t padded = (count + lanes - 1) / lanes * lanes;
    std::fill(numbers + count, numbers + padded, no_place);
    std::int64_t equal = 0;
    for (std::int64_t j = 0; j < count; ++j) {
        const std::uint32_t own = numbers[j];
        std::uint32_t smaller = 0, before = 0;
        for (std::int64_t first = 0; first < padded; first += lanes)
            for (std::int64_t i = first; i < first + lanes; ++i) {
                smaller += numbers[i] < own;
                before += numbers[i] == own && i < j;
            }
        sorted[smaller + before] = own;
        equal += before;
    }
    return equal;
}

// Floyd's method (Bentley & Floyd 1987): `count` different numbers below `size`, ascending, each set equally likely.
// A number that has come before is replaced by the largest one that could not have.
inline void distinct_of_short(Words words, std::int64_t size, std::int64_t count, std::int64_t* sorted) {
    std::uint32_t drawn[short_row + lanes];
    std::uint64_t taken[short_row / 64] = {};
    std::uint32_t before[short_row / 64];
    draw(words, size - count + 1, 1, count, drawn);
    for (std::int64_t j = 0; j < count; ++j) {
        const bool again = taken[drawn[j] >> 6] >> (drawn[j] & 63) & 1;
        drawn[j] = again ? std::uint32_t(size - count + j) : drawn[j];
        taken[drawn[j] >> 6] |= std::uint64_t(1) << (drawn[j] & 63);
    }
    std::uint32_t total = 0;
    for (std::int64_t word = 0; word * 64 < size; ++word) {
        before[word] = total;
        total += std::uint32_t(__builtin_popcountll(taken[word]));
    }
    for (std::int64_t j = 0; j < count; ++j) {
        const std::uint64_t smaller = taken[drawn[j] >> 6] & ((std::uint64_t(1) << (drawn[j] & 63)) - 1);
        sorted[before[drawn[j] >> 6] + std::uint32_t(__builtin_popcountll(smaller))] = drawn[j];
    }
}

inline void distinct_few(Words words, std::int64_t size, std::int64_t count, std::int64_t* sorted) {
    std::uint32_t drawn[few];
    draw(words, size - count + 1, 1, count, drawn);
    if (!sort_few(drawn, count, sorted)) return;
    for (std::int64_t j = 1; j < count; ++j)
        if (std::find(drawn, drawn + j, drawn[j]) != drawn + j) drawn[j] = std::uint32_t(size - count + j);
    sort_few(drawn, count, sorted);
}

inline void distinct_many(Words words, std::int64_t size, std::int64_t count, std::int64_t* sorted) {
    std::vector<std::uint64_t> taken(std::size_t(size + 63) / 64, 0);
    for (std::int64_t j = 0; j < count; ++j) {
        const std::int64_t limit = size - count + j;
        std::int64_t drawn = below(hashed(words.a, words.b, std::uint32_t(j)), limit + 1);
        if (taken[std::size_t(drawn >> 6)] >> (drawn & 63) & 1) drawn = limit;
        taken[std::size_t(drawn >> 6)] |= std::uint64_t(1) << (drawn & 63);
    }
    for (std::size_t word = 0; word < taken.size(); ++word)
        for (std::uint64_t bits = taken[word]; bits; bits &= bits - 1)
            *sorted++ = std::int64_t(word) * 64 + __builtin_ctzll(bits);
}

// `count` numbers below `size`, ascending, any of them more than once.
inline void repeated(Words words, std::int64_t size, std::int64_t count, std::int64_t* sorted) {
    if (count <= few && size < no_place) {
        std::uint32_t drawn[few];
        draw(words, size, 0, count, drawn);
        sort_few(drawn, count, sorted);
        return;
    }
    for (std::int64_t j = 0; j < count; ++j) sorted[j] = below(hashed(words.a, words.b, std::uint32_t(j)), size);
    std::sort(sorted, sorted + count);
}

template <class Index>
void drawn(const UniformDraw<Index>& d) {
    constexpr std::int64_t together = 16;
    const Asked<Index>& asked = d.asked;
#pragma omp parallel num_threads(asked.threads)
    {
        std::vector<std::int64_t> places;
        std::int64_t begins[together + 1];
#pragma omp for schedule(dynamic, 4)
        for (std::int64_t group = 0; group < asked.rows; group += together) {
            const std::int64_t size_of_group = std::min(together, asked.rows - group);
            places.clear();
            // Entries of the rows of a group are on their way from memory while the next ones are drawn.
            for (std::int64_t i = 0; i < size_of_group; ++i) {
                const std::int64_t row = group + i, node = asked.nodes[row], first = asked.indptr[node];
                const std::int64_t size = asked.indptr[node + 1] - first;
                const std::int64_t count = size && d.repeated ? d.count : std::min(size, d.count);
                begins[i] = std::int64_t(places.size());
                places.resize(places.size() + std::size_t(count));
                std::int64_t* sorted = places.data() + begins[i];
                const Words words = halves(words_of(asked.steps, asked.ids[row]));
                if (d.repeated) repeated(words, size, count, sorted);
                else if (count == size) std::iota(sorted, sorted + size, 0);
                else if (size <= short_row) distinct_of_short(words, size, count, sorted);
                else if (count <= few && size < no_place) distinct_few(words, size, count, sorted);
                else distinct_many(words, size, count, sorted);
                for (std::int64_t k = 0; k < count; ++k) __builtin_prefetch(asked.indices + first + sorted[k]);
            }
            begins[size_of_group] = std::int64_t(places.size());
            for (std::int64_t i = 0; i < size_of_group; ++i)
                put(asked, group + i, places.data() + begins[i], begins[i + 1] - begins[i]);
        }
    }
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
            const Words words = halves(words_of(asked.steps, asked.ids[row]));
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
