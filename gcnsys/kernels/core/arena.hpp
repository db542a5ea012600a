// Memory of large tensors, kept in one place when it is freed.
#pragma once

#include <cstddef>

namespace gcnsys {

// Have a loaded library take memory of at least `least` bytes from the arena from now on, and give it back there:
// calls that it makes to posix_memalign and free go through here. The first library stays the only one. False
// where that cannot be arranged.
bool arena_under(const char* library, std::size_t least);

// Bytes of the arena: those in use, and those that it has taken from the system.
std::size_t arena_used();
std::size_t arena_taken();

}  // namespace gcnsys
