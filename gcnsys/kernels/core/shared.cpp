// Products of rows that share sums: the sums are made in each slab of features, and read while they are near.
#include "slabs.hpp"

namespace gcnsys {
namespace {

template <class Stored, class Summed>
void multiplied(const SharedProduct<Stored, Summed>& shared) {
    using Passed = Passes<Stored, Summed, std::int32_t>;
    constexpr std::int64_t lanes = Sum<Stored>::lanes;
    const Product<Stored, Summed, std::int32_t>& p = shared.rows;
    if (p.rows == 0 || p.width == 0) return;
    const Slabs<Stored, Summed, std::int32_t> slabs(p, std::max(lanes, p.way.tile / lanes * lanes));
    const std::int64_t count = slabs.count();
    const std::size_t bytes = std::size_t(p.x_rows + shared.sums) * std::size_t(slabs.widest()) * sizeof(Stored);
#pragma omp parallel num_threads(std::min<std::int64_t>(p.threads, count))
    {
        const Workspace workspace(bytes);
        Stored* slab = workspace.as<Stored>();
#pragma omp for schedule(dynamic, 1)
        for (std::int64_t s = 0; s < count; ++s) {
            const std::int64_t width = slabs.width(s);
            slabs.copy(s, slab, 0, p.x_rows);
            std::int64_t filled = p.x_rows;
            for (std::int64_t l = 0; l < shared.count; ++l) {
                Product<Stored, Summed, std::int32_t> level = shared.levels[l];
                level.out = slab + filled * width, level.out_stride = width, level.width = width;
                Passed(level, false, bytes).run({slab, width, nullptr, 0, 0, {}}, width, 0, level.rows);
                filled += level.rows;
            }
            Passed(p, p.weight, bytes).run({slab, width, nullptr, s * slabs.width(0), 0, {}}, width, 0, p.rows);
        }
    }
}

}  // namespace

namespace VARIANT {
void run(const SharedProduct<float, float>& p) { multiplied(p); }
void run(const SharedProduct<double, double>& p) { multiplied(p); }
}  // namespace VARIANT

}  // namespace gcnsys
