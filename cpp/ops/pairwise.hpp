// Distances between the rows of two matrices; contract: python/kernelmill/ops/pairwise.py.
#pragma once

#include "core/matrix.hpp"  // MatrixView

namespace kernelmill {

// out(i, j) = ||x_i - y_j||, or its square. Any strides; out must not overlap x or y. Parallel; the
// same bits at any thread count. Throws std::invalid_argument where shapes clash.
template <class T>
void euclidean(MatrixView<const T> x, MatrixView<const T> y, MatrixView<T> out, bool squared);

extern template void euclidean<float>(MatrixView<const float>, MatrixView<const float>,
                                      MatrixView<float>, bool);
extern template void euclidean<double>(MatrixView<const double>, MatrixView<const double>,
                                       MatrixView<double>, bool);

}  // namespace kernelmill
