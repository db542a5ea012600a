// Compiled once, for any processor: not with the kernels of each vector width.
#include "tuner.hpp"
#include "workspace.hpp"

#include <algorithm>

namespace gcnsys {
namespace {

std::vector<Way> candidates(const Tuner::Size& size) {
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

}  // namespace

Way Tuner::next(const Size& size) {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto found = sizes_.find(size);
    if (found == sizes_.end()) found = sizes_.emplace(size, Sized(candidates(size))).first;
    return found->second.ways[found->second.contest.next()];
}

void Tuner::settle(const Size& size, const Way& way, double seconds) {
    const std::lock_guard<std::mutex> lock(mutex_);
    Sized& sized = sizes_.at(size);
    const auto place = std::find(sized.ways.begin(), sized.ways.end(), way);
    sized.contest.settle(std::size_t(place - sized.ways.begin()), seconds);
}

bool Tuner::decided() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return std::all_of(sizes_.begin(), sizes_.end(), [](const auto& each) { return each.second.contest.decided(); });
}

}  // namespace gcnsys
