// Stands in for CUB's stable radix sort of pairs.
#pragma once

#include <algorithm>  // std::stable_sort
#include <numeric>    // std::iota
#include <vector>     // order

#include <cuda_runtime_api.h>

namespace cub {

struct DeviceRadixSort {
  template <class Key, class Value, class Count>
  static cudaError_t SortPairs(void* temporary, std::size_t& bytes, const Key* keys_in,
                               Key* keys_out, const Value* values_in, Value* values_out,
                               Count count, int begin_bit, int end_bit, cudaStream_t) {
    if (temporary == nullptr) {
      bytes = 1;
      return cudaSuccess;
    }
    // Only the bits asked for are compared.
    const int width = end_bit - begin_bit;
    const Key mask = width >= static_cast<int>(8 * sizeof(Key)) ? ~Key{0} : (Key{1} << width) - 1;
    std::vector<Count> order(static_cast<std::size_t>(count));
    std::iota(order.begin(), order.end(), Count{0});
    std::stable_sort(order.begin(), order.end(), [&](Count a, Count b) {
      return ((keys_in[a] >> begin_bit) & mask) < ((keys_in[b] >> begin_bit) & mask);
    });
    for (Count i = 0; i < count; ++i) {
      keys_out[i] = keys_in[order[static_cast<std::size_t>(i)]];
      values_out[i] = values_in[order[static_cast<std::size_t>(i)]];
    }
    return cudaSuccess;
  }
};

}  // namespace cub
