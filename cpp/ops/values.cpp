#include "ops/values.hpp"

#include <algorithm>    // std::max
#include <cmath>        // std::fabs
#include <type_traits>  // std::conditional_t

#include "core/parallel.hpp"  // ordered_reduce

namespace kernelmill {
namespace {

constexpr index_t kTask = 1 << 16;  // elements: 256 or 512 KiB, 20 to 50 us from memory
constexpr int kLanes = 64;  // of float64 8 registers at level 4: a comparison takes 4 cycles

template <class T>
struct Extent {
  T largest = 0;
  index_t missing = 0;

  void merge(T other, index_t others) {
    largest = std::max(largest, other);
    missing += others;
  }
};

// n elements that lie `stride` apart; n is at most kTask where that is 1.
template <class T>
void scan(const T* x, index_t n, index_t stride, Extent<T>& into) {
  using Count = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  index_t i = 0;
  if (stride == 1 && n >= kLanes) {
    T largest[kLanes] = {};
    Count missing[kLanes] = {};
    for (; i + kLanes <= n; i += kLanes) {
#pragma omp simd
      for (int l = 0; l < kLanes; ++l) {
        const T size = std::fabs(x[i + l]);
        largest[l] = size > largest[l] ? size : largest[l];  // false for NaN
        missing[l] += size != size;
      }
    }
    for (int l = 0; l < kLanes; ++l) into.merge(largest[l], missing[l]);
  }
  for (; i < n; ++i) {
    const T size = std::fabs(x[i * stride]);
    size != size ? into.merge(0, 1) : into.merge(size, 0);
  }
}

}  // namespace

template <class T>
std::tuple<double, index_t> extent(MatrixView<const T> X) {
  if (!X.rows_contiguous()) X = X.transposed();
  index_t grain = std::max<index_t>(1, kTask / std::max<index_t>(1, X.cols));
  if (X.rows_contiguous() && (X.row_stride == X.cols || X.rows == 1)) {  // one row is all of them
    X = {X.data, X.rows * X.cols, 1, 1, 0};
    grain = kTask;
  }
  const auto all = ordered_reduce<Extent<T>>(
      X.rows, grain, [] { return Extent<T>{}; },
      [&](Extent<T>& part, index_t, index_t begin, index_t end) {
        if (X.cols == 1) return scan(X.row(begin), end - begin, X.row_stride, part);
        for (index_t row = begin; row < end; ++row) {
          for (index_t at = 0; at < X.cols; at += kTask) {
            scan(&X(row, at), std::min(kTask, X.cols - at), X.col_stride, part);
          }
        }
      },
      [](Extent<T>& into, Extent<T>&& part) { into.merge(part.largest, part.missing); });
  return {static_cast<double>(all.largest), all.missing};
}

template std::tuple<double, index_t> extent<float>(MatrixView<const float>);
template std::tuple<double, index_t> extent<double>(MatrixView<const double>);

}  // namespace kernelmill
