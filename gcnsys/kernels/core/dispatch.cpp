// The widest kernels that this processor runs; GCNSYS_VECTOR names a narrower set, for tests.
#include "kernels.hpp"

#include <cstdlib>
#include <cstring>

namespace gcnsys {

namespace baseline { const Kernels& kernels(); }
namespace avx2 { const Kernels& kernels(); }
namespace avx512 { const Kernels& kernels(); }

static const Kernels& widest() {
    const char* wanted = std::getenv("GCNSYS_VECTOR");
    const auto may = [wanted](const Kernels& k) { return !wanted || !*wanted || !std::strcmp(wanted, k.name()); };
#ifdef HAVE_avx512
    if (may(avx512::kernels()) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return avx512::kernels();
#endif
#ifdef HAVE_avx2
    if (may(avx2::kernels()) && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2::kernels();
#endif
    return baseline::kernels();
}

const Kernels& kernels() {
    static const Kernels& chosen = widest();
    return chosen;
}

}  // namespace gcnsys
