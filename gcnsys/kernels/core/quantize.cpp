// Rows in fewer bits, for the wire. Compiled without fused products, so that torch rounds the same way.
#include "hash.hpp"
#include "vector.hpp"

#include <cfloat>
#include <cmath>

namespace gcnsys {
namespace {

inline std::uint32_t bits_of(float x) {
    std::uint32_t word;
    std::memcpy(&word, &x, sizeof word);
    return word;
}

inline float float_of(std::uint32_t word) {
    float x;
    std::memcpy(&x, &word, sizeof x);
    return x;
}

// Of a row's largest number, as bits: a NaN is larger than all others, so it is not lost.
template <class Stored>
float scale_of(const Stored* x, std::int64_t width) {
    std::uint32_t largest = 0;
    for (std::int64_t f = 0; f < width; ++f) largest = std::max(largest, bits_of(float(widened(x[f]))) & 0x7fffffffu);
    const float scale = float_of(largest) / 127.0f;
    return scale < FLT_MIN ? 0.0f : scale;
}

template <class Stored>
void to_8(const Stored* x, std::int64_t width, std::uint32_t a, std::uint32_t b, std::uint8_t* wire) {
    const float scale = scale_of(x, width), inverse = scale > 0 && scale <= FLT_MAX ? 1.0f / scale : 0.0f;
    std::memcpy(wire + width, &scale, sizeof scale);
    if (inverse == 0) {
        std::memset(wire, 0, std::size_t(width));
        return;
    }
    for (std::int64_t start = 0; start < width; start += mask_block) {
        const int count = int(std::min<std::int64_t>(mask_block, width - start));
        float up[mask_block];
        for (int f = 0; f < mask_block; ++f)
            up[f] = float(std::int32_t(hashed(a, b, std::uint32_t(start + f)) >> 8)) * 0x1p-24f;
        for (int f = 0; f < count; ++f) {
            const float level = std::floor(float(widened(x[start + f])) * inverse + up[f]);
            wire[start + f] = std::uint8_t(std::int8_t(std::min(127.0f, std::max(-127.0f, level))));
        }
    }
}

template <class Stored>
void to_16(const Stored* x, std::int64_t width, std::uint32_t a, std::uint32_t b, std::uint8_t* wire) {
    for (std::int64_t f = 0; f < width; ++f) {
        const std::uint32_t word = bits_of(float(widened(x[f])));
        const bool finite = (word & 0x7f800000u) != 0x7f800000u, nan = !finite && (word & 0x7fffffu);
        const std::uint32_t up = finite ? hashed(a, b, std::uint32_t(f)) >> 16 : nan ? 0x400000u & ~word : 0;
        const std::uint16_t half = std::uint16_t((word + up) >> 16);
        std::memcpy(wire + 2 * f, &half, sizeof half);
    }
}

template <class Stored>
void quantized(const Quantize<Stored>& q) {
    const std::int64_t bytes = wire_bytes(q.width, q.bits);
#pragma omp parallel for schedule(static) num_threads(q.threads)
    for (std::int64_t row = 0; row < q.rows; ++row) {
        const Stored* x = q.x + row * q.width;
        const std::uint32_t a = std::uint32_t(q.a[row]), b = std::uint32_t(q.b[row]);
        if (q.bits == 8) to_8(x, q.width, a, b, q.wire + row * bytes);
        else to_16(x, q.width, a, b, q.wire + row * bytes);
    }
}

template <class Stored>
void dequantized(const Dequantize<Stored>& q) {
    using Number = decltype(widened(Stored()));
    const std::int64_t bytes = wire_bytes(q.width, q.bits);
#pragma omp parallel for schedule(static) num_threads(q.threads)
    for (std::int64_t row = 0; row < q.rows; ++row) {
        const std::uint8_t* wire = q.wire + row * bytes;
        Stored* out = q.out + row * q.width;
        if (q.bits == 8) {
            float scale;
            std::memcpy(&scale, wire + q.width, sizeof scale);
            for (std::int64_t f = 0; f < q.width; ++f) narrow(Number(float(std::int8_t(wire[f])) * scale), out[f]);
        } else {
            for (std::int64_t f = 0; f < q.width; ++f) {
                std::uint16_t half;
                std::memcpy(&half, wire + 2 * f, sizeof half);
                narrow(Number(float_of(std::uint32_t(half) << 16)), out[f]);
            }
        }
    }
}

}  // namespace

namespace VARIANT {
void run(const Quantize<float>& q) { quantized(q); }
void run(const Quantize<double>& q) { quantized(q); }
void run(const Quantize<bfloat16>& q) { quantized(q); }
void run(const Dequantize<float>& q) { dequantized(q); }
void run(const Dequantize<double>& q) { dequantized(q); }
void run(const Dequantize<bfloat16>& q) { dequantized(q); }
}  // namespace VARIANT

}  // namespace gcnsys
