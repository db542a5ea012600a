// The hash that masks are drawn with; gcnsys/kernels/dropout.py says what it is.
#pragma once

#include <algorithm>
#include <cstdint>

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

// Both words of a node, the first one below: a key's three steps are added in turn, each time through the 64-bit
// finalizer of SplitMix64.
inline std::uint64_t words_of(const std::uint64_t* steps, std::int64_t node) {
    std::uint64_t word = std::uint64_t(node);
    for (int k = 0; k < 3; ++k) {
        word += steps[k];
        word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9u;
        word = (word ^ (word >> 27)) * 0x94D049BB133111EBu;
        word ^= word >> 31;
    }
    return word;
}

// Whether what hashes to `word` is kept. The torch side compares signed numbers: the same with the sign bit flipped.
inline bool is_kept(std::uint32_t word, std::uint32_t threshold) { return (word ^ 0x80000000u) >= threshold; }

constexpr int mask_block = 64;

// What `mask_block` features from `feature` on are multiplied by: `scale` where they are kept, else 0.
// Without branches, so that the loops fit any vector unit.
template <class Number>
inline void draw_mask(std::uint32_t a, std::uint32_t b, std::uint32_t feature, std::uint32_t threshold, Number scale,
                      Number (&factors)[mask_block]) {
    std::uint32_t words[mask_block];
    const Number factor[2] = {Number(0), scale};
    for (int f = 0; f < mask_block; ++f) words[f] = hashed(a, b, feature + std::uint32_t(f));
    for (int f = 0; f < mask_block; ++f) factors[f] = is_kept(words[f], threshold) ? factor[1] : factor[0];
}

}  // namespace
}  // namespace gcnsys
