// Stable sorts of pairs in device memory.
#pragma once

#include <cstdint>  // std::uint32_t

#include "core/call.hpp"  // Call

namespace kernelmill {

// Temporary bytes that sort_pairs wants for `count` pairs.
template <class Key, class Value>
std::size_t sort_bytes(const Call& call, index_t count);
template <>
std::size_t sort_bytes<std::uint32_t, std::int32_t>(const Call& call, index_t count);
template <>
std::size_t sort_bytes<std::uint64_t, double>(const Call& call, index_t count);

// Sorts by the low `bits` bits of the keys; equal keys keep their order, so sums taken over them in
// sequence have the same bits on every run. 32-bit keys: count < 2^31.
void sort_pairs(const Call& call, void* temporary, std::size_t bytes, const std::uint32_t* keys_in,
                std::uint32_t* keys_out, const std::int32_t* values_in, std::int32_t* values_out,
                index_t count, int bits);
void sort_pairs(const Call& call, void* temporary, std::size_t bytes, const std::uint64_t* keys_in,
                std::uint64_t* keys_out, const double* values_in, double* values_out, index_t count,
                int bits);

}  // namespace kernelmill
