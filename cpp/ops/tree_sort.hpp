// Items sorted by whole numbers.
#pragma once

#include <algorithm>  // std::sort
#include <cstdint>    // fixed-width integers
#include <cstring>    // std::memset
#include <utility>    // std::swap, std::exchange

#include "core/matrix.hpp"     // index_t
#include "core/workspace.hpp"  // Workspace

namespace kernelmill::tree {

template <class K>
struct Keyed {
  K key;
  std::uint32_t item;
};

// Least significant digit first, 11 bits a pass; digits that all share are passed over.
template <class K>
Keyed<K>* radix_sort(Keyed<K>* from, Keyed<K>* to, index_t n) {
  constexpr int bits = 11, digits = (sizeof(K) * 8 + bits - 1) / bits, values = 1 << bits;
  Workspace<std::uint32_t> memory(static_cast<std::size_t>(digits * values));
  std::uint32_t* const counts = memory.data();
  std::memset(counts, 0, sizeof(std::uint32_t) * digits * values);
  const auto digit = [](K key, int p) {
    return static_cast<index_t>((key >> (p * bits)) & (values - 1));
  };
  for (index_t i = 0; i < n; ++i) {
    for (int p = 0; p < digits; ++p) ++counts[p * values + digit(from[i].key, p)];
  }
  for (int p = 0; p < digits; ++p) {
    std::uint32_t* const count = counts + p * values;
    if (count[digit(from[0].key, p)] == static_cast<std::uint32_t>(n)) continue;
    std::uint32_t before = 0;
    for (int v = 0; v < values; ++v) before += std::exchange(count[v], before);
    for (index_t i = 0; i < n; ++i) to[count[digit(from[i].key, p)]++] = from[i];
    std::swap(from, to);
  }
  return from;
}

// Below this many items a comparison sort is faster than counting 2048 digits several times.
constexpr index_t kFewItems = 1 << 9;

// Items by rising key, equal ones in their order, which must be that of their numbers; in one of
// the two places.
template <class K>
Keyed<K>* sorted(Keyed<K>* from, Keyed<K>* spare, index_t n) {
  if (n >= kFewItems) return radix_sort(from, spare, n);
  std::sort(from, from + n, [](const Keyed<K>& p, const Keyed<K>& q) {
    return p.key != q.key ? p.key < q.key : p.item < q.item;
  });
  return from;
}

}  // namespace kernelmill::tree
