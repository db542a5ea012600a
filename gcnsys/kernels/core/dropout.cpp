// Dropout with masks from a hash of row and feature.
#include "vector.hpp"

#include <algorithm>

namespace gcnsys {
namespace {

inline std::uint32_t hashed(std::uint32_t a, std::uint32_t b, std::uint32_t feature) {
    std::uint32_t h = (feature * 0x9E3779B1u) ^ a;
    h ^= h >> 16;
    h *= 0x85EBCA6Bu;
    h ^= h >> 13;
    h ^= b;
    h *= 0xC2B2AE35u;
    return h ^ (h >> 16);
}

// Without branches, so that the loop fits any vector unit.
template <class Stored>
void dropped(const Dropout<Stored>& d) {
    using Summed = decltype(widened(Stored()));
    const Summed factor[2] = {Summed(0), Summed(d.scale)};
    constexpr int block = 64;
#pragma omp parallel for schedule(static) num_threads(d.threads)
    for (std::int64_t row = 0; row < d.rows; ++row) {
        const Stored* x = d.x + row * d.width;
        Stored* out = d.out + row * d.width;
        const std::uint32_t a = d.a[row], b = d.b[row];
        for (std::int64_t start = 0; start < d.width; start += block) {
            const int count = int(std::min<std::int64_t>(block, d.width - start));
            std::uint32_t words[block];
            for (int f = 0; f < block; ++f) words[f] = hashed(a, b, d.first + std::uint32_t(start + f));
            Summed factors[block];
            // The torch side compares signed numbers: the same with the sign bit flipped.
            for (int f = 0; f < block; ++f)
                factors[f] = (words[f] ^ 0x80000000u) >= d.threshold ? factor[1] : factor[0];
            for (int f = 0; f < count; ++f) narrow(Summed(widened(x[start + f]) * factors[f]), out[start + f]);
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
