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
    const auto bounds = chunks(d.indptr, d.rows, d.threads);
    const std::int64_t count = std::int64_t(bounds.size()) - 1;
#pragma omp parallel for schedule(dynamic, 1) num_threads(d.threads)
    for (std::int64_t i = 0; i < count; ++i)
        for (std::int64_t row = bounds[i]; row < bounds[i + 1]; ++row)
            for (std::int64_t start = d.indptr[row]; start < d.indptr[row + 1]; start += mask_block) {
                const int count = int(std::min<std::int64_t>(mask_block, d.indptr[row + 1] - start));
                std::uint32_t words[mask_block];
                if (d.transposed)
                    for (int i = 0; i < count; ++i) {
                        const std::int64_t node = d.indices[start + i];
                        words[i] = hashed(std::uint32_t(d.a[node]), std::uint32_t(d.b[node]), std::uint32_t(row));
                    }
                else
                    for (int i = 0; i < count; ++i)
                        words[i] = hashed(std::uint32_t(d.a[row]), std::uint32_t(d.b[row]), std::uint32_t(d.indices[start + i]));
                // No branches: half of them would be guessed wrong.
                const Number factor[2] = {Number(0), Number(d.scale)};
                for (int i = 0; i < count; ++i) {
                    const Number x = widened(d.x[start + i]) * factor[(words[i] ^ 0x80000000u) >= d.threshold];
                    narrow(x, d.out[start + i]);
                }
            }
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
