// The native kernels: what they take, and where the fastest version for this processor is.
//
// Every file but the bindings, dispatch.cpp, tuner.cpp, workspace.cpp and arena.cpp is compiled once for each vector
// width, in a namespace of its name; `kernels()` picks the widest that the processor has. Letters: R rows, K columns, E edges, F features.
#pragma once

#include "attention.hpp"
#include "sampling.hpp"
#include "tuner.hpp"

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
    const std::int64_t* listed;    // [R] the row of the pattern that each row is, or null: itself
    const std::int64_t* work;      // [R + 1] edges of the rows before each one; `indptr` if nothing is listed
    bool ascending;                // whether the columns of each row ascend
    double far;                    // share of the edges whose column was not used shortly before
    double present;                // share of the columns that are present
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
    Way way;
    Tuner* tuner;                  // finds the way where `way` leaves it open; or null: by size
};

// The same where rows share sums: column c of `rows` is row c of x, or sum c - x_rows. A level's rows are the next
// sums, of rows of x and of sums before them.
template <class Stored, class Summed>
struct SharedProduct {
    Product<Stored, Summed, std::int32_t> rows;
    const Product<Stored, Summed, std::int32_t>* levels;
    std::int64_t count, sums;
    bool pairs;  // every sum is of two rows
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

// The same for the entries of a sparse matrix [n, F], or of its transpose [F, n].
template <class Stored, class Index>
struct EntryDropout {
    std::int64_t rows;
    const std::int64_t* indptr;    // [R + 1]
    const Index* indices;          // [E]
    bool transposed;
    const Stored* x;               // [E]
    Stored* out;
    const std::int32_t *a, *b;     // [n] words of each node
    std::uint32_t threshold;
    double scale;
    int threads;
};

// out = dropout(relu(norm(x))), rows [n, F] one after the other.
template <class Stored, class Number>
struct Activation {
    std::int64_t rows, width;
    const Stored* x;
    Stored* out;
    const Number *weight, *bias;   // [F] of layer norm, or null: no norm
    Number *mean, *rstd;           // [n] of each row, written where there is a norm
    double eps;
    const std::int32_t *a, *b;     // [n] words of each row's mask, or null: nothing is dropped
    std::uint32_t threshold;
    double scale;
    int threads;
};

// Its gradient; `x` is what came in where there is a norm, else what came out.
template <class Stored, class Number>
struct ActivationGradient {
    std::int64_t rows, width;
    const Stored *x, *grad;
    Stored* out;
    const Number *weight, *bias, *mean, *rstd;
    Number *weight_grad, *bias_grad;
    const std::int32_t *a, *b;
    std::uint32_t threshold;
    double scale;
    int threads;
};

// Rows in `bits` = 8 or 16 bits a number, rounded up or down by a hash of row and feature, so that the
// expectation is exact; gcnsys/kernels/quantize.py says how. 8 bits: the row's scale, a float, follows.
inline std::int64_t wire_bytes(std::int64_t width, int bits) { return bits == 8 ? width + 4 : 2 * width; }

template <class Stored>
struct Quantize {
    std::int64_t rows, width;
    const Stored* x;
    std::uint8_t* wire;            // [n, bytes a row]
    const std::int32_t *a, *b;     // [n] words of each row
    int bits, threads;
};

template <class Stored>
struct Dequantize {
    std::int64_t rows, width;
    const std::uint8_t* wire;
    Stored* out;
    int bits, threads;
};

// All that the kernels run.
#define GCNSYS_TASKS(TASK)                     \
    TASK(Product<float, float, std::int32_t>)    \
    TASK(Product<float, float, std::int64_t>)    \
    TASK(Product<double, double, std::int32_t>)  \
    TASK(Product<double, double, std::int64_t>)  \
    TASK(Product<bfloat16, float, std::int32_t>) \
    TASK(Product<bfloat16, float, std::int64_t>) \
    TASK(SharedProduct<float, float>)            \
    TASK(SharedProduct<double, double>)          \
    TASK(Dropout<float>)                         \
    TASK(Dropout<double>)                        \
    TASK(Dropout<bfloat16>)                      \
    TASK(EntryDropout<float, std::int32_t>)      \
    TASK(EntryDropout<float, std::int64_t>)      \
    TASK(EntryDropout<double, std::int32_t>)     \
    TASK(EntryDropout<double, std::int64_t>)     \
    TASK(EntryDropout<bfloat16, std::int32_t>)   \
    TASK(EntryDropout<bfloat16, std::int64_t>)   \
    TASK(Activation<float, float>)               \
    TASK(Activation<double, double>)             \
    TASK(Activation<bfloat16, float>)            \
    TASK(ActivationGradient<float, float>)       \
    TASK(ActivationGradient<double, double>)     \
    TASK(ActivationGradient<bfloat16, float>)    \
    TASK(Quantize<float>)                        \
    TASK(Quantize<double>)                       \
    TASK(Quantize<bfloat16>)                     \
    TASK(Dequantize<float>)                      \
    TASK(Dequantize<double>)                     \
    TASK(Dequantize<bfloat16>)                   \
    GCNSYS_FUSED_TASKS(TASK)                     \
    GCNSYS_EDGE_TASKS(TASK)                      \
    GCNSYS_SAMPLING_TASKS(TASK)

class Kernels {
public:
    virtual const char* name() const = 0;
    virtual std::int64_t vector_bytes() const = 0;
#define TASK(...) virtual void run(const __VA_ARGS__&) const = 0;
    GCNSYS_TASKS(TASK)
#undef TASK
};

// The widest kernels that this processor runs and whose vectors a row of so many bytes fills.
const Kernels& kernels(std::int64_t row_bytes = 64);

}  // namespace gcnsys
