// Ranks of the values of each feature: all that growth needs to know of them.
#include "ops/tree.hpp"

#include <bit>      // std::bit_cast
#include <cstring>  // std::memcpy
#include <memory>   // std::make_unique_for_overwrite
#include <utility>  // std::swap, std::exchange

#include "core/error.hpp"     // invalid
#include "core/parallel.hpp"  // parallel_for
#include "ops/tree_sort.hpp"  // radix_sort

namespace kernelmill::tree {
namespace {

template <class T>
using Key = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

// Integers in the order of the numbers; both zeros are one, every NaN is the largest.
template <class T>
Key<T> key_of(T x) {
  constexpr Key<T> sign = Key<T>{1} << (sizeof(T) * 8 - 1);
  if (x != x) return ~Key<T>{0};
  const Key<T> bits = std::bit_cast<Key<T>>(x == T{0} ? T{0} : x);
  return bits & sign ? ~bits : bits | sign;
}

template <class T>
void rank_column(MatrixView<const T> X, index_t f, Keyed<Key<T>>* a, Keyed<Key<T>>* b,
                 std::uint8_t* ranks, index_t bytes) {
  const index_t n = X.rows;
  const auto write = [&](index_t row, std::int32_t rank) {
    if (bytes == 2) {
      const auto own = rank == kMissing ? Ranks::kNarrowMissing : static_cast<std::uint16_t>(rank);
      std::memcpy(ranks + 2 * row, &own, sizeof(own));
    } else {
      std::memcpy(ranks + 4 * row, &rank, sizeof(rank));
    }
  };
  for (index_t i = 0; i < n; ++i) a[i] = {key_of(X(i, f)), static_cast<std::uint32_t>(i)};
  a = sorted(a, b, n);
  std::int32_t rank = -1;
  for (index_t i = 0; i < n; ++i) {
    const auto row = static_cast<index_t>(a[i].item);
    if (a[i].key == ~Key<T>{0}) {
      write(row, kMissing);
      continue;
    }
    rank += i == 0 || a[i].key != a[i - 1].key;
    write(row, rank);
  }
}

}  // namespace

template <class T>
void rank_columns(MatrixView<const T> X, index_t bytes, CubeView<std::uint8_t> ranks) {
  if (X.rows >= kMissing) {
    invalid("tree.rank_columns", "X must have fewer than 2**30 rows, got ", X.rows);
  }
  if (!(bytes == 4 || (bytes == 2 && X.rows <= Ranks::kNarrowMissing))) {
    invalid("tree.rank_columns", "bytes must be 4, or 2 for up to 65535 rows, got ", bytes, " for ",
            X.rows, " rows");
  }
  if (X.rows == 0) return;
  parallel_for(X.cols, 1 + (index_t{1} << 11) / X.rows, [&](index_t, index_t begin, index_t end) {
    // Not a block that the thread keeps: growth takes what is given back in other pieces.
    const auto memory =
        std::make_unique_for_overwrite<Keyed<Key<T>>[]>(static_cast<std::size_t>(2 * X.rows));
    for (index_t f = begin; f < end; ++f) {
      rank_column(X, f, memory.get(), memory.get() + X.rows, ranks.data + f * X.rows * bytes,
                  bytes);
    }
  });
}

template void rank_columns<float>(MatrixView<const float>, index_t, CubeView<std::uint8_t>);
template void rank_columns<double>(MatrixView<const double>, index_t, CubeView<std::uint8_t>);

}  // namespace kernelmill::tree
