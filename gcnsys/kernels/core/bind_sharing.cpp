// Sums of pairs that many rows share, for Python; gcnsys/kernels/sharing.py says how they are chosen.
#include "pattern.hpp"

#include <nanobind/stl/vector.h>

#include <vector>

namespace gcnsys {
namespace {

using Item = std::int32_t;

struct Pair {
    Item one, other;
    std::uint32_t count;
};

// Segments of rows, as ascending lists of items; each round puts the sums of pairs in their place.
class Sharing {
public:
    Sharing(const Pattern& pattern, std::int64_t reach, std::int64_t least, double decay)
        : least_(std::uint32_t(std::min(least, std::int64_t(1) << 31))) {
        if (reach < 2) refuse("reach must be at least 2");
        if (least < 2) refuse("least must be at least 2");
        if (!(decay >= 0 && decay < 1)) refuse("decay must be in [0, 1)");
        if (pattern.cols() + pattern.edges() >= std::int64_t(1) << 31) refuse("that many columns and entries need 64 bits");
        pattern.with_indices([&](auto indices) {
            const std::int64_t* first = pattern.offsets();
            frequency_.assign(std::size_t(pattern.cols()), 0);
            begins_.push_back(0);
            for (std::int64_t row = 0; row < pattern.rows(); ++row) {
                for (std::int64_t edge = first[row]; edge < first[row + 1]; ++edge) {
                    if (edge > first[row] && indices[edge] <= indices[edge - 1]) refuse("columns of a row must ascend");
                    if (edge > first[row] && (edge - first[row]) % reach == 0) begins_.push_back(edge);
                    items_.push_back(Item(indices[edge]));
                    ++frequency_[std::size_t(indices[edge])];
                }
                begins_.push_back(first[row + 1]);
                ends_.push_back(std::int64_t(begins_.size()) - 1);
            }
        });
        stamp_.assign(frequency_.size(), -1);
        partner_.assign(frequency_.size(), -1);
        nb::gil_scoped_release unlocked;
        std::uint32_t threshold = least_;
        for (const std::uint32_t each : frequency_) threshold = std::max(threshold, each);
        while (true) {
            if (match(std::max(threshold, least_))) replace();
            else if (threshold <= least_) break;
            else threshold = std::max(least_, std::min(std::uint32_t(threshold * decay), threshold - 1));
        }
    }

    std::int64_t num_sums() const { return std::int64_t(sums_.size()) / 2; }
    std::int64_t num_terms() const { return std::int64_t(items_.size()); }

    // Both terms of every sum; where each row begins, and its items.
    void write(const Array& sums, const Array& indptr, const Array& items) const {
        std::int64_t* terms = vector<std::int64_t>(sums, std::int64_t(sums_.size()), "sums");
        std::int64_t* offsets = vector<std::int64_t>(indptr, std::int64_t(ends_.size()) + 1, "indptr");
        std::int64_t* out = vector<std::int64_t>(items, num_terms(), "items");
        std::copy(sums_.begin(), sums_.end(), terms);
        std::copy(items_.begin(), items_.end(), out);
        offsets[0] = 0;
        for (std::size_t row = 0; row < ends_.size(); ++row) offsets[row + 1] = begins_[std::size_t(ends_[row])];
    }

private:
    // Chooses pairs that at least so many segments hold, those of most first, each item once. Whether there are any.
    bool match(std::uint32_t threshold) {
        std::vector<Pair> pairs = counted(threshold);
        std::sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) {
            return a.count != b.count ? a.count > b.count : a.one != b.one ? a.one < b.one : a.other < b.other;
        });
        for (const Pair& pair : pairs)
            if (partner_[std::size_t(pair.one)] < 0 && partner_[std::size_t(pair.other)] < 0) {
                partner_[std::size_t(pair.one)] = pair.other;
                partner_[std::size_t(pair.other)] = pair.one;
            }
        return !pairs.empty();
    }

