// One vector register of numbers, and how they are stored; VECTOR_BYTES is the width of a variant.
#pragma once

#include "kernels.hpp"

#include <cstring>

namespace gcnsys {
namespace {

// GCC's and Clang's vectors of one register; they compile to whatever the variant's flags allow.
template <class Summed>
struct Vector {
    static constexpr int lanes = VECTOR_BYTES / sizeof(Summed);
    typedef Summed type __attribute__((vector_size(VECTOR_BYTES), may_alias));
};

template <class Summed>
using Lanes = typename Vector<Summed>::type;

inline Lanes<float> load(const float* from) {
    Lanes<float> v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

inline Lanes<double> load(const double* from) {
    Lanes<double> v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

inline Lanes<float> load(const bfloat16* from) {
    typedef std::uint16_t Half __attribute__((vector_size(VECTOR_BYTES / 2)));
    typedef std::uint32_t Word __attribute__((vector_size(VECTOR_BYTES)));
    Half half;
    std::memcpy(&half, from, sizeof half);
    Word word = __builtin_convertvector(half, Word) << 16;
    Lanes<float> v;
    std::memcpy(&v, &word, sizeof v);
    return v;
}

inline float widened(float x) { return x; }
inline double widened(double x) { return x; }
inline float widened(bfloat16 x) {
    std::uint32_t word = std::uint32_t(x.bits) << 16;
    float f;
    std::memcpy(&f, &word, sizeof f);
    return f;
}

inline void narrow(float x, float& to) { to = x; }
inline void narrow(double x, double& to) { to = x; }
inline void narrow(float x, bfloat16& to) {
    std::uint32_t word;
    std::memcpy(&word, &x, sizeof word);
    // To the nearest, ties to even; a NaN stays one.
    bool is_nan = (word & 0x7fffffffu) > 0x7f800000u;
    to.bits = is_nan ? std::uint16_t((word >> 16) | 0x40) : std::uint16_t((word + 0x7fff + ((word >> 16) & 1)) >> 16);
}

}  // namespace
}  // namespace gcnsys
