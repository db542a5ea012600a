// What works on rows alone, for Python.
#include "arrays.hpp"
#include "hash.hpp"

#include <algorithm>
#include <vector>

namespace gcnsys {
namespace {

void drop(const Array& x, const Array& out, const Array& a, const Array& b, std::uint32_t first,
          std::uint32_t threshold, double scale, int threads) {
    by_dtype(x, [&](auto stored, auto) {
        using Stored = decltype(stored);
        Dropout<Stored> d{};
        d.rows = std::int64_t(x.ndim() == 2 ? x.shape(0) : 0), d.width = -1;
        d.x = packed<Stored>(x, d.rows, d.width, "x");
        d.out = packed<Stored>(out, d.rows, d.width, "out");
        d.a = vector<std::int32_t>(a, d.rows, "a");
        d.b = vector<std::int32_t>(b, d.rows, "b");
        d.first = first, d.threshold = threshold, d.scale = scale;
        d.threads = threads < 1 ? 1 : threads;
        nb::gil_scoped_release unlocked;
        kernels().run(d);
    });
}

// What both directions of an activation take.
template <class Stored, class Number, class Task>
Task activation(const Array& x, const Array& out, const Offered& weight, const Offered& bias, const Offered& mean,
                const Offered& rstd, const Offered& a, const Offered& b, std::uint32_t threshold, double scale,
                int threads) {
    Task t{};
    t.rows = std::int64_t(x.ndim() == 2 ? x.shape(0) : 0), t.width = -1;
    t.x = packed<Stored>(x, t.rows, t.width, "x");
    t.out = packed<Stored>(out, t.rows, t.width, "out");
    t.weight = vector<Number>(weight, t.width, "weight");
    t.bias = vector<Number>(bias, t.width, "bias");
    t.mean = vector<Number>(mean, t.rows, "mean");
    t.rstd = vector<Number>(rstd, t.rows, "rstd");
    if (bool(weight) != bool(bias) || bool(weight) != bool(mean) || bool(weight) != bool(rstd))
        refuse("weight, bias, mean and rstd come together");
    t.a = vector<std::int32_t>(a, t.rows, "a");
    t.b = vector<std::int32_t>(b, t.rows, "b");
    if (bool(a) != bool(b)) refuse("a and b come together");
    t.threshold = threshold, t.scale = scale;
    t.threads = threads < 1 ? 1 : threads;
    return t;
}

void activate(const Array& x, const Array& out, Offered weight, Offered bias, Offered mean, Offered rstd, double eps,
              Offered a, Offered b, std::uint32_t threshold, double scale, int threads) {
    by_dtype(x, [&](auto stored, auto number) {
        using Stored = decltype(stored);
        using Number = decltype(number);
        auto t = activation<Stored, Number, Activation<Stored, Number>>(x, out, weight, bias, mean, rstd, a, b,
                                                                        threshold, scale, threads);
        t.eps = eps;
        nb::gil_scoped_release unlocked;
        kernels().run(t);
    });
}

void activation_gradient(const Array& x, const Array& grad, const Array& out, Offered weight, Offered bias,
                         Offered mean, Offered rstd, Offered weight_grad, Offered bias_grad, Offered a, Offered b,
                         std::uint32_t threshold, double scale, int threads) {
    by_dtype(x, [&](auto stored, auto number) {
        using Stored = decltype(stored);
        using Number = decltype(number);
        auto t = activation<Stored, Number, ActivationGradient<Stored, Number>>(x, out, weight, bias, mean, rstd, a,
                                                                                b, threshold, scale, threads);
        t.grad = packed<Stored>(grad, t.rows, t.width, "grad");
        t.weight_grad = vector<Number>(weight_grad, t.width, "weight_grad");
        t.bias_grad = vector<Number>(bias_grad, t.width, "bias_grad");
        if (bool(weight) != bool(weight_grad) || bool(weight) != bool(bias_grad))
            refuse("weight, weight_grad and bias_grad come together");
        nb::gil_scoped_release unlocked;
        kernels().run(t);
    });
}

// Encoded rows, in memory that fits the numbers.
std::uint8_t* wire_of(const Array& wire, std::int64_t rows, std::int64_t width, int bits) {
    if (bits != 8 && bits != 16) refuse("bits must be 8 or 16");
    std::int64_t bytes = wire_bytes(width, bits);
    return packed<std::uint8_t>(wire, rows, bytes, "wire");
}

void quantize(const Array& x, const Array& wire, const Array& a, const Array& b, int bits, int threads) {
    by_dtype(x, [&](auto stored, auto) {
        using Stored = decltype(stored);
        Quantize<Stored> q{};
        q.rows = std::int64_t(x.ndim() == 2 ? x.shape(0) : 0), q.width = -1;
        q.x = packed<Stored>(x, q.rows, q.width, "x");
        q.wire = wire_of(wire, q.rows, q.width, bits);
        q.a = vector<std::int32_t>(a, q.rows, "a");
        q.b = vector<std::int32_t>(b, q.rows, "b");
        q.bits = bits, q.threads = threads < 1 ? 1 : threads;
        nb::gil_scoped_release unlocked;
        kernels().run(q);
    });
}

void dequantize(const Array& wire, const Array& out, int bits, int threads) {
    by_dtype(out, [&](auto stored, auto) {
        using Stored = decltype(stored);
        Dequantize<Stored> q{};
        q.rows = std::int64_t(out.ndim() == 2 ? out.shape(0) : 0), q.width = -1;
        q.out = packed<Stored>(out, q.rows, q.width, "out");
        q.wire = wire_of(wire, q.rows, q.width, bits);
        q.bits = bits, q.threads = threads < 1 ? 1 : threads;
        nb::gil_scoped_release unlocked;
        kernels().run(q);
    });
}

// Of each group of rows, `starts[g]` to `starts[g + 1]`, those `sizes[g]` whose lots are smallest: their places,
// ascending. A lot is both words of the row's number in its group, by the group's three steps, read as one signed number;
// no two of a group are equal.
void draw_lots(const Array& steps, const Array& starts, const Array& sizes, const Array& places, int threads) {
    const std::int64_t groups = length(sizes);
    const auto* step = reinterpret_cast<const std::uint64_t*>(vector<std::int64_t>(steps, 3 * groups, "steps"));
    const std::int64_t* start = vector<std::int64_t>(starts, groups + 1, "starts");
    const std::int64_t* size = vector<std::int64_t>(sizes, groups, "sizes");
    std::vector<std::int64_t> ends(std::size_t(groups) + 1, 0);
    if (start[0] != 0) refuse("starts must begin at 0");
    for (std::int64_t g = 0; g < groups; ++g) {
        if (start[g + 1] < start[g]) refuse("starts must not descend");
        if (size[g] < 0 || size[g] > start[g + 1] - start[g]) refuse("sizes must not be more than there are rows");
        ends[g + 1] = ends[g] + size[g];
    }
    std::int64_t* out = vector<std::int64_t>(places, ends[groups], "places");
    nb::gil_scoped_release unlocked;
    std::vector<std::int64_t> lots(static_cast<std::size_t>(start[groups])), sorted(lots.size());
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads < 1 ? 1 : threads)
    for (std::int64_t g = 0; g < groups; ++g) {
        const std::int64_t first = start[g], last = start[g + 1];
        if (size[g] == 0) continue;
        for (std::int64_t row = first; row < last; ++row)
            lots[row] = sorted[row] = std::int64_t(words_of(step + 3 * g, row - first));
        const auto begin = sorted.begin() + first, greatest = begin + size[g] - 1;
        std::nth_element(begin, greatest, sorted.begin() + last);
        std::int64_t place = ends[g];
        for (std::int64_t row = first; row < last; ++row)
            if (lots[row] <= *greatest) out[place++] = row;
    }
}

}  // namespace

