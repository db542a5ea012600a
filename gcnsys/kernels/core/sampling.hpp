// Draws among the entries of some rows of a CSR pattern; gcnsys/kernels/neighbours.py says what they mean.
#pragma once

#include <atomic>
#include <cstdint>

namespace gcnsys {

// The rows that are asked for, what their draws depend on, and where what is drawn goes.
template <class Index>
struct Asked {
    std::int64_t rows;
    const std::int64_t* nodes;     // [n] the row of the pattern that each one is
    const std::int64_t* ids;       // [n] what it is called in draws
    const std::int64_t* indptr;    // [R + 1] of the pattern
    const Index* indices;          // [E]
    std::uint64_t steps[3];        // of the hash of a row
    const std::int64_t* starts;    // [n + 1] where each row's entries go
    std::int64_t* edges;           // entries that were drawn, ascending in each row; or null: not asked for
    Index* columns;                // their columns
    std::atomic<bool>* fits;       // cleared by a row that gets another number of entries than there is room for
    int threads;
};

// Of each row `count` different entries, or all if there are no more; or, `repeated`, `count` that may be equal.
template <class Index>
struct UniformDraw {
    Asked<Index> asked;
    std::int64_t count;
    bool repeated;
};

// Of each row the `count` entries that are first in an exponential race at the speeds `weight`.
template <class Index>
struct WeightedDraw {
    Asked<Index> asked;
    std::int64_t count;
    const double* weight;          // [E]
    double* last;                  // [n] when the first of the others arrives; infinity if there is none
};

// The entries whose column's hash is below the row's threshold; first, where `counts` is given, how many.
template <class Index>
struct PoissonDraw {
    Asked<Index> asked;
    std::uint32_t a, b;            // words that the hash of a column depends on
    const std::int64_t* names;     // [K] what each column is called in draws, or null: its number
    const std::uint64_t* below;    // [n] thresholds, at most 2^32
    std::int64_t* counts;          // [n]
};

#define GCNSYS_SAMPLING_TASKS(TASK)    \
    TASK(UniformDraw<std::int32_t>)    \
    TASK(UniformDraw<std::int64_t>)    \
    TASK(WeightedDraw<std::int32_t>)   \
    TASK(WeightedDraw<std::int64_t>)   \
    TASK(PoissonDraw<std::int32_t>)    \
    TASK(PoissonDraw<std::int64_t>)

}  // namespace gcnsys
