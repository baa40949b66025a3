// Questions about indices in device memory, answered on the host.
#pragma once

#include <cstdint>   // std::int64_t
#include <optional>  // std::optional

#include "core/call.hpp"  // Call, Arena

namespace kernelmill {

struct RangeSpace {
  explicit RangeSpace(Arena& arena) : first(arena.take<std::int64_t>(1)) {}
  std::int64_t* first;
};

// Whether all rows lie in [0, high). Waits for the device.
bool inside(const Call& call, const std::int32_t* rows, index_t count, index_t high,
            const RangeSpace& space);

// The first value that neither lies in [0, high) nor is `allowed`. Waits for the device.
std::optional<index_t> outside(const Call& call, const std::int64_t* values, index_t count,
                               index_t high, const RangeSpace& space,
                               std::optional<index_t> allowed = {});

}  // namespace kernelmill
