// The kernels over edges and heads for Python: methods of a pattern.
#include "pattern.hpp"

#include <algorithm>

namespace gcnsys {

namespace {

// A contiguous matrix of known width.
template <class T>
T* whole(const Array& array, std::int64_t rows, std::int64_t width, const char* name) {
    return packed<T>(array, rows, width, name);
}

template <class Body>
void with_summed(const Array& numbers, const char* name, Body body) {
    if (holds<float>(numbers)) body(float());
    else if (holds<double>(numbers)) body(double());
    else refuse(std::string(name) + " must be float32 or float64");
}

std::int64_t heads_of(const Array& numbers, const char* name) {
    if (numbers.ndim() != 2 || numbers.shape(1) < 1) refuse(std::string(name) + " must have a column for each head");
    return std::int64_t(numbers.shape(1));
}

// What all tasks over heads begin with.
template <class Task, class Index>
Task begun(const Pattern& pattern, const Index* indices, const Array& x, std::int64_t heads, int threads) {
    Task task{};
    task.rows = pattern.rows();
    task.cols = pattern.cols();
    task.heads = heads;
    task.indptr = pattern.offsets();
    task.indices = indices;
    task.threads = std::max(threads, 1);
    if (x.ndim() != 2) refuse("x must have two dimensions");
    const std::int64_t width = std::int64_t(x.shape(1));
    if (width < heads || width % heads)
        refuse("x must have a multiple of " + std::to_string(heads) + " columns, got " + std::to_string(width));
    task.width = width / heads;
    return task;
}

// Calls `body(stored, summed, task, width)` with a task of the types of the arrays and the width of its rows.
template <template <class, class, class> class Task, class Body>
void with_task(const Pattern& pattern, const Array& x, std::int64_t heads, int threads, Body body) {
    pattern.with_indices([&](auto indices) {
        by_dtype(x, [&](auto stored, auto summed) {
            using Index = std::remove_const_t<std::remove_pointer_t<decltype(indices)>>;
            auto task = begun<Task<decltype(stored), decltype(summed), Index>>(pattern, indices, x, heads, threads);
            body(stored, summed, task, heads * task.width);
        });
    });
}

EdgeDropout dropout(const Offered& a, const Offered& b, const Offered& source, std::int64_t destinations,
                    std::int64_t sources, std::uint32_t threshold, double scale) {
    if (bool(a) != bool(b) || bool(a) != bool(source)) refuse("dropout needs a, b and source words, or none");
    return {vector<std::int32_t>(a, destinations, "a"), vector<std::int32_t>(b, destinations, "b"),
            vector<std::int32_t>(source, sources, "words"), threshold, scale};
}

template <class Task>
void run(const Task& task) {
    nb::gil_scoped_release unlocked;
    kernels().run(task);
}

void attention(const Pattern& pattern, const Array& x, const Array& destination, const Array& source, double slope,
               const Array& out, const Array& normalizer, Offered derivative, Offered a, Offered b, Offered words,
               std::uint32_t threshold, double scale, int threads) {
    const std::int64_t heads = heads_of(source, "source");
    with_task<Attention>(pattern, x, heads, threads, [&](auto stored, auto summed, auto& t, std::int64_t width) {
        using Stored = decltype(stored);
        using Summed = decltype(summed);
        t.x = matrix<Stored>(x, t.cols, width, t.x_stride, "x");
        t.destination = whole<Summed>(destination, t.rows, heads, "destination");
        t.source = whole<Summed>(source, t.cols, heads, "source");
        t.slope = slope;
        t.out = whole<Stored>(out, t.rows, width, "out");
        t.normalizer = whole<Summed>(normalizer, t.rows, heads, "normalizer");
        t.derivative = derivative ? whole<Stored>(*derivative, t.rows, width, "derivative") : nullptr;
        t.dropout = dropout(a, b, words, t.rows, t.cols, threshold, scale);
        run(t);
    });
}

void attention_gradient(const Pattern& pattern, const Array& x, const Array& grad, const Array& destination,
                        const Array& source, const Array& normalizer, double slope, const Array& out,
                        const Array& derivative, const Array& grad_x, const Array& grad_destination,
                        const Array& grad_source, Offered a, Offered b, Offered words, std::uint32_t threshold,
                        double scale, int threads) {
    const std::int64_t heads = heads_of(source, "source");
    with_task<AttentionGradient>(pattern, x, heads, threads, [&](auto stored, auto summed, auto& t, std::int64_t width) {
        using Stored = decltype(stored);
        using Summed = decltype(summed);
        t.x = matrix<Stored>(x, t.rows, width, t.x_stride, "x");
        t.grad = matrix<Stored>(grad, t.cols, width, t.grad_stride, "grad");
        t.destination = whole<Summed>(destination, t.cols, heads, "destination");
        t.source = whole<Summed>(source, t.rows, heads, "source");
        t.normalizer = whole<Summed>(normalizer, t.cols, heads, "normalizer");
        t.slope = slope;
        t.out = whole<Stored>(out, t.cols, width, "out");
        t.derivative = whole<Stored>(derivative, t.cols, width, "derivative");
        t.grad_x = whole<Stored>(grad_x, t.rows, width, "grad_x");
        t.grad_destination = whole<Summed>(grad_destination, t.cols, heads, "grad_destination");
        t.grad_source = whole<Summed>(grad_source, t.rows, heads, "grad_source");
        t.dropout = dropout(a, b, words, t.cols, t.rows, threshold, scale);
        run(t);
    });
}

void weighted_sum(const Pattern& pattern, const Array& weight, const Array& x, const Array& out, int threads) {
    const std::int64_t heads = heads_of(weight, "weight");
    with_task<WeightedSum>(pattern, x, heads, threads, [&](auto stored, auto summed, auto& t, std::int64_t width) {
        using Stored = decltype(stored);
        using Summed = decltype(summed);
        t.weight = whole<Summed>(weight, pattern.edges(), heads, "weight");
        t.x = matrix<Stored>(x, t.cols, width, t.x_stride, "x");
        t.out = whole<Stored>(out, t.rows, width, "out");
        run(t);
    });
}

// The rows of destinations and of sources.
template <class Stored, class Task>
void both_rows(Task& t, const Array& y, const Array& x, std::int64_t width) {
    t.y = matrix<Stored>(y, t.rows, width, t.y_stride, "y");
    t.x = matrix<Stored>(x, t.cols, width, t.x_stride, "x");
}

void edge_dot(const Pattern& pattern, const Array& y, const Array& x, const Array& out, int threads) {
    const std::int64_t heads = heads_of(out, "out");
    with_task<EdgeDot>(pattern, x, heads, threads, [&](auto stored, auto summed, auto& t, std::int64_t width) {
        using Stored = decltype(stored);
        using Summed = decltype(summed);
        both_rows<Stored>(t, y, x, width);
        t.out = whole<Summed>(out, pattern.edges(), heads, "out");
        run(t);
    });
}

void leaky_dot(const Pattern& pattern, const Array& y, const Array& x, const Array& vector, double slope,
               const Array& out, int threads) {
    const std::int64_t heads = heads_of(out, "out");
    with_task<LeakyDot>(pattern, x, heads, threads, [&](auto stored, auto summed, auto& t, std::int64_t width) {
        using Stored = decltype(stored);
        using Summed = decltype(summed);
        both_rows<Stored>(t, y, x, width);
        t.vector = whole<Summed>(vector, heads, t.width, "vector");
        t.slope = slope;
        t.out = whole<Summed>(out, pattern.edges(), heads, "out");
        run(t);
    });
}

void leaky_sum(const Pattern& pattern, const Array& weight, const Array& y, const Array& x, double slope,
               const Array& slopes, Offered values, int threads) {
    const std::int64_t heads = heads_of(weight, "weight");
    with_task<LeakySum>(pattern, x, heads, threads, [&](auto stored, auto summed, auto& t, std::int64_t width) {
        using Stored = decltype(stored);
        using Summed = decltype(summed);
        t.weight = whole<Summed>(weight, pattern.edges(), heads, "weight");
        both_rows<Stored>(t, y, x, width);
        t.slope = slope;
        t.slopes = whole<Summed>(slopes, t.rows, width, "slopes");
        t.values = values ? whole<Summed>(*values, t.rows, width, "values") : nullptr;
        run(t);
    });
}

void edge_add(const Pattern& pattern, const Array& destination, const Array& source, const Array& out, int threads) {
    const std::int64_t heads = heads_of(source, "source");
    pattern.with_indices([&](auto indices) {
        with_summed(source, "source", [&](auto summed) {
            using Summed = decltype(summed);
            using Index = std::remove_const_t<std::remove_pointer_t<decltype(indices)>>;
            EdgeAdd<Summed, Index> t{pattern.rows(), heads, pattern.offsets(), indices};
            t.destination = whole<Summed>(destination, pattern.rows(), heads, "destination");
            t.source = whole<Summed>(source, pattern.cols(), heads, "source");
            t.out = whole<Summed>(out, pattern.edges(), heads, "out");
            t.threads = std::max(threads, 1);
            run(t);
        });
    });
}

void edge_softmax(const Pattern& pattern, const Array& logits, const Array& out, int threads) {
    const std::int64_t heads = heads_of(logits, "logits");
    with_summed(logits, "logits", [&](auto summed) {
        using Summed = decltype(summed);
        EdgeSoftmax<Summed> t{pattern.rows(), heads, pattern.offsets()};
        t.logits = whole<Summed>(logits, pattern.edges(), heads, "logits");
        t.out = whole<Summed>(out, pattern.edges(), heads, "out");
        t.threads = std::max(threads, 1);
        run(t);
    });
}

void edge_softmax_gradient(const Pattern& pattern, const Array& alpha, const Array& grad, const Array& out,
                           int threads) {
    const std::int64_t heads = heads_of(alpha, "alpha");
    with_summed(alpha, "alpha", [&](auto summed) {
        using Summed = decltype(summed);
        EdgeSoftmaxGradient<Summed> t{pattern.rows(), heads, pattern.offsets()};
        t.alpha = whole<Summed>(alpha, pattern.edges(), heads, "alpha");
        t.grad = whole<Summed>(grad, pattern.edges(), heads, "grad");
        t.out = whole<Summed>(out, pattern.edges(), heads, "out");
        t.threads = std::max(threads, 1);
        run(t);
    });
}

}  // namespace

void bind_attention(nb::class_<Pattern>& pattern) {
    using nb::arg;
    pattern
        .def("attention", &attention, arg("x"), arg("destination"), arg("source"), arg("slope"), arg("out"),
             arg("normalizer"), arg("derivative") = nb::none(), arg("a") = nb::none(), arg("b") = nb::none(),
             arg("words") = nb::none(), arg("threshold") = 0, arg("scale") = 1.0, arg("threads") = 1)
        .def("attention_gradient", &attention_gradient, arg("x"), arg("grad"), arg("destination"), arg("source"),
             arg("normalizer"), arg("slope"), arg("out"), arg("derivative"), arg("grad_x"),
             arg("grad_destination"), arg("grad_source"), arg("a") = nb::none(), arg("b") = nb::none(),
             arg("words") = nb::none(), arg("threshold") = 0, arg("scale") = 1.0, arg("threads") = 1)
        .def("weighted_sum", &weighted_sum, arg("weight"), arg("x"), arg("out"), arg("threads") = 1)
        .def("edge_dot", &edge_dot, arg("y"), arg("x"), arg("out"), arg("threads") = 1)
        .def("leaky_dot", &leaky_dot, arg("y"), arg("x"), arg("vector"), arg("slope"), arg("out"), arg("threads") = 1)
        .def("leaky_sum", &leaky_sum, arg("weight"), arg("y"), arg("x"), arg("slope"), arg("slopes"),
             arg("values") = nb::none(), arg("threads") = 1)
        .def("edge_add", &edge_add, arg("destination"), arg("source"), arg("out"), arg("threads") = 1)
        .def("edge_softmax", &edge_softmax, arg("logits"), arg("out"), arg("threads") = 1)
        .def("edge_softmax_gradient", &edge_softmax_gradient, arg("alpha"), arg("grad"), arg("out"),
             arg("threads") = 1);
}

}  // namespace gcnsys
