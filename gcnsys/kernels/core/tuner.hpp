// The fastest way to a product, found out by going it.
//
// Which slabs and which prefetches are fastest depends on caches that nobody describes well enough (a share of
// a socket's, in a virtual machine). So ways are tried while products are computed. Only ways that give the same
// bits are tried.
#pragma once

#include "contest.hpp"
#include "workspace.hpp"

#include <algorithm>
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
    // (draws differ a little), threads, whether columns are absent (2) or rows listed (1), which ways are alike.
    using Size = std::tuple<int, std::int64_t, int, int, int, Alike>;

    // The way to go now; `settle` takes the seconds it took.
    Way next(const Size& size) {
        const std::lock_guard<std::mutex> lock(mutex_);
        auto found = sizes_.find(size);
        if (found == sizes_.end()) found = sizes_.emplace(size, Sized(candidates(size))).first;
        return found->second.ways[found->second.contest.next()];
    }

    void settle(const Size& size, const Way& way, double seconds) {
        const std::lock_guard<std::mutex> lock(mutex_);
        Sized& sized = sizes_.at(size);
        const auto place = std::find(sized.ways.begin(), sized.ways.end(), way);
        sized.contest.settle(std::size_t(place - sized.ways.begin()), seconds);
    }

    // Whether it is clear for every size that was met which way is fastest.
    bool decided() const {
        const std::lock_guard<std::mutex> lock(mutex_);
        return std::all_of(sizes_.begin(), sizes_.end(), [](const auto& each) { return each.second.contest.decided(); });
    }

private:
    struct Sized {
        std::vector<Way> ways;
        Contest contest;

        explicit Sized(std::vector<Way> made) : ways(std::move(made)), contest(ways.size()) {}
    };

    static std::vector<Way> candidates(const Size& size) {
        const auto [number_bytes, width, rows, threads, parts, alike] = size;
        std::vector<Way> made{Way{}};  // by size first, which is one of the ways that are alike
        if (alike != Alike::slabs)
            for (Prefetch prefetch : {Prefetch::near, Prefetch::far}) made.push_back({-1, prefetch});
        // A slab far larger than the cache is slow, and as large as x: it is not even tried.
        const auto fits = [rows = rows](std::int64_t bytes) { return bytes << rows <= 4 * std::int64_t(last_cache_bytes()); };
        for (int bytes : {64, 128, 256})
            if (alike != Alike::straight && bytes / number_bytes < width && fits(bytes))
                for (Prefetch prefetch : {Prefetch::none, Prefetch::near, Prefetch::far})
                    made.push_back({bytes / number_bytes, prefetch});
        // Blocks pay where a slab is larger than a core's own cache and there is a slab for each thread.
        const std::int64_t own = std::int64_t(own_cache_bytes()), row = width * number_bytes;
        for (std::int64_t bytes : {128, 256})
            if (alike != Alike::straight && !(parts & 2) && row > bytes && row >= bytes * threads && bytes << rows > own)
                made.push_back({int(bytes) / number_bytes, Prefetch::none, own / 4 * 3});
        return made;
    }

    mutable std::mutex mutex_;
    std::map<Size, Sized> sizes_;
};

}  // namespace gcnsys
