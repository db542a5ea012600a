// The fastest way to a product, found out by going it.
//
// Which slabs and which prefetches are fastest depends on caches that nobody describes well enough (a share of
// a socket's, in a virtual machine). So ways are tried while products are computed. Only ways that give the same
// bits are tried.
#pragma once

#include "contest.hpp"

#include <cstdint>
#include <map>
#include <mutex>
#include <tuple>
#include <vector>

namespace gcnsys {

enum class Prefetch : int { by_size, none, near, far };

struct Way {
    int tile = 0;  // features a slab; 0: by size; negative: straight from x
    Prefetch prefetch = Prefetch::by_size;
    std::int64_t block_bytes = 0;  // of a slab that are gathered from before the others; 0: all

    bool operator==(const Way& other) const {
        return tile == other.tile && prefetch == other.prefetch && block_bytes == other.block_bytes;
    }
};

// Ways that give the same bits: all, or where columns are scaled, either kind: a slab holds scaled numbers,
// rounded, while an edge that goes straight rounds once.
enum class Alike : int { all, straight, slabs };

class Tuner {
public:
    // What products must have in common to be compared: bytes a number, width, rows of x as a power of two
    // (draws differ a little), threads, whether rows are listed (1) or columns absent (2), which ways are alike. Forward
    // and backward count as one: they differ by less than ways do, and twice as many products find the way sooner.
    using Size = std::tuple<int, std::int64_t, int, int, int, Alike>;

    // The way to go now; `settle` takes the seconds it took.
    Way next(const Size& size);
    void settle(const Size& size, const Way& way, double seconds);

    // Whether it is clear for every size that was met which way is fastest.
    bool decided() const;

private:
    struct Sized {
        std::vector<Way> ways;
        Contest contest;

        explicit Sized(std::vector<Way> made) : ways(std::move(made)), contest(ways.size()) {}
    };

    mutable std::mutex mutex_;
    std::map<Size, Sized> sizes_;
};

}  // namespace gcnsys
