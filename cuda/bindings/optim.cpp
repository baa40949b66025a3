// cpp/bindings/optim.cpp checks the lists; here they are put in order for the device.
#include "ops/optim.cuh"

#include <algorithm>  // std::max

#include "bindings/device.hpp"

namespace kernelmill::optim {

namespace {

// Float32 and float64 arrays that have elements; with a rule, their scalars too.
struct ByDtype {
  std::array<std::vector<Item>, 2> lists;
  std::array<Items, 2> items;

  ByDtype(std::span<const Array> arrays, const Rule* rule) {
    std::array<index_t, 2> chunks{};
    for (const Array& array : arrays) {
      if (array.size == 0) continue;
      Item item{array.parameter,
                array.gradient,
                array.states,
                array.kept,
                array.size,
                chunks[array.wide],
                {}};
      if (rule != nullptr) rule->prepare(array.options, item.scalars);
      chunks[array.wide] += div_up(array.size, kChunk);
      lists[array.wide].push_back(item);
    }
    for (const bool wide : {false, true}) items[wide] = {lists[wide], chunks[wide], wide};
  }

  const ItemSpace& space(DeviceCall& device, bool wide, bool parts) const {
    const auto count = static_cast<index_t>(lists[wide].size());
    return device.scratch.make<ItemSpace>(std::max<index_t>(1, count),
                                          parts ? items[wide].chunks : 0);
  }
};

}  // namespace

void run(void* device, const Rule& rule, std::span<const Array> arrays) {
  auto& call = *static_cast<DeviceCall*>(device);
  const ByDtype by_dtype(arrays, &rule);
  for (const bool wide : {false, true}) {
    if (by_dtype.items[wide].chunks == 0) continue;
    step(call.call, rule, by_dtype.items[wide], by_dtype.space(call, wide, false));
  }
}

double norm(void* device, std::span<const Array> arrays, double order) {
  auto& call = *static_cast<DeviceCall*>(device);
  const ByDtype by_dtype(arrays, nullptr);
  return norm(call.call, by_dtype.items, order,
              {&by_dtype.space(call, false, true), &by_dtype.space(call, true, true)});
}

}  // namespace kernelmill::optim
