// One vector width's kernels together.
#include "kernels.hpp"

namespace gcnsys {
namespace VARIANT {

#define TASK(...) void run(const __VA_ARGS__&);
GCNSYS_TASKS(TASK)
#undef TASK

class Variant final : public Kernels {
public:
    const char* name() const override { return VARIANT_NAME; }
    std::int64_t vector_bytes() const override { return VECTOR_BYTES; }
#define TASK(...) void run(const __VA_ARGS__& task) const override { VARIANT::run(task); }
    GCNSYS_TASKS(TASK)
#undef TASK
};

const Kernels& kernels() {
    static const Variant variant;
    return variant;
}

}  // namespace VARIANT
}  // namespace gcnsys