void bind_rows(nb::module_& m) {
    m.def("draw_lots", &draw_lots, nb::arg("steps"), nb::arg("starts"), nb::arg("sizes"), nb::arg("places"),
          nb::arg("threads") = 1);
    m.def("quantize", &quantize, nb::arg("x"), nb::arg("wire"), nb::arg("a"), nb::arg("b"), nb::arg("bits"),
          nb::arg("threads") = 1);
    m.def("dequantize", &dequantize, nb::arg("wire"), nb::arg("out"), nb::arg("bits"), nb::arg("threads") = 1);
    m.def("dropout", &drop, nb::arg("x"), nb::arg("out"), nb::arg("a"), nb::arg("b"), nb::arg("first"),
          nb::arg("threshold"), nb::arg("scale"), nb::arg("threads") = 1);
    m.def("activate", &activate, nb::arg("x"), nb::arg("out"), nb::arg("weight").none(), nb::arg("bias").none(),
          nb::arg("mean").none(), nb::arg("rstd").none(), nb::arg("eps"), nb::arg("a").none(), nb::arg("b").none(),
          nb::arg("threshold"), nb::arg("scale"), nb::arg("threads") = 1);
    m.def("activation_gradient", &activation_gradient, nb::arg("x"), nb::arg("grad"), nb::arg("out"),
          nb::arg("weight").none(), nb::arg("bias").none(), nb::arg("mean").none(), nb::arg("rstd").none(),
          nb::arg("weight_grad").none(), nb::arg("bias_grad").none(), nb::arg("a").none(), nb::arg("b").none(),
          nb::arg("threshold"), nb::arg("scale"), nb::arg("threads") = 1);
}

}  // namespace gcnsys
