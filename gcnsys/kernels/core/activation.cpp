// Layer norm, ReLU and dropout in one pass over the rows, and their gradient in another.
#include "hash.hpp"
#include "vector.hpp"
#include "workspace.hpp"

#include <cmath>

namespace gcnsys {
namespace {

// Rows are summed in pieces that depend on nothing but their number, so that any number of threads
// adds in the same order.
constexpr std::int64_t piece = 256;

template <class Stored, class Number>
void normalize(const Activation<Stored, Number>& t, std::int64_t row) {
    const Stored* x = t.x + row * t.width;
    Number sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t f = 0; f < t.width; ++f) sum += widened(x[f]);
    const Number mean = sum / Number(t.width);
#pragma omp simd reduction(+ : squares)
    for (std::int64_t f = 0; f < t.width; ++f) {
        const Number apart = widened(x[f]) - mean;
        squares += apart * apart;
    }
    t.mean[row] = mean;
    t.rstd[row] = 1 / std::sqrt(squares / Number(t.width) + Number(t.eps));
}

// Calls `use(start, count, factors)` for each block of features of a row.
template <class Number, class Task, class Use>
inline void by_blocks(const Task& t, std::int64_t row, Use use) {
    Number factors[mask_block];
    if (!t.a) std::fill_n(factors, mask_block, Number(1));
    for (std::int64_t start = 0; start < t.width; start += mask_block) {
        if (t.a)
            draw_mask(std::uint32_t(t.a[row]), std::uint32_t(t.b[row]), std::uint32_t(start), t.threshold,
                      Number(t.scale), factors);
        use(start, int(std::min<std::int64_t>(mask_block, t.width - start)), factors);
    }
}

template <class Stored, class Number>
void forward(const Activation<Stored, Number>& t) {
#pragma omp parallel for schedule(static) num_threads(t.threads)
    for (std::int64_t row = 0; row < t.rows; ++row) {
        const Stored* x = t.x + row * t.width;
        Stored* out = t.out + row * t.width;
        if (t.weight) normalize(t, row);
        const Number mean = t.weight ? t.mean[row] : 0, rstd = t.weight ? t.rstd[row] : 1;
        by_blocks<Number>(t, row, [&](std::int64_t start, int count, const Number* factors) {
            Number y[mask_block];
            if (t.weight) {
#pragma omp simd
                for (int f = 0; f < count; ++f)
                    y[f] = (widened(x[start + f]) - mean) * rstd * t.weight[start + f] + t.bias[start + f];
            } else {
#pragma omp simd
                for (int f = 0; f < count; ++f) y[f] = widened(x[start + f]);
            }
#pragma omp simd
            for (int f = 0; f < count; ++f)
                narrow((y[f] < 0 ? Number(0) : y[f]) * factors[f], out[start + f]);  // a NaN stays one
        });
    }
}

template <class Stored, class Number>
void backward(const ActivationGradient<Stored, Number>& t) {
    const std::int64_t pieces = (t.rows + piece - 1) / piece;
    const Workspace workspace(std::size_t(2 * pieces * t.width + 1) * sizeof(Number));
    Number* partial = workspace.as<Number>();
#pragma omp parallel num_threads(t.threads)
    {
        const Workspace scratch(std::size_t(t.width) * 2 * sizeof(Number));
        Number *slope = scratch.as<Number>(), *centred = slope + t.width;
#pragma omp for schedule(static)
        for (std::int64_t i = 0; i < pieces; ++i) {
            Number *weight_sums = partial + 2 * i * t.width, *bias_sums = weight_sums + t.width;
            std::fill_n(weight_sums, 2 * t.width, Number(0));
            for (std::int64_t row = i * piece; row < std::min(t.rows, (i + 1) * piece); ++row) {
                const Stored *x = t.x + row * t.width, *g = t.grad + row * t.width;
                Stored* out = t.out + row * t.width;
                const Number mean = t.mean[row], rstd = t.rstd[row];
                by_blocks<Number>(t, row, [&](std::int64_t start, int count, const Number* factors) {
#pragma omp simd
                    for (int f = 0; f < count; ++f) {
                        const std::int64_t at = start + f;
                        const Number z = (widened(x[at]) - mean) * rstd;
                        const Number y = z * t.weight[at] + t.bias[at];
                        const Number s = y > 0 ? widened(g[at]) * factors[f] : Number(0);
                        weight_sums[at] += s * z;
                        bias_sums[at] += s;
                        slope[at] = s * t.weight[at];
                        centred[at] = z;
                    }
                });
                Number sum = 0, along = 0;
#pragma omp simd reduction(+ : sum, along)
                for (std::int64_t f = 0; f < t.width; ++f) sum += slope[f], along += slope[f] * centred[f];
                sum /= Number(t.width), along /= Number(t.width);
#pragma omp simd
                for (std::int64_t f = 0; f < t.width; ++f)
                    narrow(rstd * (slope[f] - sum - centred[f] * along), out[f]);
            }
        }
    }
    std::fill_n(t.weight_grad, t.width, Number(0));
    std::fill_n(t.bias_grad, t.width, Number(0));
    for (std::int64_t i = 0; i < pieces; ++i)
        for (std::int64_t f = 0; f < t.width; ++f) {
            t.weight_grad[f] += partial[2 * i * t.width + f];
            t.bias_grad[f] += partial[(2 * i + 1) * t.width + f];
        }
}

// Without a norm the result itself tells where the gradient passes: what was negative or dropped is 0.
template <class Stored, class Number>
void backward_of_relu(const ActivationGradient<Stored, Number>& t) {
    const Number scale = t.a ? Number(t.scale) : Number(1);
#pragma omp parallel for schedule(static) num_threads(t.threads)
    for (std::int64_t row = 0; row < t.rows; ++row) {
        const Stored *y = t.x + row * t.width, *g = t.grad + row * t.width;
        Stored* out = t.out + row * t.width;
#pragma omp simd
        for (std::int64_t f = 0; f < t.width; ++f) narrow((widened(y[f]) > 0 ? scale : Number(0)) * widened(g[f]), out[f]);
    }
}

template <class Stored, class Number>
void gradient(const ActivationGradient<Stored, Number>& t) {
    if (t.weight) backward(t);
    else backward_of_relu(t);
}

}  // namespace

namespace VARIANT {
void run(const Activation<float, float>& t) { forward(t); }
void run(const Activation<double, double>& t) { forward(t); }
void run(const Activation<bfloat16, float>& t) { forward(t); }
void run(const ActivationGradient<float, float>& t) { gradient(t); }
void run(const ActivationGradient<double, double>& t) { gradient(t); }
void run(const ActivationGradient<bfloat16, float>& t) { gradient(t); }
}  // namespace VARIANT

}  // namespace gcnsys
