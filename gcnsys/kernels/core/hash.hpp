// The hash behind keyed masks; see gcnsys/kernels/dropout.py.
#pragma once

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

}  // namespace
}  // namespace gcnsys
