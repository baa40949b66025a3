// cpp/bindings/optim.cpp checks the lists; here they are put in order for the device.
#include "ops/optim.cuh"

#include <algorithm>  // std::max

#include "bindings/device.hpp"

namespace kernelmill::optim {

namespace {

// Arrays that have elements; with a rule, their scalars too.
struct ByDtype {
  std::array<std::vector<Item>, kTypes> lists;
  std::array<Items, kTypes> items;

  ByDtype(std::span<const Array> arrays, const Rule* rule) {
    std::array<index_t, kTypes> chunks{};
    for (const Array& array : arrays) {
      if (array.size == 0) continue;
      Item item{array.parameter,
                array.gradient,
                array.states,
                array.kept,
                array.size,
                chunks[array.type],
                {}};
      if (rule != nullptr) rule->prepare(array.options, item.scalars);
      chunks[array.type] += div_up(array.size, kChunk);
      lists[array.type].push_back(item);
    }
    for (std::size_t i = 0; i < kTypes; ++i) {
      items[i] = {lists[i], chunks[i], static_cast<Type>(i)};
    }
  }

  const ItemSpace& space(DeviceCall& device, std::size_t type, bool parts) const {
    const auto count = static_cast<index_t>(lists[type].size());
    return device.scratch.make<ItemSpace>(std::max<index_t>(1, count),
                                          parts ? items[type].chunks : 0);
  }
};

}  // namespace

void run(void* device, const Rule& rule, std::span<const Array> arrays) {
  auto& call = *static_cast<DeviceCall*>(device);
  const ByDtype by_dtype(arrays, &rule);
  for (const Items& items : by_dtype.items) {
    if (items.chunks > 0) step(call.call, rule, items, by_dtype.space(call, items.type, false));
  }
}

double norm(void* device, std::span<const Array> arrays, double order) {
  auto& call = *static_cast<DeviceCall*>(device);
  const ByDtype by_dtype(arrays, nullptr);
  std::array<const ItemSpace*, kTypes> spaces;
  for (std::size_t i = 0; i < kTypes; ++i) spaces[i] = &by_dtype.space(call, i, true);
  return norm(call.call, by_dtype.items, order, spaces);
}

}  // namespace kernelmill::optim
