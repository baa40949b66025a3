// Data and truth shared by the tests of the ops on distances.
#pragma once

#include <cmath>    // std::sqrt
#include <cstddef>  // std::size_t
#include <random>   // std::mt19937_64
#include <vector>   // data

#include "core/matrix.hpp"  // MatrixView, index_t

namespace kernelmill {

// rows x cols numbers around `mean`, each row followed by `gap` NaN that no op may touch.
template <class T>
struct GappedRows {
  GappedRows(index_t rows, index_t cols, double mean, double spread, unsigned seed, index_t gap = 3)
      : view{nullptr, rows, cols, cols + gap, 1} {
    std::mt19937_64 bits(seed);
    std::normal_distribution<double> normal(mean, spread);
    memory.assign(static_cast<std::size_t>(rows * (cols + gap) + 1), T(NAN));
    view.data = memory.data() + 1;  // not aligned to a vector
    for (index_t i = 0; i < rows; ++i) {
      for (index_t p = 0; p < cols; ++p) view(i, p) = static_cast<T>(normal(bits));
    }
  }
  std::vector<T> memory;
  MatrixView<T> view;
};

template <class T>
double true_distance(MatrixView<T> x, index_t i, MatrixView<T> y, index_t j) {
  double sum = 0;
  for (index_t p = 0; p < x.cols; ++p) {
    const double t = static_cast<double>(x(i, p)) - static_cast<double>(y(j, p));
    sum += t * t;
  }
  return std::sqrt(sum);
}

}  // namespace kernelmill
