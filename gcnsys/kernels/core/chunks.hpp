// Rows of a CSR matrix cut into pieces of work.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace gcnsys {
namespace {

// Rows are cut into chunks of about equal edges, so that a few hubs do not hold everybody up.
inline std::vector<std::int64_t> chunks(const std::int64_t* indptr, std::int64_t rows, int threads) {
    const std::int64_t edges = indptr[rows] + rows;
    const std::int64_t count = threads == 1 ? 1 : std::min<std::int64_t>(rows, std::int64_t(threads) * 16);
    std::vector<std::int64_t> bounds(std::max<std::int64_t>(count, 1) + 1, rows);
    bounds[0] = 0;
    for (std::int64_t i = 1; i < count; ++i) {
        const std::int64_t target = edges * i / count;
        std::int64_t low = bounds[i - 1], high = rows;
        while (low < high) {
            const std::int64_t middle = (low + high) / 2;
            if (indptr[middle] + middle < target) low = middle + 1; else high = middle;
        }
        bounds[i] = low;
    }
    return bounds;
}

// Calls `body` with every row, in chunks of about equal edges.
template <class Body>
void for_rows(const std::int64_t* indptr, std::int64_t rows, int threads, Body body) {
    const auto bounds = chunks(indptr, rows, threads);
    const std::int64_t count = std::int64_t(bounds.size()) - 1;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (std::int64_t i = 0; i < count; ++i)
        for (std::int64_t row = bounds[i]; row < bounds[i + 1]; ++row) body(row);
}

}  // namespace
}  // namespace gcnsys
