// Graph attention in one pass over the edges each way (Veličković et al. 2018); no number per edge is kept.
//
// With l = LeakyReLU(destination + source), alpha = softmax(l), s = LeakyReLU' and m the mask of dropout times
// its scale, out_r = sum_e alpha_e m_e x_c. Its derivative by destination[r] is itself a weighted sum,
//     q_r = sum_e alpha_e s_e m_e x_c - (sum_e alpha_e s_e) out_r,
// so the forward pass keeps q, and backward needs only <q_r, grad_r> for each destination.
// With d_r = <grad_r, out_r>, the other two gradients are sums over the out-edges of a source c,
//     grad_x_c = sum_e alpha_e m_e grad_r,
//     grad_source_c = <x_c, sum_e alpha_e s_e m_e grad_r> - sum_e alpha_e s_e d_r,
// so no dot product is taken edge by edge: both passes add up rows, weighted in two ways at once.
#include "exponential.hpp"
#include "hash.hpp"
#include "heads.hpp"

#include <cmath>
#include <limits>

namespace gcnsys {
namespace {

// What is known of a block of edges; the last register is filled up.
template <class Summed>
struct Edges {
    int count = 0;
    alignas(64) Summed score[block_edges];    // destination + source
    alignas(64) Summed weight[block_edges];   // alpha m, or a multiple of it
    alignas(64) Summed slanted[block_edges];  // weight times the slope of LeakyReLU
};

template <class Summed>
inline Lanes<Summed> leaky(Lanes<Summed> score, Summed slope) {
    return score > Lanes<Summed>{} ? score : score * slope;
}

template <class Summed>
inline Lanes<Summed> ascending() {
    Lanes<Summed> numbers;
    for (int lane = 0; lane < Vector<Summed>::lanes; ++lane) numbers[lane] = Summed(lane);
    return numbers;
}

// Applies the mask to the weights. Without branches, so that the loop fits any vector unit.
template <class Summed>
inline void apply(const EdgeDropout& dropout, const std::uint32_t* a, const std::uint32_t* b,
                  const std::uint32_t* feature, Edges<Summed>& edges) {
    const Summed factor[2] = {Summed(0), Summed(dropout.scale)};
    const std::uint32_t threshold = dropout.threshold;
    for (int edge = 0; edge < edges.count; ++edge) {
        const bool kept = is_kept(hashed(a[edge], b[edge], feature[edge]), threshold);
        const Summed by = kept ? factor[1] : factor[0];
        edges.weight[edge] *= by;
        edges.slanted[edge] *= by;
    }
}

// One head on the way forward.
template <class Stored, class Summed, class Index>
class Forward {
public:
    static constexpr int lanes = Vector<Summed>::lanes;

    Forward(const Attention<Stored, Summed, Index>& task, std::int64_t head, const Summed* source)
        : t(task), head_(head), source_(source) {}

    template <int Vectors, bool Derived>
    void row(std::int64_t row, const Stored* slab, std::int64_t first, std::int64_t kept) const {
        const std::int64_t begin = t.indptr[row], end = t.indptr[row + 1], all = t.indptr[t.rows];
        const std::int64_t place = row * t.heads + head_, at = place * t.width + first;
        prefetch<Vectors * lanes, true>(t.out + at);
        if (Derived) prefetch<Vectors * lanes, true>(t.derivative + at);
        Edges<Summed> edges;
        const Summed top = largest_logit(edges, begin, end, t.destination[place]);
        Lanes<Summed> sums[Vectors] = {}, others[Vectors] = {}, weights = {}, slants = {};
        for (std::int64_t start = begin; start < end; start += block_edges) {
            if (end - begin > block_edges) score(edges, start, end, t.destination[place]);
            weigh(edges, top, weights, slants);
            if (t.dropout.a) drop(edges, row, start);
            add_edges<Vectors, Derived>(sums, others, edges.weight, edges.slanted, t.indices + start, edges.count,
                                        all - start, slab);
        }
        const Summed weight = total<Summed>(weights), share = begin < end ? 1 / weight : Summed(0);
        const Summed slant = total<Summed>(slants) * share;
        for (int v = 0; v < Vectors; ++v) {
            sums[v] *= share;
            if (Derived) others[v] = others[v] * share - sums[v] * slant;
        }
        t.normalizer[place] = top + std::log(weight);
        store(sums, t.out + at, kept);
        if (Derived) store(others, t.derivative + at, kept);
    }

private:
    void score(Edges<Summed>& edges, std::int64_t start, std::int64_t end, Summed own) const {
        edges.count = int(std::min<std::int64_t>(block_edges, end - start));
        const Index* columns = t.indices + start;
        for (int edge = 0; edge < edges.count; ++edge) edges.score[edge] = own + source_[columns[edge]];
        for (int edge = edges.count; edge % lanes; ++edge) edges.score[edge] = edges.score[0];
    }

