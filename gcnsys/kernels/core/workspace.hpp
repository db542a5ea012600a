// Scratch memory that outlives a call: fresh pages cost more than the work done in them.
#pragma once

#include <cstddef>

namespace gcnsys {

// A buffer of at least `bytes`, on a boundary of 64; its content is what an earlier user left.
class Workspace {
public:
    explicit Workspace(std::size_t bytes);
    ~Workspace();
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;

    template <class T>
    T* as() const {
        return static_cast<T*>(memory_);
    }

private:
    void* memory_;
    std::size_t bytes_;
};

// Of the largest cache that a core has to itself.
std::size_t own_cache_bytes();

// Of the cache that cores share; what processors of today have where the system does not tell.
std::size_t last_cache_bytes();

}  // namespace gcnsys
