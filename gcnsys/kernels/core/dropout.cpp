// Dropout with masks from a hash of row and feature.
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

}  // namespace

namespace VARIANT {
void run(const Dropout<float>& d) { dropped(d); }
void run(const Dropout<double>& d) { dropped(d); }
void run(const Dropout<bfloat16>& d) { dropped(d); }
}  // namespace VARIANT

}  // namespace gcnsys
