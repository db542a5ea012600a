// Numbers on edges and heads, and sums that they weigh.
#include "exponential.hpp"
#include "heads.hpp"

#include <limits>

namespace gcnsys {
namespace {

// Calls `body(slab, row, head, first, kept)` with every row, head and tile of features.
template <int Vectors, class Task, class Stored, class Body>
void for_tiles(const Task& t, const Stored*, Body body) {
    using Summed = SummedOf<Stored>;
    constexpr int tile = Vectors * Vector<Summed>::lanes;
    const auto bounds = chunks(t.indptr, t.rows, t.threads);
    const std::int64_t count = std::int64_t(bounds.size()) - 1;
    const Scratch<Stored> slab(t.cols * tile);
#pragma omp parallel num_threads(t.threads)
    for (std::int64_t head = 0; head < t.heads; ++head)
        for (std::int64_t first = 0; first < t.width; first += tile) {
            const std::int64_t kept = std::min<std::int64_t>(tile, t.width - first);
            fill_slab<tile>(slab.data(), t.x + head * t.width + first, t.x_stride, t.cols, kept);
#pragma omp for schedule(dynamic, 1)
            for (std::int64_t i = 0; i < count; ++i)
                for (std::int64_t row = bounds[i]; row < bounds[i + 1]; ++row)
                    body(slab.data(), row, head, first, kept);
        }
}

template <int Vectors, class Stored, class Summed, class Index>
void summed(const WeightedSum<Stored, Summed, Index>& t) {
    for_tiles<Vectors>(t, t.x, [&](const Stored* slab, std::int64_t row, std::int64_t head, std::int64_t first,
                                   std::int64_t kept) {
        const std::int64_t end = t.indptr[row + 1], all = t.indptr[t.rows];
        Lanes<Summed> sums[Vectors] = {};
        Summed weight[block_edges];
        for (std::int64_t start = t.indptr[row]; start < end; start += block_edges) {
            const int count = int(std::min<std::int64_t>(block_edges, end - start));
            for (int edge = 0; edge < count; ++edge) weight[edge] = t.weight[(start + edge) * t.heads + head];
            add_edges<Vectors, false, Stored, Summed>(sums, nullptr, weight, nullptr, t.indices + start, count,
                                                      all - start, slab);
        }
        store(sums, t.out + (row * t.heads + head) * t.width + first, kept);
    });
}

// A tile of the features of a row, its rest zeros.
template <int Vectors, class Stored, class Summed>
inline void load_tile(Lanes<Summed>* to, const Stored* from, std::int64_t kept) {
    constexpr int lanes = Vector<Summed>::lanes;
    Stored padded[Vectors * lanes] = {};
    std::memcpy(padded, from, std::size_t(kept) * sizeof(Stored));
    for (int v = 0; v < Vectors; ++v) to[v] = load(padded + v * lanes);
}

// One pass for both: what a feature of an edge adds to its number is the product of the two rows, or the
// vector's share of LeakyReLU of their sum.
template <int Vectors, bool Leaky, class Task, class Stored, class Summed>
void dotted(const Task& t, const Stored* x, Summed* out) {
    constexpr int lanes = Vector<Summed>::lanes, tile = Vectors * lanes;
    for_tiles<Vectors>(t, x, [&](const Stored* slab, std::int64_t row, std::int64_t head, std::int64_t first,
                                 std::int64_t kept) {
        const std::int64_t begin = t.indptr[row], end = t.indptr[row + 1], all = t.indptr[t.rows];
        Lanes<Summed> own[Vectors], factor[Vectors];
        load_tile<Vectors, Stored, Summed>(own, t.y + row * t.y_stride + head * t.width + first, kept);
        Summed slope = 0;
        if constexpr (Leaky) {
            load_tile<Vectors, Summed, Summed>(factor, t.vector + head * t.width + first, kept);
            slope = Summed(t.slope);
        }
        for (std::int64_t edge = begin; edge < end; ++edge) {
            if (edge + ahead < all) prefetch<tile>(slab + std::int64_t(t.indices[edge + ahead]) * tile);
            const Stored* from = slab + std::int64_t(t.indices[edge]) * tile;
            Lanes<Summed> products = {};
            for (int v = 0; v < Vectors; ++v) {
                const Lanes<Summed> other = load(from + v * lanes);
                if constexpr (Leaky) {
                    const Lanes<Summed> sum = own[v] + other;
                    products += factor[v] * (sum < 0 ? sum * slope : sum);
                } else {
                    products += own[v] * other;
                }
            }
            Summed& number = out[edge * t.heads + head];
            number = (first ? number : Summed(0)) + total<Summed>(products);
        }
    });
}

template <int Vectors, bool Both, class Stored, class Summed, class Index>
void sloped(const LeakySum<Stored, Summed, Index>& t) {
    constexpr int lanes = Vector<Summed>::lanes, tile = Vectors * lanes;
    const Summed slope = Summed(t.slope);
    for_tiles<Vectors>(t, t.x, [&](const Stored* slab, std::int64_t row, std::int64_t head, std::int64_t first,
                                   std::int64_t kept) {
        const std::int64_t begin = t.indptr[row], end = t.indptr[row + 1], all = t.indptr[t.rows];
        Lanes<Summed> own[Vectors], slopes[Vectors] = {}, values[Vectors] = {};
        load_tile<Vectors, Stored, Summed>(own, t.y + row * t.y_stride + head * t.width + first, kept);
        for (std::int64_t edge = begin; edge < end; ++edge) {
            if (edge + ahead < all) prefetch<tile>(slab + std::int64_t(t.indices[edge + ahead]) * tile);
            const Stored* from = slab + std::int64_t(t.indices[edge]) * tile;
            const Lanes<Summed> weight = Lanes<Summed>{} + t.weight[edge * t.heads + head];
            for (int v = 0; v < Vectors; ++v) {
                const Lanes<Summed> sum = own[v] + load(from + v * lanes), part = sum < 0 ? weight * slope : weight;
                slopes[v] += part;
                if (Both) values[v] += part * sum;
            }
        }
        const std::int64_t at = (row * t.heads + head) * t.width + first;
        store(slopes, t.slopes + at, kept);
        if (Both) store(values, t.values + at, kept);
    });
}

template <class Stored, class Summed, class Index>
void start(const WeightedSum<Stored, Summed, Index>& t) {
    with_vectors(vectors_for<Stored>(t.width), [&](auto vectors) { summed<vectors()>(t); });
}

template <class Stored, class Summed, class Index>
void start(const EdgeDot<Stored, Summed, Index>& t) {
    with_vectors(vectors_for<Stored>(t.width), [&](auto vectors) { dotted<vectors(), false>(t, t.x, t.out); });
}

template <class Stored, class Summed, class Index>
void start(const LeakyDot<Stored, Summed, Index>& t) {
    with_vectors(vectors_for<Stored>(t.width), [&](auto vectors) { dotted<vectors(), true>(t, t.x, t.out); });
}

template <class Stored, class Summed, class Index>
void start(const LeakySum<Stored, Summed, Index>& t) {
    with_vectors(vectors_for<Stored>(t.width), [&](auto vectors) {
        if (t.values) sloped<vectors(), true>(t);
        else sloped<vectors(), false>(t);
    });
}

template <class Summed, class Index>
void start(const EdgeAdd<Summed, Index>& t) {
    for_rows(t.indptr, t.rows, t.threads, [&](std::int64_t row) {
        const Summed* own = t.destination + row * t.heads;
        for (std::int64_t edge = t.indptr[row]; edge < t.indptr[row + 1]; ++edge) {
            const Summed* other = t.source + std::int64_t(t.indices[edge]) * t.heads;
            for (std::int64_t head = 0; head < t.heads; ++head) t.out[edge * t.heads + head] = own[head] + other[head];
        }
    });
}

// A block of one head's numbers, the last register filled up.
template <class Summed>
inline int take(Summed* to, const Summed* from, std::int64_t heads, std::int64_t left, Summed filler) {
    const int count = int(std::min<std::int64_t>(block_edges, left));
    for (int edge = 0; edge < count; ++edge) to[edge] = from[edge * heads];
    for (int edge = count; edge % Vector<Summed>::lanes; ++edge) to[edge] = filler;
    return count;
}

template <class Summed>
void start(const EdgeSoftmax<Summed>& t) {
    constexpr int lanes = Vector<Summed>::lanes;
    constexpr Summed lowest = -std::numeric_limits<Summed>::infinity();
    for_rows(t.indptr, t.rows, t.threads, [&](std::int64_t row) {
        const std::int64_t begin = t.indptr[row], end = t.indptr[row + 1];
        alignas(64) Summed numbers[block_edges];
        for (std::int64_t head = 0; head < t.heads && begin < end; ++head) {
            const Summed* logits = t.logits + head;
            Summed* out = t.out + head;
            Lanes<Summed> tops = Lanes<Summed>{} + lowest, sums = {};
            for (std::int64_t start = begin; start < end; start += block_edges) {
                const int count = take(numbers, logits + start * t.heads, t.heads, end - start, lowest);
                for (int edge = 0; edge < count; edge += lanes) {
                    const Lanes<Summed> logit = load(numbers + edge);
                    tops = tops < logit ? logit : tops;
                }
            }
            const Summed top = largest<Summed>(tops);
            for (std::int64_t start = begin; start < end; start += block_edges) {
                const int count = take(numbers, logits + start * t.heads, t.heads, end - start, lowest);
                for (int edge = 0; edge < count; edge += lanes) {
                    const Lanes<Summed> power = exponential(load(numbers + edge) - top);
                    sums += power;
                    std::memcpy(numbers + edge, &power, sizeof power);
                }
                for (int edge = 0; edge < count; ++edge) out[(start + edge) * t.heads] = numbers[edge];
            }
            const Summed share = 1 / total<Summed>(sums);
            for (std::int64_t edge = begin; edge < end; ++edge) out[edge * t.heads] *= share;
        }
    });
}

template <class Summed>
void start(const EdgeSoftmaxGradient<Summed>& t) {
    constexpr int lanes = Vector<Summed>::lanes;
    for_rows(t.indptr, t.rows, t.threads, [&](std::int64_t row) {
        const std::int64_t begin = t.indptr[row], end = t.indptr[row + 1];
        alignas(64) Summed alpha[block_edges], grad[block_edges];
        for (std::int64_t head = 0; head < t.heads; ++head) {
            Lanes<Summed> sums = {};
            for (std::int64_t start = begin; start < end; start += block_edges) {
                const std::int64_t at = start * t.heads + head;
                const int count = take(alpha, t.alpha + at, t.heads, end - start, Summed(0));
                take(grad, t.grad + at, t.heads, end - start, Summed(0));
                for (int edge = 0; edge < count; edge += lanes) sums += load(alpha + edge) * load(grad + edge);
            }
            const Summed mean = total<Summed>(sums);
            for (std::int64_t at = begin * t.heads + head; at < end * t.heads; at += t.heads)
                t.out[at] = t.alpha[at] * (t.grad[at] - mean);
        }
    });
}

}  // namespace

namespace VARIANT {
#define TASK(...) void run(const __VA_ARGS__& task) { start(task); }
GCNSYS_EDGE_TASKS(TASK)
#undef TASK
}  // namespace VARIANT

}  // namespace gcnsys
