// Exponentials of one register.
#pragma once

#include "vector.hpp"

#include <cmath>

namespace gcnsys {
namespace {

// Within 2 units in the last place between -87 and 88; 0 below, infinity above. A NaN stays one.
// Method and coefficients: Cephes (Moshier), expf: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2].
inline Lanes<float> exponential(Lanes<float> x) {
    typedef std::int32_t Words __attribute__((vector_size(VECTOR_BYTES)));
    const Lanes<float> zero = {}, low = zero - 88.0f, high = zero + 89.0f;
    x = x < low ? low : x;
    x = x > high ? high : x;
    // Adding 1.5 2^23 rounds to a whole number and leaves it in the low bits.
    const Lanes<float> shifted = x * 1.44269504088896341f + 12582912.0f;
    const Lanes<float> n = shifted - 12582912.0f;
    const Lanes<float> r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    Lanes<float> p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    Words words;
    std::memcpy(&words, &shifted, sizeof words);
    words = (words + 127) << 23;
    Lanes<float> power;
    std::memcpy(&power, &words, sizeof power);
    return p * power;
}

inline Lanes<double> exponential(Lanes<double> x) {
    for (int lane = 0; lane < Vector<double>::lanes; ++lane) x[lane] = std::exp(x[lane]);
    return x;
}

}  // namespace
}  // namespace gcnsys
