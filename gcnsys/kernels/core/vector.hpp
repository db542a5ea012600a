// Vector registers of numbers, how numbers are stored, and sums over stored numbers.
//
// VECTOR_BYTES is the width of a variant; GCC's and Clang's vectors compile to whatever its flags allow.
#pragma once

#include "kernels.hpp"

#include <cstring>
#include <type_traits>

namespace gcnsys {
namespace {

template <class Number>
struct Vector {
    static constexpr int lanes = VECTOR_BYTES / sizeof(Number);
    typedef Number type __attribute__((vector_size(VECTOR_BYTES), may_alias));
};

template <class Number>
using Lanes = typename Vector<Number>::type;

template <class Number, class = std::enable_if_t<std::is_arithmetic_v<Number>>>
inline Lanes<Number> load(const Number* from) {
    Lanes<Number> v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

template <class Number, class = std::enable_if_t<std::is_arithmetic_v<Number>>>
inline void store(Lanes<Number> v, Number* to) {
    std::memcpy(to, &v, sizeof v);
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

// Keeps a product from being fused with an addition that follows, which the compiler would do in some passes and not
// in others: every way to a sum gives the same bits.
template <class T>
inline void round_here(T& v) {
#if defined(__x86_64__)
    asm("" : "+x"(v));
#elif defined(__aarch64__)
    asm("" : "+w"(v));
#else
    asm("" : "+m"(v));
#endif
}

// A register of stored numbers, added up in their wide type.
template <class Stored>
struct Sum {
    static constexpr int lanes = Vector<Stored>::lanes;
    Lanes<Stored> v;

    void add(const Stored* from) { v += load(from); }
    void add(const Stored* from, Stored factor) { v += load(from) * factor; }
    void scale(Stored factor) { v *= factor, round_here(v); }
    void store_to(Stored* to) const { store(v, to); }
    // Put aside and taken up again, in the wide type.
    void keep(Stored* to) const { store(v, to); }
    void resume(const Stored* from) { v = load(from); }
};

// Numbers at even and odd places are kept apart: each word of two widens by a shift and by a mask.
template <>
struct Sum<bfloat16> {
    static constexpr int lanes = Vector<std::uint16_t>::lanes;
    using Words = Lanes<std::uint32_t>;
    Lanes<float> even, odd;

    void add(const bfloat16* from) { add(from, 1.0f); }
    void add(const bfloat16* from, float factor) {
        Words words;
        std::memcpy(&words, from, sizeof words);
        even += Lanes<float>(words << 16) * factor;
        odd += Lanes<float>(words & 0xffff0000u) * factor;
    }
    void scale(float factor) { even *= factor, odd *= factor, round_here(even), round_here(odd); }
    void store_to(bfloat16* to) const {
        const Words words = rounded(even) >> 16 | (rounded(odd) & 0xffff0000u);
        std::memcpy(to, &words, sizeof words);
    }
    void keep(float* to) const { store(even, to), store(odd, to + lanes / 2); }
    void resume(const float* from) { even = load(from), odd = load(from + lanes / 2); }

private:
    static Words rounded(Lanes<float> v) {
        const Words words = Words(v), nearest = words + 0x7fffu + ((words >> 16) & 1u);
        return (words & 0x7fffffffu) > 0x7f800000u ? (words | 0x400000u) : nearest;
    }
};

}  // namespace
}  // namespace gcnsys
