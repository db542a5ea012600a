// The native kernels: what they take, and where the fastest version for this processor is.
//
// kernels.cpp is compiled once for each vector width (variants.cmake); `kernels()` picks the widest
// that the processor has. Letters: R rows, K columns, E edges, F features.
#pragma once

#include <cstdint>

namespace gcnsys {

// A number stored in the upper half of a float; sums are kept in float.
struct bfloat16 {
    std::uint16_t bits;
};

// out[r, :] (+)= row_scale[r] * sum over the edges of r of weight[e] * column_scale[c] * x[c, :]
template <class Stored, class Summed, class Index>
struct Product {
    std::int64_t rows, cols, width;
    const std::int64_t* indptr;    // [R + 1]
    const Index* indices;          // [E]
    const Summed* weight;          // [E], or null: 1
    const Summed* row_scale;       // [R], or null: 1
    const Summed* column_scale;    // [K], or null: 1
    const Index* column_map;       // [K] row of x for each column, negative: absent; or null: itself
    const Stored* x;               // [*, F], rows `x_stride` apart
    std::int64_t x_rows, x_stride;
    Stored* out;                   // [R, F], rows `out_stride` apart
    std::int64_t out_stride;
    bool accumulate;
    int threads;
    int tile;                      // features a pass: 0: chosen by size; negative: passes without copies
};

// out[n, f] = x[n, f] * scale where the hash of (a[n], b[n], first + f), its top bit flipped, is at least
// `threshold`, else 0
template <class Stored>
struct Dropout {
    std::int64_t rows, width;
    const Stored* x;
    Stored* out;
    const std::int32_t *a, *b;     // [n] words of each row
    std::uint32_t first, threshold;
    double scale;
    int threads;
};

struct Kernels {
    const char* name;
    void (*product_f32_i32)(const Product<float, float, std::int32_t>&);
    void (*product_f32_i64)(const Product<float, float, std::int64_t>&);
    void (*product_f64_i32)(const Product<double, double, std::int32_t>&);
    void (*product_f64_i64)(const Product<double, double, std::int64_t>&);
    void (*product_bf16_i32)(const Product<bfloat16, float, std::int32_t>&);
    void (*product_bf16_i64)(const Product<bfloat16, float, std::int64_t>&);
    void (*dropout_f32)(const Dropout<float>&);
    void (*dropout_f64)(const Dropout<double>&);
    void (*dropout_bf16)(const Dropout<bfloat16>&);
};

const Kernels& kernels();

}  // namespace gcnsys
