#include "workspace.hpp"

#include <fstream>
#include <string>
#include <mutex>
#include <new>
#include <tuple>
#include <utility>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace gcnsys {
namespace {

// Of the large kind: what a core's own cache is to hold must not lie in small pages, some of which share places there.
constexpr std::size_t page = std::size_t(2) << 20;
constexpr std::size_t kept = std::size_t(64) << 20;  // bytes at most while nobody uses them

constexpr std::align_val_t small{64};

std::mutex guard;
std::vector<std::pair<void*, std::size_t>>& unused() {
    static auto* buffers = new std::vector<std::pair<void*, std::size_t>>();  // outlives late callers
    return *buffers;
}

}  // namespace

Workspace::Workspace(std::size_t bytes) : memory_(nullptr), bytes_((bytes + page - 1) / page * page) {
    if (bytes < page / 4) {  // the C library keeps small blocks itself
        memory_ = ::operator new(bytes, small);
        bytes_ = 0;
        return;
    }
    {
        std::lock_guard<std::mutex> hold(guard);
        auto& buffers = unused();
        for (std::size_t i = 0; i < buffers.size(); ++i)
            if (buffers[i].second >= bytes_ && buffers[i].second <= 4 * bytes_) {
                std::tie(memory_, bytes_) = buffers[i];
                buffers.erase(buffers.begin() + std::ptrdiff_t(i));
                return;
            }
    }
    memory_ = ::operator new(bytes_, std::align_val_t(page));
#ifdef __linux__
    madvise(memory_, bytes_, MADV_HUGEPAGE);  // a hint: gathers from small pages miss the TLB
#endif
}

Workspace::~Workspace() {
    if (bytes_ == 0) {
        ::operator delete(memory_, small);
        return;
    }
    if (bytes_ > kept) {  // the others stay
        ::operator delete(memory_, std::align_val_t(page));
        return;
    }
    std::lock_guard<std::mutex> hold(guard);
    auto& buffers = unused();
    std::size_t held = bytes_;
    for (const auto& [memory, bytes] : buffers) held += bytes;
    while (held > kept && !buffers.empty()) {
        held -= buffers.front().second;
        ::operator delete(buffers.front().first, std::align_val_t(page));
        buffers.erase(buffers.begin());
    }
    buffers.emplace_back(memory_, bytes_);
}

namespace {

// Of the caches that one core uses; sysconf would add up those of a whole socket.
std::size_t cache_bytes(int index, std::size_t otherwise_kibibytes) {
    std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/size");
    std::size_t kibibytes = 0;
    file >> kibibytes;
    return (kibibytes ? kibibytes : otherwise_kibibytes) << 10;
}

}  // namespace

std::size_t own_cache_bytes() {
    static const std::size_t bytes = cache_bytes(2, 1024);
    return bytes;
}

std::size_t last_cache_bytes() {
    // A third cache that dozens of cores share over a mesh is far away and mostly somebody else's: measured with
    // one of 260 MiB beside 2 MiB of one's own, rows came as if it had 32 times the latter.
    static const std::size_t bytes = std::min(cache_bytes(3, 32768), 32 * own_cache_bytes());
    return bytes;
}

}  // namespace gcnsys
