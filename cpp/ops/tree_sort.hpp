// Items sorted by whole numbers.
#pragma once

#include <algorithm>  // std::sort
#include <bit>        // std::bit_width
#include <cstdint>    // fixed-width integers
#include <cstring>    // std::memset
#include <utility>    // std::swap, std::exchange
#include <vector>     // places

#include "core/matrix.hpp"     // index_t
#include "core/workspace.hpp"  // Workspace

namespace kernelmill::tree {

constexpr std::uint32_t kMissingRank = 1u << 30;

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

// Up to this many numbers are compared with each other: n^2 comparisons, 16 an instruction, are
// faster than a sort.
constexpr index_t kFew = 64;
// Vectors of the compiler: its own choice of the loop to vectorise was three times slower.
constexpr index_t kLanes = 16;
typedef std::int32_t Lanes __attribute__((vector_size(kLanes * 4)));

// How many of n numbers are lower than each. Both arrays have room for whole vectors.
inline void count_lower(std::int32_t* numbers, index_t n, std::int32_t* lower) {
  for (index_t i = n; i % kLanes != 0; ++i) numbers[i] = 0;
  for (index_t i = 0; i < n; i += kLanes) {
    Lanes mine, below{};
    std::memcpy(&mine, numbers + i, sizeof(mine));
    for (index_t j = 0; j < n; ++j) below -= mine > Lanes{} + numbers[j];  // true is -1
    std::memcpy(lower + i, &below, sizeof(below));
  }
}

// At most kFew ranks that differ by less than 2^25 are sorted in place, equal ones in their order.
inline void sort_few(Keyed<std::uint32_t>* of, index_t n) {
  std::int32_t keys[kFew], slot[kFew];
  Keyed<std::uint32_t> copy[kFew];
  std::uint32_t lo = of[0].key;
  for (index_t i = 1; i < n; ++i) lo = std::min(lo, of[i].key);
  for (index_t i = 0; i < n; ++i) {
    copy[i] = of[i];
    keys[i] = static_cast<std::int32_t>((of[i].key - lo) * kFew + static_cast<std::uint32_t>(i));
  }
  count_lower(keys, n, slot);
  for (index_t i = 0; i < n; ++i) of[slot[i]] = copy[i];
}

// Ranks with the numbers of their rows, by rising rank. Rows are counted into about n / 16 bins of
// adjacent ranks, and each bin is sorted.
inline const Keyed<std::uint32_t>* sort_ranks(const std::int32_t* ranks, index_t n,
                                              Keyed<std::uint32_t>* to,
                                              std::vector<std::uint32_t>& places) {
  std::uint32_t lo = ~0u, hi = 0;
  for (index_t i = 0; i < n; ++i) {
    const auto rank = static_cast<std::uint32_t>(ranks[i]);
    lo = std::min(lo, rank);
    // The missing are far above all others and would stretch the bins.
    hi = std::max(hi, rank == kMissingRank ? 0u : rank);
  }
  const int bits = std::max(2, static_cast<int>(std::bit_width(static_cast<std::uint64_t>(n))) - 4);
  const int shift = std::max(0, static_cast<int>(std::bit_width(hi - std::min(lo, hi))) - bits);
  const std::uint32_t last = ((hi - std::min(lo, hi)) >> shift) + 1;  // of the missing
  const auto bin = [&](std::uint32_t rank) {
    return rank == kMissingRank ? last : (rank - lo) >> shift;
  };
  places.assign(last + 2, 0);
  for (index_t i = 0; i < n; ++i) ++places[bin(static_cast<std::uint32_t>(ranks[i])) + 1];
  for (std::uint32_t b = 0; b <= last; ++b) places[b + 1] += places[b];
  for (index_t i = 0; i < n; ++i) {
    const auto rank = static_cast<std::uint32_t>(ranks[i]);
    to[places[bin(rank)]++] = {rank, static_cast<std::uint32_t>(i)};
  }
  if (shift == 0) return to;
  const auto less = [](const Keyed<std::uint32_t>& a, const Keyed<std::uint32_t>& b) {
    return a.key != b.key ? a.key < b.key : a.item < b.item;
  };
  std::uint32_t begin = 0;
  for (std::uint32_t b = 0; b < last; ++b) {
    const std::uint32_t end = places[b];
    if (end - begin > kFew || shift > 25) {
      std::sort(to + begin, to + end, less);
    } else if (end - begin > 1) {
      sort_few(to + begin, end - begin);
    }
    begin = end;
  }
  return to;
}

}  // namespace kernelmill::tree
