// Draws among neighbours, and new numbers for the nodes of a sample, for Python.
#include "hash.hpp"
#include "pattern.hpp"
#include "sampling.hpp"

#include <nanobind/stl/array.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <tuple>
#include <utility>
#include <vector>

namespace gcnsys {
namespace {

using Steps = std::array<std::uint64_t, 3>;

// A vector of one of the two types of ids.
template <class Body>
void by_index(const Array& ids, const char* name, Body body) {
    if (holds<std::int32_t>(ids)) body(std::int32_t());
    else if (holds<std::int64_t>(ids)) body(std::int64_t());
    else refuse(std::string(name) + " must be int32 or int64");
}

template <class Index>
Asked<Index> asked_of(const Pattern& pattern, const Index* indices, const Array& nodes, const Offered& ids,
                      const Steps& steps, const Offered& starts, const Offered& edges, const Offered& columns, int threads) {
    Asked<Index> asked{};
    asked.rows = length(nodes);
    asked.nodes = vector<std::int64_t>(nodes, asked.rows, "nodes");
    for (std::int64_t i = 0; i < asked.rows; ++i)
        if (asked.nodes[i] < 0 || asked.nodes[i] >= pattern.rows())
            refuse("nodes names row " + std::to_string(asked.nodes[i]) + " of " + std::to_string(pattern.rows()));
    asked.ids = ids ? vector<std::int64_t>(ids, asked.rows, "ids") : asked.nodes;
    asked.indptr = pattern.offsets(), asked.indices = indices;
    std::copy(steps.begin(), steps.end(), asked.steps);
    asked.threads = threads < 1 ? 1 : threads;
    if (!starts) return asked;
    asked.starts = vector<std::int64_t>(starts, asked.rows + 1, "starts");
    const std::int64_t total = asked.starts[asked.rows];
    for (std::int64_t i = 0; i < asked.rows; ++i)
        if (asked.starts[i] < 0 || asked.starts[i] > asked.starts[i + 1]) refuse("starts must ascend");
    if (!columns) refuse("starts and columns come together");
    asked.edges = vector<std::int64_t>(edges, total, "edges");
    asked.columns = vector<Index>(columns, total, "columns");
    return asked;
}

// Runs a draw, which checks while it writes that `starts` has the room it needs.
template <class Draw>
void run_checked(Draw& d) {
    std::atomic<bool> fits = true;
    d.asked.fits = &fits;
    {
        nb::gil_scoped_release unlocked;
        kernels().run(d);
    }
    if (!fits) refuse("starts does not fit what is drawn");
}

void draw_uniform(const Pattern& pattern, const Array& nodes, Offered ids, const Steps& steps, std::int64_t count,
                  bool repeated, const Array& starts, const Array& columns, Offered edges, int threads) {
    if (count < 0) refuse("count must not be negative");
    pattern.with_indices([&](auto indices) {
        using Index = std::remove_const_t<std::remove_pointer_t<decltype(indices)>>;
        UniformDraw<Index> d{asked_of<Index>(pattern, indices, nodes, ids, steps, starts, edges, columns, threads), count,
                             repeated};
        run_checked(d);
    });
}

void draw_weighted(const Pattern& pattern, const Array& nodes, Offered ids, const Steps& steps, std::int64_t count,
                   const Array& weight, const Array& starts, const Array& columns, const Array& last, Offered edges,
                   int threads) {
    if (count < 0) refuse("count must not be negative");
    pattern.with_indices([&](auto indices) {
        using Index = std::remove_const_t<std::remove_pointer_t<decltype(indices)>>;
        WeightedDraw<Index> d{asked_of<Index>(pattern, indices, nodes, ids, steps, starts, edges, columns, threads), count,
                              vector<double>(weight, pattern.edges(), "weight"), nullptr};
        d.last = vector<double>(last, d.asked.rows, "last");
        run_checked(d);
    });
}

void draw_poisson(const Pattern& pattern, const Array& nodes, std::uint32_t a, std::uint32_t b, const Array& below,
                  Offered names, Offered counts, Offered starts, Offered columns, Offered edges, int threads) {
    pattern.with_indices([&](auto indices) {
        using Index = std::remove_const_t<std::remove_pointer_t<decltype(indices)>>;
        PoissonDraw<Index> d{asked_of<Index>(pattern, indices, nodes, Offered{}, Steps{}, starts, edges, columns, threads), a, b,
                             vector<std::int64_t>(names, pattern.cols(), "names"), nullptr, nullptr};
        d.below = reinterpret_cast<const std::uint64_t*>(vector<std::int64_t>(below, d.asked.rows, "below"));
        d.counts = vector<std::int64_t>(counts, d.asked.rows, "counts");
        if (bool(counts) == bool(starts)) refuse("give counts, and afterwards starts");
        run_checked(d);
    });
}

// Numbers for ids in the order in which they come: a table over all ids where they are few beside what is
// looked up, else one that grows with what it holds.
template <class Index>
class Numbers {
public:
    Numbers(std::int64_t universe, std::int64_t expected) {
        if (universe <= 4 * expected) direct_.assign(std::size_t(universe), -1);
        else grow(1024);
    }