    // Leaves the scores of the row's last block, its only one as a rule, in `edges`.
    Summed largest_logit(Edges<Summed>& edges, std::int64_t begin, std::int64_t end, Summed own) const {
        Lanes<Summed> tops = Lanes<Summed>{} - std::numeric_limits<Summed>::infinity();
        for (std::int64_t start = begin; start < end; start += block_edges) {
            score(edges, start, end, own);
            for (int edge = 0; edge < edges.count; edge += lanes) {
                const Lanes<Summed> logit = leaky(load(edges.score + edge), Summed(t.slope));
                tops = tops < logit ? logit : tops;
            }
        }
        return largest<Summed>(tops);
    }

    void weigh(Edges<Summed>& edges, Summed top, Lanes<Summed>& weights, Lanes<Summed>& slants) const {
        const Lanes<Summed> numbers = ascending<Summed>(), zero = {};
        const Summed slope = Summed(t.slope);
        for (int edge = 0; edge < edges.count; edge += lanes) {
            const Lanes<Summed> score = load(edges.score + edge);
            Lanes<Summed> weight = exponential(leaky(score, slope) - top);
            weight = numbers + Summed(edge) < zero + Summed(edges.count) ? weight : zero;
            const Lanes<Summed> slanted = score > zero ? weight : weight * slope;
            weights += weight;
            slants += slanted;
            std::memcpy(edges.weight + edge, &weight, sizeof weight);
            std::memcpy(edges.slanted + edge, &slanted, sizeof slanted);
        }
    }

    void drop(Edges<Summed>& edges, std::int64_t row, std::int64_t start) const {
        const Index* columns = t.indices + start;
        std::uint32_t a[block_edges], b[block_edges], feature[block_edges];
        for (int edge = 0; edge < edges.count; ++edge) {
            a[edge] = std::uint32_t(t.dropout.a[row]);
            b[edge] = std::uint32_t(t.dropout.b[row]);
            feature[edge] = std::uint32_t(t.dropout.source[columns[edge]]) + std::uint32_t(head_);
        }
        apply(t.dropout, a, b, feature, edges);
    }

    const Attention<Stored, Summed, Index>& t;
    const std::int64_t head_;
    const Summed* source_;  // [K] of this head
};

template <int Vectors, bool Derived, class Stored, class Summed, class Index>
void attend(const Attention<Stored, Summed, Index>& t) {
    constexpr int tile = Vectors * Vector<Summed>::lanes;
    const auto bounds = chunks(t.indptr, t.rows, t.threads);
    const std::int64_t count = std::int64_t(bounds.size()) - 1;
    const Scratch<Stored> slab(t.cols * tile);
    const Scratch<Summed> source(t.cols);
#pragma omp parallel num_threads(t.threads)
    for (std::int64_t head = 0; head < t.heads; ++head) {
#pragma omp for schedule(static)
        for (std::int64_t column = 0; column < t.cols; ++column)
            source.data()[column] = t.source[column * t.heads + head];
        const Forward<Stored, Summed, Index> forward(t, head, source.data());
        for (std::int64_t first = 0; first < t.width; first += tile) {
            const std::int64_t kept = std::min<std::int64_t>(tile, t.width - first);
            fill_slab<tile>(slab.data(), t.x + head * t.width + first, t.x_stride, t.cols, kept);
#pragma omp for schedule(dynamic, 1)
            for (std::int64_t i = 0; i < count; ++i)
                for (std::int64_t row = bounds[i]; row < bounds[i + 1]; ++row)
                    forward.template row<Vectors, Derived>(row, slab.data(), first, kept);
        }
    }
}

// What an edge needs of its destination in one head, side by side: one cache line an edge.
template <class Summed>
struct alignas(4 * sizeof(Summed)) Destination {
    Summed score, normalizer, dot;
    std::uint32_t a;
};

// One head on the way back; rows are sources here, columns destinations.
template <class Stored, class Summed, class Index>
class Backward {
public:
    static constexpr int lanes = Vector<Summed>::lanes;

    Backward(const AttentionGradient<Stored, Summed, Index>& task, std::int64_t head,
             const Destination<Summed>* destinations)
        : t(task), head_(head), destinations_(destinations) {}