    // Pairs of items that at least so many segments hold. Only items that are in as many are looked at.
    std::vector<Pair> counted(std::uint32_t threshold) const {
        const std::size_t segments = begins_.size() - 1, count = frequency_.size();
        std::vector<std::int64_t> begins(segments + 1, 0), places(count + 1, 0);
        std::vector<Item> items;
        for (std::size_t segment = 0; segment < segments; ++segment) {
            for (std::int64_t i = begins_[segment]; i < begins_[segment + 1]; ++i)
                if (frequency_[std::size_t(items_[std::size_t(i)])] >= threshold) items.push_back(items_[std::size_t(i)]);
            begins[segment + 1] = std::int64_t(items.size());
        }
        for (const Item item : items) ++places[std::size_t(item) + 1];
        for (std::size_t item = 0; item < count; ++item) places[item + 1] += places[item];
        // Of each item, where the rest of every segment that holds it lies.
        std::vector<std::pair<std::int64_t, std::int64_t>> rests(items.size());
        std::vector<std::int64_t> next(places.begin(), places.end() - 1);
        for (std::size_t segment = 0; segment < segments; ++segment)
            for (std::int64_t i = begins[segment]; i < begins[segment + 1]; ++i)
                rests[std::size_t(next[std::size_t(items[std::size_t(i)])]++)] = {i + 1, begins[segment + 1]};
        std::vector<std::uint32_t> together(count, 0);
        std::vector<Item> met;
        std::vector<Pair> found;
        for (std::size_t item = 0; item < count; ++item) {
            for (std::int64_t place = places[item]; place < places[item + 1]; ++place) {
                const auto [from, to] = rests[std::size_t(place)];
                for (std::int64_t i = from; i < to; ++i) {
                    const Item other = items[std::size_t(i)];
                    if (together[std::size_t(other)]++ == 0) met.push_back(other);
                }
            }
            for (const Item other : met) {
                const std::uint32_t times = together[std::size_t(other)];
                if (times >= threshold) found.push_back({Item(item), other, times});
                together[std::size_t(other)] = 0;
            }
            met.clear();
        }
        return found;
    }

    // Puts sums in the place of pairs. Sums are numbered by their first items, so that lists stay ascending.
    void replace() {
        const std::size_t before = frequency_.size();
        std::vector<Item> sum_of(before, -1);
        for (std::size_t item = 0; item < before; ++item) {
            if (partner_[item] < Item(item)) continue;
            sum_of[item] = Item(before) + Item(frequency_.size() - before);
            sums_.push_back(Item(item));
            sums_.push_back(partner_[item]);
            frequency_.push_back(0);
        }
        std::int64_t written = 0;
        std::vector<Item> fresh;
        for (std::size_t segment = 0; segment + 1 < begins_.size(); ++segment) {
            const std::int64_t from = begins_[segment], to = begins_[segment + 1];
            for (std::int64_t i = from; i < to; ++i) stamp_[std::size_t(items_[std::size_t(i)])] = std::int64_t(segment);
            begins_[segment] = written;
            for (std::int64_t i = from; i < to; ++i) {
                const Item item = items_[std::size_t(i)], other = partner_[std::size_t(item)];
                if (other < 0 || stamp_[std::size_t(other)] != std::int64_t(segment)) {
                    items_[std::size_t(written++)] = item;
                    continue;
                }
                --frequency_[std::size_t(item)];
                if (item < other) fresh.push_back(sum_of[std::size_t(item)]);
            }
            for (const Item sum : fresh) {
                items_[std::size_t(written++)] = sum;
                ++frequency_[std::size_t(sum)];
            }
            fresh.clear();
        }
        begins_.back() = written;
        items_.resize(std::size_t(written));
        stamp_.assign(frequency_.size(), -1);
        partner_.assign(frequency_.size(), -1);
    }

    const std::uint32_t least_;
    std::vector<std::int64_t> begins_, ends_, stamp_;
    std::vector<Item> items_, partner_, sums_;
    std::vector<std::uint32_t> frequency_;
};

// Levels of sums and the rows that read them.
class SharedRows {
public:
    SharedRows(std::int64_t cols, std::vector<const Pattern*> levels, const Pattern* rows, Offered weight)
        : cols_(cols), levels_(std::move(levels)), rows_(rows), weight_(std::move(weight)) {
        std::int64_t filled = cols;
        for (const Pattern* level : levels_) {
            if (level->cols() != filled) refuse("a level must have a column for every node and every sum before it");
            filled += level->rows();
            for (std::int64_t row = 0; row <= level->rows() && pairs_; ++row) pairs_ = level->offsets()[row] == 2 * row;
        }
        if (rows->cols() != filled) refuse("rows must have a column for every node and every sum");
        sums_ = filled - cols;
        vector<float>(weight_, rows->edges(), "weight");
    }

