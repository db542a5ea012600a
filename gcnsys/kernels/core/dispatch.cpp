// Which of the compiled kernels run; GCNSYS_VECTOR names a narrower set than the processor has, for tests.
#include "kernels.hpp"

#include <cstdlib>
#include <cstring>
#include <vector>

namespace gcnsys {

namespace baseline { const Kernels& kernels(); }
namespace avx2 { const Kernels& kernels(); }
namespace avx512 { const Kernels& kernels(); }

// Widest first.
static std::vector<const Kernels*> available() {
    std::vector<const Kernels*> found;
#ifdef HAVE_avx512
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        found.push_back(&avx512::kernels());
#endif
#ifdef HAVE_avx2
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back(&avx2::kernels());
#endif
    found.push_back(&baseline::kernels());
    if (const char* wanted = std::getenv("GCNSYS_VECTOR"))
        for (std::size_t i = 0; i < found.size(); ++i)
            if (!std::strcmp(wanted, found[i]->name())) return {found.begin() + std::ptrdiff_t(i), found.end()};
    return found;
}

const Kernels& kernels(std::int64_t row_bytes) {
    static const std::vector<const Kernels*> chosen = available();
    for (const Kernels* kernels : chosen)
        if (kernels->vector_bytes() <= row_bytes) return *kernels;
    return *chosen.back();
}

}  // namespace gcnsys
