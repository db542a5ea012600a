// The widest kernels that this processor runs; GCNSYS_VECTOR names a narrower set, for tests.
#include "kernels.hpp"

#include <cstdlib>
#include <cstring>

namespace gcnsys {

extern const Kernels kernels_baseline;
#ifdef HAVE_avx2
extern const Kernels kernels_avx2;
#endif
#ifdef HAVE_avx512
extern const Kernels kernels_avx512;
#endif

static const Kernels& widest() {
    const char* wanted = std::getenv("GCNSYS_VECTOR");
    const auto may = [wanted](const Kernels& k) { return !wanted || !*wanted || !std::strcmp(wanted, k.name); };
#ifdef HAVE_avx512
    if (may(kernels_avx512) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return kernels_avx512;
#endif
#ifdef HAVE_avx2
    if (may(kernels_avx2) && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return kernels_avx2;
#endif
    return kernels_baseline;
}

const Kernels& kernels() {
    static const Kernels& chosen = widest();
    return chosen;
}

}  // namespace gcnsys
