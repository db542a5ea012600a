// The fastest way to a product, found out by going it.
//
// Which slabs and which prefetches are fastest depends on caches that nobody describes well enough (a share of
// a socket's, in a virtual machine). So the first products of a size go one way each, and most others go the one
// that took least. Only ways that give the same bits are tried.
#pragma once

#include "workspace.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
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
        std::vector<Trial>& trials = trials_[size];
        if (trials.empty()) trials = candidates(size);
        return trials[chosen(trials)].way;
    }

    void settle(const Size& size, const Way& way, double seconds) {
        const std::lock_guard<std::mutex> lock(mutex_);
        for (Trial& trial : trials_[size])
            if (trial.way == way) {
                trial.least = trial.count ? std::min(trial.least, seconds) : seconds;
                ++trial.count;
            }
    }

private:
    struct Trial {
        Way way;
        double least = std::numeric_limits<double>::infinity();
        int count = 0;
    };

    static constexpr int times = 3;          // a way is tried at most that is not the fastest
    static constexpr double hopeless = 1.3;  // times the least so far: not tried again
    static constexpr int often = 4;          // products to one that goes another way than the fastest

    static std::vector<Trial> candidates(const Size& size) {
        const auto [number_bytes, width, rows, threads, parts, alike] = size;
        std::vector<Trial> made{{{}}};  // by size first, which is one of the ways that are alike
        if (alike != Alike::slabs)
            for (Prefetch prefetch : {Prefetch::near, Prefetch::far}) made.push_back({{-1, prefetch}});
        // A slab far larger than the cache is slow, and as large as x: it is not even tried.
        const auto fits = [rows = rows](std::int64_t bytes) { return bytes << rows <= 4 * std::int64_t(last_cache_bytes()); };
        for (int bytes : {64, 128, 256})
            if (alike != Alike::straight && bytes / number_bytes < width && fits(bytes))
                for (Prefetch prefetch : {Prefetch::none, Prefetch::near, Prefetch::far})
                    made.push_back({{bytes / number_bytes, prefetch}});
        // Blocks pay where a slab is larger than a core's own cache and there is a slab for each thread.
        const std::int64_t own = std::int64_t(own_cache_bytes()), row = width * number_bytes;
        for (std::int64_t bytes : {128, 256})
            if (alike != Alike::straight && !(parts & 2) && row > bytes && row >= bytes * threads && bytes << rows > own)
                made.push_back({{int(bytes) / number_bytes, Prefetch::none, own / 4 * 3}});
        return made;
    }

    // A way that was not tried; else the fastest, and now and then one that may have been disturbed.
    static std::size_t chosen(const std::vector<Trial>& trials) {
        std::size_t best = 0, doubted = trials.size();
        int count = 0;
        for (std::size_t i = 0; i < trials.size(); ++i) {
            if (trials[i].count == 0) return i;
            count += trials[i].count;
            if (trials[i].least < trials[best].least) best = i;
        }
        if (count % often) return best;
        for (std::size_t i = 0; i < trials.size(); ++i)
            if (trials[i].count < times && trials[i].least < hopeless * trials[best].least &&
                (doubted == trials.size() || trials[i].least < trials[doubted].least))
                doubted = i;
        return doubted < trials.size() ? doubted : best;
    }

    std::mutex mutex_;
    std::map<Size, std::vector<Trial>> trials_;
};

}  // namespace gcnsys
