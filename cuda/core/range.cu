#include "core/range.hpp"

#include "core/launch.cuh"  // launch

namespace kernelmill {
namespace {

template <class T>
__global__ void outside_kernel(const T* values, index_t count, index_t high, bool any_allowed,
                               index_t allowed, std::int64_t* first) {
  for (index_t i = global_thread(); i < count; i += global_threads()) {
    const index_t value = values[i];
    if ((value >= 0 && value < high) || (any_allowed && value == allowed)) continue;
    atomicMin(reinterpret_cast<long long*>(first), static_cast<long long>(i));
  }
}

template <class T>
index_t first_outside(const Call& call, const T* values, index_t count, index_t high,
                      const RangeSpace& space, std::optional<index_t> allowed = {}) {
  fill(call, space.first, 1, static_cast<std::int64_t>(count));
  launch(call, outside_kernel<T>, grid_for(count, kThreads), kThreads, values, count, high,
         allowed.has_value(), allowed.value_or(0), space.first);
  index_t first = 0;
  download(call, &first, space.first, 1);
  return first;
}

}  // namespace

bool inside(const Call& call, const std::int32_t* rows, index_t count, index_t high,
            const RangeSpace& space) {
  return count == 0 || first_outside(call, rows, count, high, space) == count;
}

std::optional<index_t> outside(const Call& call, const std::int64_t* values, index_t count,
                               index_t high, const RangeSpace& space,
                               std::optional<index_t> allowed) {
  if (count == 0) return {};
  const index_t first = first_outside(call, values, count, high, space, allowed);
  if (first == count) return {};
  index_t value = 0;
  download(call, &value, values + first, 1);
  return value;
}

}  // namespace kernelmill
