// What the kernels over edges and heads take.
//
// Rows are destinations, columns are sources. Letters: R rows, K columns, E edges, H heads, D features a head;
// features lie head by head, [*, H D]. Numbers on edges and heads are kept in the type of sums.
#pragma once

#include <cstdint>

namespace gcnsys {

// An edge survives in head h where the hash of (a[r], b[r], source[c] + h), its top bit flipped, is at least
// `threshold`; its weight is then multiplied by `scale`, else by 0. Without words nothing is dropped.
struct EdgeDropout {
    const std::int32_t *a, *b;     // [R] words of each destination, or null
    const std::int32_t* source;    // [K] a word of each source
    std::uint32_t threshold;
    double scale;
};

// out[r, h, :] = sum over the edges of r of dropped(alpha[e, h]) x[c, h, :], where alpha is the softmax over
// the edges of r of LeakyReLU(destination[r, h] + source[c, h]).
template <class Stored, class Summed, class Index>
struct Attention {
    std::int64_t rows, cols, heads, width;
    const std::int64_t* indptr;    // [R + 1]
    const Index* indices;          // [E]
    const Stored* x;               // [K, H D], rows `x_stride` apart
    std::int64_t x_stride;
    const Summed *destination, *source;  // [R, H], [K, H]
    double slope;
    EdgeDropout dropout;
    Stored* out;                   // [R, H D]
    Summed* normalizer;            // [R, H] log of the sum of exponentials
    Stored* derivative;            // [R, H D] of out by destination[r, h], or null: not wanted
    int threads;
};

// The gradients of Attention by x and source, over the transposed pattern, and by destination.
template <class Stored, class Summed, class Index>
struct AttentionGradient {
    std::int64_t rows, cols, heads, width;
    const std::int64_t* indptr;    // [K + 1]
    const Index* indices;          // [E] destinations
    const Stored *x, *grad;        // [K, H D], [R, H D], rows their stride apart
    std::int64_t x_stride, grad_stride;
    const Summed *destination, *source, *normalizer;
    double slope;
    EdgeDropout dropout;
    const Stored *out, *derivative;
    Stored* grad_x;                // [K, H D]
    Summed *grad_destination, *grad_source;
    int threads;
};

// out[r, h, :] = sum over the edges of r of weight[e, h] x[c, h, :]
template <class Stored, class Summed, class Index>
struct WeightedSum {
    std::int64_t rows, cols, heads, width;
    const std::int64_t* indptr;
    const Index* indices;
    const Summed* weight;          // [E, H]
    const Stored* x;
    std::int64_t x_stride;
    Stored* out;
    int threads;
};

// out[e, h] = <y[r, h, :], x[c, h, :]>
template <class Stored, class Summed, class Index>
struct EdgeDot {
    std::int64_t rows, cols, heads, width;
    const std::int64_t* indptr;
    const Index* indices;
    const Stored *y, *x;           // [R, H D], [K, H D]
    std::int64_t y_stride, x_stride;
    Summed* out;                   // [E, H]
    int threads;
};

// out[e, h] = <vector[h, :], LeakyReLU(y[r, h, :] + x[c, h, :])>
template <class Stored, class Summed, class Index>
struct LeakyDot : EdgeDot<Stored, Summed, Index> {
    const Summed* vector;          // [H, D]
    double slope;
};

// With u = y[r, h, :] + x[c, h, :], over the edges of r: slopes[r, h, :] = sum of weight[e, h] LeakyReLU'(u) and,
// if it is wanted, values[r, h, :] = sum of weight[e, h] LeakyReLU(u).
template <class Stored, class Summed, class Index>
struct LeakySum {
    std::int64_t rows, cols, heads, width;
    const std::int64_t* indptr;
    const Index* indices;
    const Summed* weight;          // [E, H]
    const Stored *y, *x;           // [R, H D], [K, H D]
    std::int64_t y_stride, x_stride;
    double slope;
    Summed *slopes, *values;       // [R, H D]
    int threads;
};

// out[e, h] = destination[r, h] + source[c, h]
template <class Summed, class Index>
struct EdgeAdd {
    std::int64_t rows, heads;
    const std::int64_t* indptr;
    const Index* indices;
    const Summed *destination, *source;
    Summed* out;                   // [E, H]
    int threads;
};

// out[:, h] = the softmax of logits[:, h] over the edges of each row
template <class Summed>
struct EdgeSoftmax {
    std::int64_t rows, heads;
    const std::int64_t* indptr;
    const Summed* logits;          // [E, H]
    Summed* out;
    int threads;
};

// out[e, h] = alpha[e, h] (grad[e, h] - sum over the edges f of r of alpha[f, h] grad[f, h])
template <class Summed>
struct EdgeSoftmaxGradient {
    std::int64_t rows, heads;
    const std::int64_t* indptr;
    const Summed *alpha, *grad;    // [E, H]
    Summed* out;
    int threads;
};

#define GCNSYS_FEATURE_TASKS(TASK, NAME)         \
    TASK(NAME<float, float, std::int32_t>)       \
    TASK(NAME<float, float, std::int64_t>)       \
    TASK(NAME<double, double, std::int32_t>)     \
    TASK(NAME<double, double, std::int64_t>)     \
    TASK(NAME<bfloat16, float, std::int32_t>)    \
    TASK(NAME<bfloat16, float, std::int64_t>)

#define GCNSYS_FUSED_TASKS(TASK)                 \
    GCNSYS_FEATURE_TASKS(TASK, Attention)        \
    GCNSYS_FEATURE_TASKS(TASK, AttentionGradient)

#define GCNSYS_EDGE_TASKS(TASK)                  \
    GCNSYS_FEATURE_TASKS(TASK, WeightedSum)      \
    GCNSYS_FEATURE_TASKS(TASK, EdgeDot)          \
    GCNSYS_FEATURE_TASKS(TASK, LeakyDot)         \
    GCNSYS_FEATURE_TASKS(TASK, LeakySum)         \
    TASK(EdgeAdd<float, std::int32_t>)           \
    TASK(EdgeAdd<float, std::int64_t>)           \
    TASK(EdgeAdd<double, std::int32_t>)          \
    TASK(EdgeAdd<double, std::int64_t>)          \
    TASK(EdgeSoftmax<float>)                     \
    TASK(EdgeSoftmax<double>)                    \
    TASK(EdgeSoftmaxGradient<float>)             \
    TASK(EdgeSoftmaxGradient<double>)

}  // namespace gcnsys