    void product(const Array& x, const Array& out, bool accumulate, Offered row_scale, Offered column_scale, int threads,
                 int tile, bool ahead) const {
        if (tile < 1) refuse("tile must be positive");
        const Way way{tile, ahead ? Prefetch::near : Prefetch::none};
        if (holds<float>(x)) return run<float>(x, out, accumulate, row_scale, column_scale, threads, way);
        if (holds<double>(x)) return run<double>(x, out, accumulate, row_scale, column_scale, threads, way);
        refuse("x must be float32 or float64");
    }

private:
    template <class Number>
    static Product<Number, Number, std::int32_t> of(const Pattern& pattern, int threads) {
        Product<Number, Number, std::int32_t> p{};
        pattern.with_indices([&](auto indices) {
            if constexpr (std::is_same_v<decltype(indices), const std::int32_t*>) p.indices = indices;
            else refuse("columns of rows that share sums must be int32");
        });
        p.rows = pattern.rows(), p.cols = pattern.cols(), p.indptr = p.work = pattern.offsets();
        p.ascending = pattern.ascending(), p.far = pattern.far(), p.present = 1;
        p.threads = threads < 1 ? 1 : threads;
        return p;
    }

    template <class Number>
    void run(const Array& x, const Array& out, bool accumulate, const Offered& row_scale, const Offered& column_scale,
             int threads, const Way& way) const {
        SharedProduct<Number, Number> shared{of<Number>(*rows_, threads), nullptr, std::int64_t(levels_.size()), sums_, pairs_};
        auto& p = shared.rows;
        p.width = -1;
        p.x = matrix<Number>(x, cols_, p.width, p.x_stride, "x");
        p.x_rows = cols_;
        p.out = matrix<Number>(out, p.rows, p.width, p.out_stride, "out");
        if (p.width * std::int64_t(sizeof(Number)) < 64) refuse("rows that share sums must have 64 bytes or more");
        p.row_scale = vector<Number>(row_scale, p.rows, "row_scale");
        p.column_scale = vector<Number>(column_scale, cols_, "column_scale");
        p.way = way, p.accumulate = accumulate;
        std::vector<Number> weight;
        if (weight_) {
            const float* signs = vector<float>(weight_, rows_->edges(), "weight");
            weight.assign(signs, signs + rows_->edges());
            p.weight = weight.data();
        }
        std::vector<Product<Number, Number, std::int32_t>> levels;
        for (const Pattern* level : levels_) levels.push_back(of<Number>(*level, threads));
        shared.levels = levels.data();
        nb::gil_scoped_release unlocked;
        kernels(std::min<std::int64_t>(p.width, way.tile) * std::int64_t(sizeof(Number))).run(shared);
    }

    const std::int64_t cols_;
    std::int64_t sums_;
    bool pairs_ = true;
    std::vector<const Pattern*> levels_;
    const Pattern* rows_;
    const Offered weight_;
};

}  // namespace

void bind_sharing(nb::module_& m) {
    nb::class_<Sharing>(m, "Sharing")
        .def(nb::init<const Pattern&, std::int64_t, std::int64_t, double>(), nb::arg("pattern"), nb::arg("reach"),
             nb::arg("least"), nb::arg("decay"))
        .def_prop_ro("num_sums", &Sharing::num_sums)
        .def_prop_ro("num_terms", &Sharing::num_terms)
        .def("write", &Sharing::write, nb::arg("sums"), nb::arg("indptr"), nb::arg("items"));
    nb::class_<SharedRows>(m, "SharedRows")
        .def(nb::init<std::int64_t, std::vector<const Pattern*>, const Pattern*, Offered>(), nb::arg("cols"),
             nb::arg("levels"), nb::arg("rows"), nb::arg("weight").none(), nb::keep_alive<1, 3>(), nb::keep_alive<1, 4>())
        .def("product", &SharedRows::product, nb::arg("x"), nb::arg("out"), nb::arg("accumulate"),
             nb::arg("row_scale").none(), nb::arg("column_scale").none(), nb::arg("threads") = 1, nb::arg("tile") = 32, nb::arg("ahead") = false);
}

}  // namespace gcnsys
