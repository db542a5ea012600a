// Dropout with masks from a hash of row and feature.
#include "chunks.hpp"
#include "hash.hpp"
#include "vector.hpp"

namespace gcnsys {
namespace {

template <class Stored>
void dropped(const Dropout<Stored>& d) {
    using Number = decltype(widened(Stored()));
#pragma omp parallel for schedule(static) num_threads(d.threads)
    for (std::int64_t row = 0; row < d.rows; ++row) {
        const Stored* x = d.x + row * d.width;
        Stored* out = d.out + row * d.width;
        for (std::int64_t start = 0; start < d.width; start += mask_block) {
            const int count = int(std::min<std::int64_t>(mask_block, d.width - start));
            Number factors[mask_block];
            draw_mask(std::uint32_t(d.a[row]), std::uint32_t(d.b[row]), d.first + std::uint32_t(start), d.threshold,
                      Number(d.scale), factors);
            for (int f = 0; f < count; ++f) narrow(Number(widened(x[start + f]) * factors[f]), out[start + f]);
        }
    }
}

template <class Stored, class Index>
void dropped(const EntryDropout<Stored, Index>& d) {
    using Number = decltype(widened(Stored()));
    // No branches: half of them would be guessed wrong.
    const Number factor[2] = {Number(0), Number(d.scale)};
    for_rows(d.indptr, d.rows, d.threads, [&](std::int64_t row) {
        for (std::int64_t entry = d.indptr[row]; entry < d.indptr[row + 1]; ++entry) {
            const std::int64_t column = d.indices[entry];
            const std::int64_t node = d.transposed ? column : row, feature = d.transposed ? row : column;
            const std::uint32_t word = hashed(std::uint32_t(d.a[node]), std::uint32_t(d.b[node]), std::uint32_t(feature));
            narrow(Number(widened(d.x[entry]) * factor[is_kept(word, d.threshold)]), d.out[entry]);
        }
    });
}

}  // namespace

namespace VARIANT {
void run(const Dropout<float>& d) { dropped(d); }
void run(const Dropout<double>& d) { dropped(d); }
void run(const Dropout<bfloat16>& d) { dropped(d); }
void run(const EntryDropout<float, std::int32_t>& d) { dropped(d); }
void run(const EntryDropout<float, std::int64_t>& d) { dropped(d); }
void run(const EntryDropout<double, std::int32_t>& d) { dropped(d); }
void run(const EntryDropout<double, std::int64_t>& d) { dropped(d); }
void run(const EntryDropout<bfloat16, std::int32_t>& d) { dropped(d); }
void run(const EntryDropout<bfloat16, std::int64_t>& d) { dropped(d); }
}  // namespace VARIANT

}  // namespace gcnsys
