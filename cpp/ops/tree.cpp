// Ranks of the values of each feature: all that growth needs to know of them.
#include "ops/tree.hpp"

#include <algorithm>  // std::sort, std::fill
#include <bit>        // std::bit_cast
#include <cstring>    // std::memset
#include <limits>     // NaN
#include <utility>    // std::swap, std::exchange

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
                 std::int32_t* ranks, T* values) {
  const index_t n = X.rows;
  for (index_t i = 0; i < n; ++i) a[i] = {key_of(X(i, f)), static_cast<std::uint32_t>(i)};
  a = sorted(a, b, n);
  std::int32_t rank = -1;
  for (index_t i = 0; i < n; ++i) {
    const auto row = static_cast<index_t>(a[i].item);
    if (a[i].key == ~Key<T>{0}) {
      ranks[row] = kMissing;
      continue;
    }
    if (i == 0 || a[i].key != a[i - 1].key) values[++rank] = X(row, f);
    ranks[row] = rank;
  }
  std::fill(values + rank + 1, values + n, std::numeric_limits<T>::quiet_NaN());
}

}  // namespace

template <class T>
void rank_columns(MatrixView<const T> X, MatrixView<std::int32_t> ranks, MatrixView<T> values) {
  if (X.rows >= kMissing) {
    invalid("tree.rank_columns", "X must have fewer than 2**30 rows, got ", X.rows);
  }
  if (X.rows == 0) return;
  parallel_for(X.cols, 1 + (index_t{1} << 11) / X.rows, [&](index_t, index_t begin, index_t end) {
    Workspace<Keyed<Key<T>>> memory(static_cast<std::size_t>(2 * X.rows));
    for (index_t f = begin; f < end; ++f) {
      rank_column(X, f, memory.data(), memory.data() + X.rows, ranks.row(f), values.row(f));
    }
  });
}

template void rank_columns<float>(MatrixView<const float>, MatrixView<std::int32_t>,
                                  MatrixView<float>);
template void rank_columns<double>(MatrixView<const double>, MatrixView<std::int32_t>,
                                   MatrixView<double>);

}  // namespace kernelmill::tree