    template <int Vectors>
    void row(std::int64_t row, const Stored* slab, std::int64_t first, std::int64_t kept) const {
        const std::int64_t end = t.indptr[row + 1], all = t.indptr[t.rows], place = row * t.heads + head_;
        const Stored* x = t.x + row * t.x_stride + head_ * t.width + first;
        Stored* grad_x = t.grad_x + place * t.width + first;
        prefetch<Vectors * lanes>(x);
        prefetch<Vectors * lanes, true>(grad_x);
        Edges<Summed> edges;
        Lanes<Summed> sums[Vectors] = {}, others[Vectors] = {}, shifts = {};
        for (std::int64_t start = t.indptr[row]; start < end; start += block_edges) {
            edges.count = int(std::min<std::int64_t>(block_edges, end - start));
            weigh(edges, t.source[place], t.indices + start, all - start, shifts);
            if (t.dropout.a) drop(edges, row, start);
            add_edges<Vectors, true>(sums, others, edges.weight, edges.slanted, t.indices + start, edges.count,
                                     all - start, slab);
        }
        Summed slope = first ? t.grad_source[place] : -total<Summed>(shifts);
        for (std::int64_t f = 0; f < kept; ++f) slope += widened(x[f]) * reinterpret_cast<const Summed*>(others)[f];
        t.grad_source[place] = slope;
        store(sums, grad_x, kept);
    }

private:
    void weigh(Edges<Summed>& edges, Summed own, const Index* columns, std::int64_t left,
               Lanes<Summed>& shifts) const {
        constexpr int early = 4 * ahead;
        alignas(64) Summed normalizer[block_edges], dots[block_edges];
        for (int edge = 0; edge < edges.count; ++edge) {
            if (edge + early < left) __builtin_prefetch(&destinations_[columns[edge + early]]);
            const Destination<Summed>& destination = destinations_[columns[edge]];
            edges.score[edge] = own + destination.score;
            normalizer[edge] = destination.normalizer;
            dots[edge] = destination.dot;
        }
        for (int edge = edges.count; edge % lanes; ++edge) edges.score[edge] = normalizer[edge] = dots[edge] = 0;
        const Summed slope = Summed(t.slope);
        for (int edge = 0; edge < edges.count; edge += lanes) {
            const Lanes<Summed> score = load(edges.score + edge), zero = {};
            const Lanes<Summed> weight = exponential(leaky(score, slope) - load(normalizer + edge));
            const Lanes<Summed> slanted = score > zero ? weight : weight * slope;
            shifts += slanted * load(dots + edge);
            std::memcpy(edges.weight + edge, &weight, sizeof weight);
            std::memcpy(edges.slanted + edge, &slanted, sizeof slanted);
        }
    }

    void drop(Edges<Summed>& edges, std::int64_t row, std::int64_t start) const {
        const Index* columns = t.indices + start;
        std::uint32_t a[block_edges], b[block_edges], feature[block_edges];
        for (int edge = 0; edge < edges.count; ++edge) {
            a[edge] = destinations_[columns[edge]].a;
            b[edge] = std::uint32_t(t.dropout.b[columns[edge]]);
            feature[edge] = std::uint32_t(t.dropout.source[row]) + std::uint32_t(head_);
        }
        apply(t.dropout, a, b, feature, edges);
    }

    const AttentionGradient<Stored, Summed, Index>& t;
    const std::int64_t head_;
    const Destination<Summed>* destinations_;  // [R] of this head
};

template <int Vectors, class Stored, class Summed, class Index>
void attend_back(const AttentionGradient<Stored, Summed, Index>& t) {
    constexpr int tile = Vectors * Vector<Summed>::lanes;
    const auto bounds = chunks(t.indptr, t.rows, t.threads);
    const std::int64_t count = std::int64_t(bounds.size()) - 1;
    const Scratch<Stored> slab(t.cols * tile);
    const Scratch<Destination<Summed>> destinations(t.cols);
#pragma omp parallel num_threads(t.threads)
    for (std::int64_t head = 0; head < t.heads; ++head) {
#pragma omp for schedule(static)
        for (std::int64_t column = 0; column < t.cols; ++column) {
            const std::int64_t place = column * t.heads + head, at = place * t.width;
            const Stored* grad = t.grad + column * t.grad_stride + head * t.width;
            const std::uint32_t a = t.dropout.a ? std::uint32_t(t.dropout.a[column]) : 0u;
            const Summed product = dot(grad, t.out + at, t.width);
            destinations.data()[column] = {t.destination[place], t.normalizer[place], product, a};
            t.grad_destination[place] = dot(grad, t.derivative + at, t.width);
        }
        const Backward<Stored, Summed, Index> backward(t, head, destinations.data());
        for (std::int64_t first = 0; first < t.width; first += tile) {
            const std::int64_t kept = std::min<std::int64_t>(tile, t.width - first);
            fill_slab<tile>(slab.data(), t.grad + head * t.width + first, t.grad_stride, t.cols, kept);
#pragma omp for schedule(dynamic, 1)
            for (std::int64_t i = 0; i < count; ++i)
                for (std::int64_t row = bounds[i]; row < bounds[i + 1]; ++row)
                    backward.template row<Vectors>(row, slab.data(), first, kept);
        }
    }
}

template <class Stored, class Summed, class Index>
void start(const Attention<Stored, Summed, Index>& t) {
    with_vectors(vectors_for<Stored>(t.width), [&](auto vectors) {
        if (t.derivative) attend<vectors(), true>(t);
        else attend<vectors(), false>(t);
    });
}

template <class Stored, class Summed, class Index>
void start(const AttentionGradient<Stored, Summed, Index>& t) {
    with_vectors(vectors_for<Stored>(t.width), [&](auto vectors) { attend_back<vectors()>(t); });
}

}  // namespace

namespace VARIANT {
#define TASK(...) void run(const __VA_ARGS__& task) { start(task); }
GCNSYS_FUSED_TASKS(TASK)
#undef TASK
}  // namespace VARIANT

}  // namespace gcnsys