    // The id's number, and whether it is new.
    std::pair<std::int32_t, bool> put(Index id) {
        if (!direct_.empty()) {
            std::int32_t& slot = direct_[std::size_t(id)];
            const bool fresh = slot < 0;
            if (fresh) slot = std::int32_t(count_++);
            return {slot, fresh};
        }
        for (std::size_t place = home(id);; place = (place + 1) & mask_) {
            Slot& slot = slots_[place];
            if (slot.id == id) return {slot.number, false};
            if (slot.id != nobody) continue;
            slot = {id, std::int32_t(count_++)};
            const std::int32_t number = slot.number;
            if (std::size_t(count_) * 2 > mask_) grow((mask_ + 1) * 2);
            return {number, true};
        }
    }

    // Calls the body with what finds an id's number, or -1.
    template <class Body>
    void with_find(Body body) const {
        if (!direct_.empty()) {
            body([table = direct_.data()](Index id) { return table[id]; });
            return;
        }
        body([this](Index id) {
            for (std::size_t place = home(id);; place = (place + 1) & mask_) {
                if (slots_[place].id == id) return slots_[place].number;
                if (slots_[place].id == nobody) return std::int32_t(-1);
            }
        });
    }

private:
    struct Slot {
        Index id;
        std::int32_t number;
    };
    static constexpr Index nobody = -1;

    std::size_t home(Index id) const {
        return std::size_t((std::uint64_t(id) * 0x9E3779B97F4A7C15u) >> 32) & mask_;
    }

    void grow(std::size_t size) {
        std::vector<Slot> old(size, Slot{nobody, 0});
        old.swap(slots_);
        mask_ = size - 1;
        for (const Slot& slot : old) {
            if (slot.id == nobody) continue;
            std::size_t place = home(slot.id);
            while (slots_[place].id != nobody) place = (place + 1) & mask_;
            slots_[place] = slot;
        }
    }

    std::vector<std::int32_t> direct_;
    std::vector<Slot> slots_;
    std::size_t mask_ = 0;
    std::int64_t count_ = 0;
};

template <class Index>
Numbers<Index> numbered(const std::int64_t* nodes, std::int64_t count, std::int64_t universe, std::int64_t expected) {
    Numbers<Index> numbers(universe, expected);
    for (std::int64_t i = 0; i < count; ++i) {
        if (nodes[i] < 0 || nodes[i] >= universe)
            refuse("node " + std::to_string(nodes[i]) + " is outside 0.." + std::to_string(universe - 1));
        if (!numbers.put(Index(nodes[i])).second) refuse("node " + std::to_string(nodes[i]) + " comes twice");
    }
    return numbers;
}

// Numbers the nodes, then whatever else the columns name; returns how many are new.
std::int64_t renumber(const Array& nodes, const Array& columns, std::int64_t universe, const Array& local,
                      const Array& fresh) {
    std::int64_t found = 0;
    by_index(columns, "columns", [&](auto index) {
        using Index = decltype(index);
        const std::int64_t count = length(nodes), edges = length(columns);
        const std::int64_t* ids = vector<std::int64_t>(nodes, count, "nodes");
        const Index* named = vector<Index>(columns, edges, "columns");
        if (universe - 1 > std::int64_t(std::numeric_limits<Index>::max()))
            refuse("columns of this type cannot name " + std::to_string(universe) + " nodes");
        std::int32_t* out = vector<std::int32_t>(local, edges, "local");
        std::int64_t* others = vector<std::int64_t>(fresh, edges, "fresh");
        auto numbers = numbered<Index>(ids, count, universe, count + edges);
        bool inside = true;
        {
            nb::gil_scoped_release unlocked;
            for (std::int64_t edge = 0; edge < edges && inside; ++edge) {
                const Index id = named[edge];
                if (!(inside = id >= 0 && id < universe)) break;
                const auto [number, is_new] = numbers.put(id);
                out[edge] = number;
                if (is_new) others[found++] = id;
            }
        }
        if (!inside) refuse("a column is outside 0.." + std::to_string(universe - 1));
    });
    return found;
}

// A bit for each of at least eight times as many values of a hash as there are ids. Most others are told apart by
// these bits, which for thousands of ids fit the first cache.
class Sieve {
public:
    // What a loop needs, in registers.
    struct View {
        const std::uint64_t* bits;
        int shift;

