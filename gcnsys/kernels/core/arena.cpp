#include "arena.hpp"

// Where tables of a loaded library hold addresses, as glibc leaves them on these processors.
#if defined(__linux__) && defined(__GLIBC__) && (defined(__x86_64__) || defined(__aarch64__))

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <elf.h>
#include <link.h>
#include <map>
#include <mutex>
#include <set>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace gcnsys {
namespace {

// Blocks of one reserved range of addresses, best fit first, the lowest of equals; neighbours that are free are one.
// Nothing small settles between them, and what is freed fits the next of its size: the two things that a C library's
// heap does not promise of aligned memory.
class Arena {
public:
    Arena() : page_(std::size_t(sysconf(_SC_PAGESIZE))) {
        // Addresses cost nothing: as many as there is memory, eight times.
        reserved_ = 8 * page_ * std::size_t(std::max(1L, sysconf(_SC_PHYS_PAGES)));
        void* range = mmap(nullptr, reserved_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (range == MAP_FAILED) reserved_ = 0;
        else base_ = reinterpret_cast<std::uintptr_t>(range);
    }

    bool works() const { return reserved_ != 0; }

    bool holds(const void* memory) const {
        return reinterpret_cast<std::uintptr_t>(memory) - base_ < reserved_;
    }

    // On the boundary of a page; null where there is no more.
    void* take(std::size_t bytes) {
        bytes = (bytes + page_ - 1) / page_ * page_;
        std::lock_guard<std::mutex> hold(guard_);
        auto fit = by_size_.lower_bound({bytes, 0});
        if (fit == by_size_.end() && !grown(bytes)) return nullptr;
        if (fit == by_size_.end()) fit = by_size_.lower_bound({bytes, 0});
        const auto [size, at] = *fit;
        forget(at, size);
        if (size > bytes) remember(at + bytes, size - bytes);
        used_[at] = bytes;
        in_use_ += bytes;
        return reinterpret_cast<void*>(base_ + at);
    }

    void give(void* memory) {
        std::lock_guard<std::mutex> hold(guard_);
        const auto found = used_.find(reinterpret_cast<std::uintptr_t>(memory) - base_);
        if (found == used_.end()) std::abort();  // freed twice
        std::size_t at = found->first, bytes = found->second;
        used_.erase(found);
        in_use_ -= bytes;
        auto after = free_.lower_bound(at);
        if (after != free_.end() && after->first == at + bytes) {
            bytes += after->second;
            after = erased(after);
        }
        if (after != free_.begin()) {
            const auto before = std::prev(after);
            if (before->first + before->second == at) {
                at = before->first;
                bytes += before->second;
                erased(before);
            }
        }
        remember(at, bytes);
    }

    std::size_t in_use() {
        std::lock_guard<std::mutex> hold(guard_);
        return in_use_;
    }

    std::size_t taken() {
        std::lock_guard<std::mutex> hold(guard_);
        return end_;
    }

private:
    using Free = std::map<std::size_t, std::size_t>;  // offset -> bytes

    bool grown(std::size_t bytes) {
        std::size_t tail = 0;  // free bytes at the end
        if (!free_.empty() && free_.rbegin()->first + free_.rbegin()->second == end_) tail = free_.rbegin()->second;
        const std::size_t more = bytes - tail;
        if (more > reserved_ - end_) return false;
        if (mprotect(reinterpret_cast<void*>(base_ + end_), more, PROT_READ | PROT_WRITE) != 0) return false;
        if (tail) forget(end_ - tail, tail);
        end_ += more;
        remember(end_ - bytes, bytes);
        return true;
    }

    void remember(std::size_t at, std::size_t bytes) {
        free_[at] = bytes;
        by_size_.emplace(bytes, at);
    }

    void forget(std::size_t at, std::size_t bytes) {
        free_.erase(at);
        by_size_.erase({bytes, at});
    }

    Free::iterator erased(Free::iterator each) {
        by_size_.erase({each->second, each->first});
        return free_.erase(each);
    }

    const std::size_t page_;
    std::size_t reserved_ = 0, end_ = 0, in_use_ = 0;
    std::uintptr_t base_ = 0;
    Free free_;
    std::set<std::pair<std::size_t, std::size_t>> by_size_;
    std::map<std::size_t, std::size_t> used_;
    std::mutex guard_;
};

Arena& arena() {
    static Arena* one = new Arena();  // outlives all that was taken from it
    return *one;
}

std::size_t least_bytes = ~std::size_t(0);

int aligned(void** memory, std::size_t alignment, std::size_t bytes) {
    if (bytes >= least_bytes && alignment <= 4096)
        if (void* found = arena().take(bytes)) {
            *memory = found;
            return 0;
        }
    return posix_memalign(memory, alignment, bytes);
}

void freed(void* memory) {
    if (arena().holds(memory)) arena().give(memory);
    else std::free(memory);
}

#if defined(__x86_64__)
constexpr bool a_function(std::uint64_t type) { return type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT; }
#else
constexpr bool a_function(std::uint64_t type) { return type == R_AARCH64_JUMP_SLOT || type == R_AARCH64_GLOB_DAT; }
#endif

// The places where a loaded library looks up the functions that it calls in others.
struct Imports {
    const char* library;
    std::vector<void**> aligns, frees;
    std::uintptr_t sealed = 0, sealed_end = 0;  // what the linker made read-only once it had looked everything up
};

int find(dl_phdr_info* info, std::size_t, void* data) {
    auto& imports = *static_cast<Imports*>(data);
    const char* slash = std::strrchr(info->dlpi_name, '/');
    if (std::strcmp(slash ? slash + 1 : info->dlpi_name, imports.library) != 0) return 0;
    const ElfW(Dyn)* entry = nullptr;
    for (int i = 0; i < info->dlpi_phnum; ++i) {
        const auto& segment = info->dlpi_phdr[i];
        const auto start = info->dlpi_addr + segment.p_vaddr;
        if (segment.p_type == PT_DYNAMIC) entry = reinterpret_cast<const ElfW(Dyn)*>(start);
        if (segment.p_type == PT_GNU_RELRO) imports.sealed = start, imports.sealed_end = start + segment.p_memsz;
    }
    // The linker protects whole pages, and leaves out the last one where it ends amid it.
    imports.sealed_end -= imports.sealed_end % std::uintptr_t(sysconf(_SC_PAGESIZE));
    if (!entry) return 1;
    const ElfW(Sym)* symbols = nullptr;
    const char* names = nullptr;
    std::pair<const ElfW(Rela)*, std::size_t> tables[2]{};
    for (; entry->d_tag != DT_NULL; ++entry) {
        const auto pointer = entry->d_un.d_ptr;
        if (entry->d_tag == DT_SYMTAB) symbols = reinterpret_cast<const ElfW(Sym)*>(pointer);
        if (entry->d_tag == DT_STRTAB) names = reinterpret_cast<const char*>(pointer);
        if (entry->d_tag == DT_JMPREL) tables[0].first = reinterpret_cast<const ElfW(Rela)*>(pointer);
        if (entry->d_tag == DT_PLTRELSZ) tables[0].second = entry->d_un.d_val / sizeof(ElfW(Rela));
        if (entry->d_tag == DT_RELA) tables[1].first = reinterpret_cast<const ElfW(Rela)*>(pointer);
        if (entry->d_tag == DT_RELASZ) tables[1].second = entry->d_un.d_val / sizeof(ElfW(Rela));
    }
    if (!symbols || !names) return 1;
    for (const auto& [table, count] : tables)
        for (std::size_t i = 0; table && i < count; ++i) {
            if (!a_function(ELF64_R_TYPE(table[i].r_info))) continue;
            const char* name = names + symbols[ELF64_R_SYM(table[i].r_info)].st_name;
            auto* place = reinterpret_cast<void**>(info->dlpi_addr + table[i].r_offset);
            if (std::strcmp(name, "posix_memalign") == 0) imports.aligns.push_back(place);
            if (std::strcmp(name, "free") == 0) imports.frees.push_back(place);
        }
    return 1;
}

bool replaced(const Imports& imports, const std::vector<void**>& places, void* function) {
    const auto page = std::uintptr_t(sysconf(_SC_PAGESIZE));
    for (void** place : places) {
        const auto at = reinterpret_cast<std::uintptr_t>(place);
        auto* start = reinterpret_cast<void*>(at / page * page);
        const bool sealed = imports.sealed <= at && at < imports.sealed_end;
        if (sealed && mprotect(start, page, PROT_READ | PROT_WRITE) != 0) return false;
        __atomic_store_n(place, function, __ATOMIC_SEQ_CST);
        if (sealed && mprotect(start, page, PROT_READ) != 0) return false;
    }
    return true;
}

}  // namespace

bool arena_under(const char* library, std::size_t least) {
    if (!arena().works()) return false;
    least_bytes = least;
    static std::mutex once;
    std::lock_guard<std::mutex> hold(once);
    static bool done = false;
    if (done) return true;
    Imports imports{library, {}, {}, 0, 0};
    dl_iterate_phdr(find, &imports);
    if (imports.aligns.empty() || imports.frees.empty()) return false;
    // Whoever frees must know the arena before anybody takes from it.
    return done = replaced(imports, imports.frees, reinterpret_cast<void*>(&freed)) &&
                  replaced(imports, imports.aligns, reinterpret_cast<void*>(&aligned));
}

std::size_t arena_used() { return arena().in_use(); }
std::size_t arena_taken() { return arena().taken(); }

}  // namespace gcnsys

#else

namespace gcnsys {

bool arena_under(const char*, std::size_t) { return false; }
std::size_t arena_used() { return 0; }
std::size_t arena_taken() { return 0; }

}  // namespace gcnsys

#endif
