// Ranks of the values of each feature: all that growth needs to know of them.
#include "ops/tree.hpp"

#include <bit>          // std::bit_cast
#include <cstring>      // std::memcpy
#include <memory>       // std::make_unique_for_overwrite
#include <type_traits>  // std::conditional_t

#if defined(__GLIBC__)
#include <malloc.h>  // malloc_trim
#endif

#include "core/error.hpp"     // invalid
#include "core/parallel.hpp"  // parallel_for
#include "ops/tree_sort.hpp"  // radix_sort

namespace kernelmill::tree {
namespace {

using Key = std::uint32_t;
constexpr Key kNaN = ~Key{0};
constexpr index_t kManyRows = index_t{1} << 16;  // whose sort takes megabytes

// Integers in the order of the numbers, in words of 32 bits from the highest; both zeros are one,
// every NaN is the largest.
template <class T>
Key key_of(T x, int word) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  constexpr Bits sign = Bits{1} << (sizeof(T) * 8 - 1);
  if (x != x) return kNaN;
  const Bits bits = std::bit_cast<Bits>(x == T{0} ? T{0} : x);
  const Bits key = bits & sign ? ~bits : bits | sign;
  if constexpr (sizeof(T) == 4) {
    return key;
  } else {
    return static_cast<Key>(key >> (word == 0 ? 32 : 0));
  }
}

// Rows of a float64 column come in order by the upper half of their bits; then those that share it
// by the lower half, in the same memory. Half the passes and half the bytes of whole keys.
template <class T>
void rank_column(MatrixView<const T> X, index_t f, Keyed<Key>* a, Keyed<Key>* b,
                 std::uint8_t* ranks, index_t bytes) {
  const index_t n = X.rows;
  const auto write = [&](index_t row, std::int32_t rank) {
    std::uint8_t* const to = ranks + bytes * row;
    if (rank == kMissing) rank = Ranks::missing(bytes);
    if (bytes == 2) {
      const auto own = static_cast<std::uint16_t>(rank);
      std::memcpy(to, &own, 2);
    } else if (bytes == 3) {
      for (int k = 0; k < 3; ++k) to[k] = static_cast<std::uint8_t>(rank >> (8 * k));
    } else {
      std::memcpy(to, &rank, 4);
    }
  };
  for (index_t i = 0; i < n; ++i) a[i] = {key_of(X(i, f), 0), static_cast<std::uint32_t>(i)};
  Keyed<Key>* const in = sorted(a, b, n);
  std::int32_t rank = -1;
  if constexpr (sizeof(T) == sizeof(Key)) {
    for (index_t i = 0; i < n; ++i) {
      rank += in[i].key != kNaN && (i == 0 || in[i].key != in[i - 1].key);
      write(in[i].item, in[i].key == kNaN ? kMissing : rank);
    }
    return;
  }
  Keyed<Key>* const spare = in == a ? b : a;
  for (index_t begin = 0, end = 0; begin < n; begin = end) {
    const Key key = in[begin].key;
    for (end = begin + 1; end < n && in[end].key == key;) ++end;
    const Keyed<Key>* run = in + begin;
    if (end - begin > 1 && key != kNaN) {
      bool differ = false;
      for (index_t i = begin; i < end; ++i) {
        in[i].key = key_of(X(in[i].item, f), 1);
        differ |= in[i].key != in[begin].key;
      }
      if (differ) run = sorted(in + begin, spare + begin, end - begin);
    }
    for (index_t i = 0; i < end - begin; ++i) {
      rank += key != kNaN && (i == 0 || run[i].key != run[i - 1].key);
      write(run[i].item, key == kNaN ? kMissing : rank);
    }
  }
}

}  // namespace

template <class T>
void rank_columns(MatrixView<const T> X, index_t bytes, CubeView<std::uint8_t> ranks) {
  if (X.rows >= kMissing) {
    invalid("tree.rank_columns", "X must have fewer than 2**30 rows, got ", X.rows);
  }
  if (X.rows > Ranks::missing(bytes)) {
    invalid("tree.rank_columns", "bytes must be 4, or 2 for up to 65535 rows, or 3 for up to ",
            Ranks::missing(3), ", got ", bytes, " for ", X.rows, " rows");
  }
  if (X.rows == 0) return;
  parallel_for(X.cols, 1 + (index_t{1} << 11) / X.rows, [&](index_t, index_t begin, index_t end) {
    // Not a block that the thread keeps: growth takes what is given back in other pieces.
    const auto memory =
        std::make_unique_for_overwrite<Keyed<Key>[]>(static_cast<std::size_t>(2 * X.rows));
    for (index_t f = begin; f < end; ++f) {
      rank_column(X, f, memory.get(), memory.get() + X.rows, ranks.data + f * X.rows * bytes,
                  bytes);
    }
  });
#if defined(__GLIBC__)
  // What was sorted takes 16 bytes a row and thread, which glibc keeps in the arena of each thread:
  // 8 of the 30 MB of a tree over 300,000 rows of 8 features.
  if (X.rows >= kManyRows) malloc_trim(0);
#endif
}

template void rank_columns<float>(MatrixView<const float>, index_t, CubeView<std::uint8_t>);
template void rank_columns<double>(MatrixView<const double>, index_t, CubeView<std::uint8_t>);

}  // namespace kernelmill::tree