        bool may_hold(std::int64_t id) const {
            const std::size_t at = place(id, shift);
            return bits[at / 64] >> at % 64 & 1;
        }
    };

    Sieve(const std::int64_t* ids, std::int64_t count) {
        std::size_t size = 64;
        while (size < std::size_t(8 * count)) size *= 2, --shift_;
        bits_.assign(size / 64, 0);
        for (std::int64_t i = 0; i < count; ++i) {
            const std::size_t at = place(ids[i], shift_);
            bits_[at / 64] |= std::uint64_t(1) << at % 64;
        }
    }

    View view() const { return {bits_.data(), shift_}; }

private:
    static std::size_t place(std::int64_t id, int shift) {
        return std::size_t((std::uint64_t(id) * 0x9E3779B97F4A7C15u) >> shift);
    }

    int shift_ = 64 - 6;
    std::vector<std::uint64_t> bits_;
};

// Forced inline for the reason that `fetch` in passes.hpp gives.
template <class Index>
__attribute__((always_inline)) inline void fetch_row(const Index* begin, const Index* end) {
    constexpr std::int64_t line = 64 / sizeof(Index), most = 64 * line;
    for (const Index* at = begin; at < std::min(end, begin + most); at += line) __builtin_prefetch(at, 0, 3);
}

// The entries of the listed rows whose columns are among others that are listed: one after the other at the front of
// `columns` and `edges`, which have room for all entries of those rows. Returns how many there are.
std::int64_t induce(const Pattern& pattern, const Array& nodes, const Array& among, const Array& starts,
                    const Array& counts, const Array& columns, Offered edges, int threads) {
    std::int64_t total = 0;
    pattern.with_indices([&](auto indices) {
        using Index = std::remove_const_t<std::remove_pointer_t<decltype(indices)>>;
        const std::int64_t rows = length(nodes);
        const std::int64_t* ids = vector<std::int64_t>(nodes, rows, "nodes");
        const std::int64_t* room = vector<std::int64_t>(starts, rows + 1, "starts");
        std::int64_t* number = vector<std::int64_t>(counts, rows, "counts");
        const std::int64_t* first = pattern.offsets();
        const std::int64_t sources = length(among);
        const std::int64_t* members = vector<std::int64_t>(among, sources, "among");
        // Few but those that stay are looked up: the sieve knows most others.
        const auto numbers = numbered<Index>(members, sources, pattern.cols(), 4 * sources);
        const Sieve sieves(members, sources);
        for (std::int64_t i = 0; i < rows; ++i) {
            if (ids[i] < 0 || ids[i] >= pattern.rows())
                refuse("nodes names row " + std::to_string(ids[i]) + " of " + std::to_string(pattern.rows()));
            if (room[0] || room[i + 1] - room[i] != first[ids[i] + 1] - first[ids[i]])
                refuse("starts does not fit the rows");
            if (room[i + 1] - room[i] > std::numeric_limits<std::int32_t>::max())
                refuse("row " + std::to_string(ids[i]) + " has more entries than 32 bits count");
        }
        std::int32_t* local = vector<std::int32_t>(columns, room[rows], "columns");
        std::int64_t* taken = vector<std::int64_t>(edges, room[rows], "edges");
        nb::gil_scoped_release unlocked;
        const std::int64_t workers = std::max(1, threads);
        // Rows of each worker, about as many entries; what stays of them lies close together, so that of the room for
        // all entries little is ever touched.
        std::vector<std::int64_t> bounds(std::size_t(workers) + 1, rows), ends(static_cast<std::size_t>(workers));
        for (std::int64_t w = 0; w < workers; ++w)
            bounds[w] = std::lower_bound(room, room + rows, room[rows] / workers * w) - room;
        numbers.with_find([&](auto find) {
#pragma omp parallel for schedule(static, 1) num_threads(workers)
            for (std::int64_t w = 0; w < workers; ++w) {
                std::int64_t place = room[bounds[w]];
                const Sieve::View sieve = sieves.view();
                for (std::int64_t i = bounds[w]; i < bounds[w + 1]; ++i) {
                    // The processor does not find the next rows, which lie anywhere.
                    if (i + 2 < rows) fetch_row(indices + first[ids[i + 2]], indices + first[ids[i + 2] + 1]);
                    const std::int64_t begin = place, from = first[ids[i]], count = first[ids[i] + 1] - from;
                    std::int32_t* maybe = local + place;
                    std::int64_t left = 0;
                    // Nobody knows which entries stay: to write each and move on by 0 or 1 beats guessing.
                    for (std::int64_t k = 0; k < count; ++k) {
                        maybe[left] = std::int32_t(k);
                        left += sieve.may_hold(indices[from + k]);
                    }
                    for (std::int64_t k = 0; k < left; ++k) {
                        const std::int64_t edge = from + maybe[k];
                        const std::int32_t other = find(indices[edge]);
                        local[place] = other;
                        if (taken) taken[place] = edge;
                        place += other >= 0;
                    }
                    number[i] = place - begin;
                }
                ends[w] = place;
            }
        });
        for (std::int64_t w = 0; w < workers; ++w) {
            const std::int64_t begin = room[bounds[w]], count = ends[w] - begin;
            if (total != begin) {
                std::memmove(local + total, local + begin, std::size_t(count) * sizeof(std::int32_t));
                if (taken) std::memmove(taken + total, taken + begin, std::size_t(count) * sizeof(std::int64_t));
            }
            total += count;
        }
    });
    return total;
}

// Each of v pairs names an id for a row. Of each row the `count` ids that are named most often, ascending, and how
// often: one after the other at the front of `columns` and `times`, which have room for v. A row's own id does not count;
// among ids named equally often the smaller hash comes first. Returns how many there are.
std::int64_t most_named(const Array& rows, const Array& ids, const Array& own, const Array& a, const Array& b,
                        std::int64_t count, const Array& counts, const Array& columns, const Array& times, int threads) {
    struct Named {
        std::int64_t id, times;
        std::uint32_t word;
    };
    const std::int64_t pairs = length(rows), total = length(own);
    const std::int64_t* row = vector<std::int64_t>(rows, pairs, "rows");
    const std::int64_t* id = vector<std::int64_t>(ids, pairs, "ids");
    const std::int64_t* self = vector<std::int64_t>(own, total, "own");
    const std::int32_t *first_word = vector<std::int32_t>(a, total, "a"), *second_word = vector<std::int32_t>(b, total, "b");
    std::int64_t *number = vector<std::int64_t>(counts, total, "counts"), *out = vector<std::int64_t>(columns, pairs, "columns");
    float* often = vector<float>(times, pairs, "times");
    std::vector<std::int64_t> first(std::size_t(total) + 1, 0), by_row(static_cast<std::size_t>(pairs));
    for (std::int64_t i = 0; i < pairs; ++i) {
        if (row[i] < 0 || row[i] >= total)
            refuse("rows names row " + std::to_string(row[i]) + " of " + std::to_string(total));
        ++first[row[i] + 1];
    }
    std::int64_t found = 0;
    {
        nb::gil_scoped_release unlocked;
        for (std::int64_t r = 0; r < total; ++r) first[r + 1] += first[r];
        std::vector<std::int64_t> place(first.begin(), first.end() - 1);
        for (std::int64_t i = 0; i < pairs; ++i) by_row[place[row[i]]++] = id[i];
#pragma omp parallel num_threads(threads < 1 ? 1 : threads)
        {
            std::vector<Named> named;
#pragma omp for schedule(static)
            for (std::int64_t r = 0; r < total; ++r) {
                std::int64_t *begin = by_row.data() + first[r], *end = by_row.data() + first[r + 1];
                std::sort(begin, end);
                named.clear();
                for (std::int64_t* at = begin; at < end;) {
                    std::int64_t* next = at;
                    while (next < end && *next == *at) ++next;
                    const auto [low, high] = std::pair(std::uint32_t(*at), std::uint32_t(std::uint64_t(*at) >> 32));
                    if (*at != self[r])
                        named.push_back({*at, next - at,
                                         hashed(std::uint32_t(first_word[r]) ^ (high * 0x85EBCA6Bu),
                                                std::uint32_t(second_word[r]), low)});
                    at = next;
                }
                if (count >= 0 && std::int64_t(named.size()) > count) {
                    std::nth_element(named.begin(), named.begin() + count, named.end(), [](const Named& x, const Named& y) {
                        return std::tuple(-x.times, x.word, x.id) < std::tuple(-y.times, y.word, y.id);
                    });
                    named.resize(std::size_t(count));
                    std::sort(named.begin(), named.end(), [](const Named& x, const Named& y) { return x.id < y.id; });
                }
                number[r] = std::int64_t(named.size());
                for (std::int64_t k = 0; k < number[r]; ++k)
                    out[first[r] + k] = named[k].id, often[first[r] + k] = float(named[k].times);
            }
        }
        for (std::int64_t r = 0; r < total; ++r) {
            if (found != first[r]) {
                std::memmove(out + found, out + first[r], std::size_t(number[r]) * sizeof(std::int64_t));
                std::memmove(often + found, often + first[r], std::size_t(number[r]) * sizeof(float));
            }
            found += number[r];
        }
    }
    return found;
}

// The column of one entry of each listed row, or -1 where the row has none: `unit` in [0, 1) says which.
void step(const Pattern& pattern, const Array& nodes, const Array& unit, const Array& columns, int threads) {
    pattern.with_indices([&](auto indices) {
        const std::int64_t rows = length(nodes), universe = pattern.rows();
        const std::int64_t* ids = vector<std::int64_t>(nodes, rows, "nodes");
        const double* which = vector<double>(unit, rows, "unit");
        std::int64_t* out = vector<std::int64_t>(columns, rows, "columns");
        const std::int64_t* first = pattern.offsets();
        bool fits = true;
        {
            nb::gil_scoped_release unlocked;
#pragma omp parallel for schedule(static) reduction(&& : fits) num_threads(threads < 1 ? 1 : threads)
            for (std::int64_t i = 0; i < rows; ++i) {
                const bool known = ids[i] >= 0 && ids[i] < universe && which[i] >= 0 && which[i] < 1;
                fits = fits && known;
                const std::int64_t begin = known ? first[ids[i]] : 0, count = known ? first[ids[i] + 1] - begin : 0;
                out[i] = count ? std::int64_t(indices[begin + std::int64_t(which[i] * double(count))]) : -1;
            }
        }
        if (!fits) refuse("a node is outside 0.." + std::to_string(universe - 1) + ", or a number outside [0, 1)");
    });
}

}  // namespace

void bind_sampling(nb::module_& m, nb::class_<Pattern>& pattern) {
    pattern.def("draw_uniform", &draw_uniform, nb::arg("nodes"), nb::arg("ids").none(), nb::arg("steps"), nb::arg("count"),
                nb::arg("repeated"), nb::arg("starts"), nb::arg("columns"), nb::arg("edges").none(),
                nb::arg("threads") = 1);
    pattern.def("draw_weighted", &draw_weighted, nb::arg("nodes"), nb::arg("ids").none(), nb::arg("steps"), nb::arg("count"),
                nb::arg("weight"), nb::arg("starts"), nb::arg("columns"), nb::arg("last"), nb::arg("edges").none(),
                nb::arg("threads") = 1);
    pattern.def("draw_poisson", &draw_poisson, nb::arg("nodes"), nb::arg("a"), nb::arg("b"), nb::arg("below"),
                nb::arg("names").none(), nb::arg("counts").none(), nb::arg("starts").none(), nb::arg("columns").none(),
                nb::arg("edges").none(), nb::arg("threads") = 1);
    pattern.def("induce", &induce, nb::arg("nodes"), nb::arg("among"), nb::arg("starts"), nb::arg("counts"),
                nb::arg("columns"), nb::arg("edges").none(), nb::arg("threads") = 1);
    pattern.def("step", &step, nb::arg("nodes"), nb::arg("unit"), nb::arg("columns"), nb::arg("threads") = 1);
    m.def("most_named", &most_named, nb::arg("rows"), nb::arg("ids"), nb::arg("own"), nb::arg("a"), nb::arg("b"),
          nb::arg("count"), nb::arg("counts"), nb::arg("columns"), nb::arg("times"), nb::arg("threads") = 1);
    m.def("renumber", &renumber, nb::arg("nodes"), nb::arg("columns"), nb::arg("universe"), nb::arg("local"),
          nb::arg("fresh"));
}

}  // namespace gcnsys
