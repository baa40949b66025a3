// Distances summed by cluster; contract: python/kernelmill/ops/silhouette.py.
#pragma once

#include <cstdint>  // std::int64_t
#include <span>     // std::span

#include "core/matrix.hpp"  // MatrixView

namespace kernelmill {

// out(i, g) = sum of ||x_i - y_j|| over offsets[g] <= j < offsets[g + 1]. Any strides; out must not
// overlap x or y. Parallel; the same bits at any thread count. Throws std::invalid_argument where
// shapes clash or offsets do not rise from 0 to the number of rows of y.
template <class T>
void cluster_distance_sums(MatrixView<const T> x, MatrixView<const T> y,
                           std::span<const std::int64_t> offsets, MatrixView<double> out);

extern template void cluster_distance_sums<float>(MatrixView<const float>, MatrixView<const float>,
                                                  std::span<const std::int64_t>,
                                                  MatrixView<double>);
extern template void cluster_distance_sums<double>(MatrixView<const double>,
                                                   MatrixView<const double>,
                                                   std::span<const std::int64_t>,
                                                   MatrixView<double>);

}  // namespace kernelmill
