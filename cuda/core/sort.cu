#include "core/sort.hpp"

#include <cub/device/device_radix_sort.cuh>  // cub::DeviceRadixSort, stable

namespace kernelmill {
namespace {

// CUB takes 32-bit counts for the short keys: half the registers of 64-bit offsets.
template <class Count, class Key, class Value>
void sort(const Call& call, void* temporary, std::size_t& bytes, const Key* keys_in, Key* keys_out,
          const Value* values_in, Value* values_out, index_t count, int bits) {
  check(call, "sort",
        cub::DeviceRadixSort::SortPairs(temporary, bytes, keys_in, keys_out, values_in, values_out,
                                        static_cast<Count>(count), 0, bits, call.stream));
}

}  // namespace

template <>
std::size_t sort_bytes<std::uint32_t, std::int32_t>(const Call& call, index_t count) {
  std::size_t bytes = 0;
  sort<std::int32_t, std::uint32_t, std::int32_t>(call, nullptr, bytes, nullptr, nullptr, nullptr,
                                                  nullptr, count, 32);
  return bytes;
}

template <>
std::size_t sort_bytes<std::uint64_t, double>(const Call& call, index_t count) {
  std::size_t bytes = 0;
  sort<std::int64_t, std::uint64_t, double>(call, nullptr, bytes, nullptr, nullptr, nullptr,
                                            nullptr, count, 64);
  return bytes;
}

void sort_pairs(const Call& call, void* temporary, std::size_t bytes, const std::uint32_t* keys_in,
                std::uint32_t* keys_out, const std::int32_t* values_in, std::int32_t* values_out,
                index_t count, int bits) {
  sort<std::int32_t>(call, temporary, bytes, keys_in, keys_out, values_in, values_out, count, bits);
}

void sort_pairs(const Call& call, void* temporary, std::size_t bytes, const std::uint64_t* keys_in,
                std::uint64_t* keys_out, const double* values_in, double* values_out, index_t count,
                int bits) {
  sort<std::int64_t>(call, temporary, bytes, keys_in, keys_out, values_in, values_out, count, bits);
}

}  // namespace kernelmill
