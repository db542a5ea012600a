// Islands between hubs, for Python; gcnsys/kernels/islands.py says what they are.
#include "pattern.hpp"

#include <numeric>
#include <vector>

namespace gcnsys {
namespace {

// Sets that grow together; the set of an element is found along paths that get shorter.
template <class Index>
class Sets {
public:
    explicit Sets(std::int64_t count) : parent_(std::size_t(count)) { std::iota(parent_.begin(), parent_.end(), Index(0)); }

    Index find(Index element) {
        while (parent_[element] != element) element = parent_[element] = parent_[parent_[element]];
        return element;
    }

    void put_under(Index root, Index other) { parent_[root] = other; }

private:
    std::vector<Index> parent_;
};

// Nodes come in level by level. `whole` are the islands so far; those that a level joins are joined in `joined` until
// it is known whether what comes out is small enough. A set that is closed takes in no more.
template <class Index>
class Growth {
public:
    Growth(const Pattern& pattern, const Index* indices, const std::int32_t* level, std::int64_t cap)
        : first_(pattern.offsets()), indices_(indices), level_(level), cap_(cap), whole_(pattern.rows()),
          joined_(pattern.rows()), size_(std::size_t(pattern.rows()), 1), total_(std::size_t(pattern.rows()), 1),
          touched_(std::size_t(pattern.rows()), 0), closed_(std::size_t(pattern.rows()), 0),
          hub_(std::size_t(pattern.rows()), 0) {}

    void take(std::int32_t level, const Index* nodes, std::int64_t count) {
        listed_.clear();
        for (std::int64_t i = 0; i < count; ++i) touch(nodes[i]);
        for (std::int64_t i = 0; i < count; ++i) {
            const Index node = nodes[i];
            for (std::int64_t edge = first_[node]; edge < first_[node + 1]; ++edge)
                if (level_[indices_[edge]] <= level) join(node, whole_.find(indices_[edge]));
        }
        // What comes out is read for all before any of it is written.
        roots_.resize(listed_.size());
        for (std::size_t i = 0; i < listed_.size(); ++i) roots_[i] = joined_.find(listed_[i]);
        for (std::size_t i = 0; i < listed_.size(); ++i) {
            const Index part = listed_[i], root = roots_[i];
            touched_[part] = 0;
            joined_.put_under(part, part);
            if (total_[root] > cap_) {
                closed_[part] = 1;
                hub_[part] = level_[part] == level;
            } else {
                size_[root] = total_[root];
                whole_.put_under(part, root);
            }
        }
    }

    std::int64_t label(Index node) { return hub_[node] ? -1 : std::int64_t(whole_.find(node)); }

private:
    void touch(Index part) {
        if (touched_[part]) return;
        touched_[part] = 1;
        total_[part] = size_[part];
        listed_.push_back(part);
    }

    void join(Index node, Index part) {
        Index one = joined_.find(node);
        if (closed_[part]) {
            total_[one] = cap_ + 1;
            return;
        }
        touch(part);
        Index other = joined_.find(part);
        if (one == other) return;
        if (total_[one] < total_[other]) std::swap(one, other);
        joined_.put_under(other, one);
        total_[one] = std::min(total_[one] + total_[other], cap_ + 1);
    }

    const std::int64_t* first_;
    const Index* indices_;
    const std::int32_t* level_;
    const std::int64_t cap_;
    Sets<Index> whole_, joined_;
    std::vector<std::int64_t> size_, total_;
    std::vector<char> touched_, closed_, hub_;
    std::vector<Index> listed_, roots_;
};

void islands(const Pattern& pattern, const Array& level, std::int32_t levels, std::int64_t cap, const Array& label) {
    const std::int64_t count = pattern.rows();
    if (pattern.cols() != count) refuse("islands are found in a square pattern");
    if (levels < 1 || cap < 1) refuse("levels and cap must be positive");
    const std::int32_t* of = vector<std::int32_t>(level, count, "level");
    std::int64_t* out = vector<std::int64_t>(label, count, "label");
    for (std::int64_t node = 0; node < count; ++node)
        if (of[node] < 0 || of[node] >= levels) refuse("a level is outside 0.." + std::to_string(levels - 1));
    pattern.with_indices([&](auto indices) {
        using Index = std::remove_const_t<std::remove_pointer_t<decltype(indices)>>;
        nb::gil_scoped_release unlocked;
        std::vector<std::int64_t> begin(std::size_t(levels) + 1, 0);
        for (std::int64_t node = 0; node < count; ++node) ++begin[std::size_t(of[node]) + 1];
        std::partial_sum(begin.begin(), begin.end(), begin.begin());
        std::vector<Index> nodes(static_cast<std::size_t>(count));
        std::vector<std::int64_t> next(begin.begin(), begin.end() - 1);
        for (std::int64_t node = 0; node < count; ++node) nodes[std::size_t(next[std::size_t(of[node])]++)] = Index(node);
        Growth<Index> growth(pattern, indices, of, cap);
        for (std::int32_t now = 0; now < levels; ++now)
            growth.take(now, nodes.data() + begin[std::size_t(now)], begin[std::size_t(now) + 1] - begin[std::size_t(now)]);
        for (std::int64_t node = 0; node < count; ++node) out[node] = growth.label(Index(node));
    });
}

}  // namespace

void bind_islands(nb::class_<Pattern>& pattern) {
    pattern.def("islands", &islands, nb::arg("level"), nb::arg("levels"), nb::arg("cap"), nb::arg("label"));
}

}  // namespace gcnsys
