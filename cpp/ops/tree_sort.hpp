// Items sorted by whole numbers.
#pragma once

#include <algorithm>  // std::sort, std::clamp
#include <bit>        // std::bit_width
#include <cstdint>    // fixed-width integers
#include <cstring>    // std::memset
#include <limits>     // numeric_limits
#include <utility>    // std::swap, std::exchange
#include <vector>     // places

#include "core/matrix.hpp"     // index_t
#include "core/workspace.hpp"  // Workspace
#include "ops/tree.hpp"        // value_of_rank, kNoRank

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

// At most kFew items are sorted in place, equal ones in their order.
inline void sort_few(Keyed<std::int32_t>* of, index_t n) {
  std::int32_t keys[kFew], slot[kFew];
  std::uint8_t seen[kFew] = {};
  Keyed<std::int32_t> copy[kFew];
  for (index_t i = 0; i < n; ++i) {
    copy[i] = of[i];
    keys[i] = of[i].key;
  }
  count_lower(keys, n, slot);
  for (index_t i = 0; i < n; ++i) of[slot[i] + seen[slot[i]]++] = copy[i];
}

// What ranks are: numbers of values in their order, values, or values that are whole numbers.
enum class Order { kRanks, kValues, kWhole };

// About 2^bits bins of adjacent ranks in [lo, hi], none of them missing. Values that stand for
// ranks are cut into intervals of equal width, which hold more equal numbers of rows than equal
// shares of their bits; where these widths are no numbers, their bits are cut. Few whole numbers
// have a bin each.
class Bins {
 public:
  Bins(std::int32_t lo, std::int32_t hi, int bits, Order order) : lo_(lo), hi_(hi) {
    const std::uint32_t range = static_cast<std::uint32_t>(hi) - static_cast<std::uint32_t>(lo);
    shift_ = std::clamp(static_cast<int>(std::bit_width(range)) - bits, 0, 31);
    count = static_cast<index_t>(range >> shift_) + 1;
    wide = shift_ > 0;
    if (order == Order::kRanks || !wide) return;
    const auto most = static_cast<float>(1 << bits);
    const float first = value_of_rank(lo), width = value_of_rank(hi) - first;
    wide = order == Order::kValues || !(width <= most);
    const float scale = wide ? most / width : 1.0f;
    if (!(0 < scale && scale <= std::numeric_limits<float>::max())) return;
    origin_ = first;
    scale_ = scale;
    count = static_cast<index_t>(width * scale) + 1;
  }

  // Calls `visit(i, bin)` for each of n ranks; the missing have the last bin.
  template <class Visit>
  void each(const std::int32_t* ranks, index_t n, const Visit& visit) const {
    constexpr index_t kBlock = 128;
    std::int32_t found[kBlock];
    for (index_t first = 0; first < n; first += kBlock) {
      const index_t own = std::min(kBlock, n - first);
      fill(ranks + first, own, found);
      for (index_t i = 0; i < own; ++i) visit(first + i, found[i]);
    }
  }

  // The bin of a rank.
  std::int32_t of(std::int32_t rank) const { return by_width() ? of_value(rank) : of_bits(rank); }

  // A rank that cuts bin b, and n ranks in it or before it, from those behind.
  std::int32_t last(index_t b, const std::int32_t* ranks, index_t n) const {
    if (!by_width()) {
      return static_cast<std::int32_t>(static_cast<std::uint32_t>(lo_) +
                                       (static_cast<std::uint32_t>(b + 1) << shift_) - 1);
    }
    std::int32_t most = lo_;
    for (index_t i = 0; i < n; ++i) {
      most = std::max(most, of_value(ranks[i]) <= b ? ranks[i] : most);
    }
    return most;
  }

  // Whether values are cut into intervals: value x lies in bin (x - origin) * scale.
  bool by_width() const { return scale_ > 0; }
  float origin() const { return origin_; }
  float scale() const { return scale_; }

  index_t count;
  bool wide;  // whether a bin may hold several ranks

 private:
  std::int32_t of_value(std::int32_t rank) const {
    return static_cast<std::int32_t>((value_of_rank(rank) - origin_) * scale_);
  }
  std::int32_t of_bits(std::int32_t rank) const {
    return static_cast<std::int32_t>(
        (static_cast<std::uint32_t>(rank) - static_cast<std::uint32_t>(lo_)) >> shift_);
  }
  // Bins of a block of ranks, as vectors: one copy of both loops for all who visit ranks.
  [[gnu::noinline]] void fill(const std::int32_t* ranks, index_t n, std::int32_t* bins) const {
    const Bins own = *this;
    if (by_width()) {
      for (index_t i = 0; i < n; ++i) bins[i] = own.of_value(std::min(ranks[i], own.hi_));
    } else {
      for (index_t i = 0; i < n; ++i) bins[i] = own.of_bits(std::min(ranks[i], own.hi_));
    }
  }

  std::int32_t lo_, hi_;
  int shift_;
  float origin_ = 0, scale_ = 0;
};

// Ranks of items that lie in bins, whose ends are `places`: those of each bin are put in order.
inline void sort_bins(Keyed<std::int32_t>* in, const std::uint32_t* places, index_t bins) {
  std::uint32_t begin = 0;
  for (index_t b = 0; b < bins; ++b) {
    const std::uint32_t end = places[b];
    if (end - begin > kFew) {
      std::sort(in + begin, in + end, [](const auto& p, const auto& q) {
        return p.key != q.key ? p.key < q.key : p.item < q.item;
      });
    } else if (end - begin > 1) {
      sort_few(in + begin, end - begin);
    }
    begin = end;
  }
}

// Ranks with the numbers of their rows, by rising rank. Rows are counted into about n / 16 bins of
// adjacent ranks, and each bin is sorted.
inline const Keyed<std::int32_t>* sort_ranks(const std::int32_t* ranks, index_t n, Order order,
                                             Keyed<std::int32_t>* to,
                                             std::vector<std::uint32_t>& places) {
  std::int32_t lo = kNoRank, hi = std::numeric_limits<std::int32_t>::min();
  for (index_t i = 0; i < n; ++i) {
    lo = std::min(lo, ranks[i]);
    // The missing are far above all others and would stretch the bins.
    hi = std::max(hi, ranks[i] == kNoRank ? hi : ranks[i]);
  }
  const int bits = std::max(2, static_cast<int>(std::bit_width(static_cast<std::uint64_t>(n))) - 4);
  const Bins bins(std::min(lo, hi), hi, bits, order);
  const auto size = static_cast<std::size_t>(bins.count);  // the bin of the missing
  places.assign(size + 2, 0);
  std::uint32_t* const place = places.data();
  const auto of = [&](index_t i, std::int32_t bin) {
    return ranks[i] == kNoRank ? size : static_cast<std::size_t>(bin);
  };
  bins.each(ranks, n, [&](index_t i, std::int32_t bin) { ++place[of(i, bin) + 1]; });
  for (std::size_t b = 0; b <= size; ++b) place[b + 1] += place[b];
  bins.each(ranks, n, [&](index_t i, std::int32_t bin) {
    to[place[of(i, bin)]++] = {ranks[i], static_cast<std::uint32_t>(i)};
  });
  if (bins.wide) sort_bins(to, places.data(), bins.count);
  return to;
}

}  // namespace kernelmill::tree
