// Coordinate descent of penalised least squares in Gram form, and of linear support vector
// machines: python/kernelmill/ops/coordinate.py.
#pragma once

#include <cstdint>  // std::int64_t
#include <span>     // vectors
#include <tuple>    // results

#include "core/csr.hpp"     // CsrView
#include "core/matrix.hpp"  // MatrixView, index_t

namespace kernelmill::coordinate {

std::tuple<index_t, double> descent(MatrixView<const double> gram, MatrixView<const double> target,
                                    std::span<const std::int64_t> order, MatrixView<double> coef,
                                    MatrixView<double> gradient, std::span<const double> l1,
                                    std::span<const double> l2, double square, double tol,
                                    index_t sweeps, bool positive);

// Arguments of `dual` but for X: weights (blocks, d, width), beta (blocks, n, width), settled
// (blocks, n) and state (blocks, width, 9).
struct Duals {
  std::span<const double> y, price, squares;
  MatrixView<const std::int64_t> order;
  double *weights, *beta;
  std::uint8_t* settled;
  double* state;
  std::span<const double> settings;
  index_t blocks, d, width;
};

// The number of epochs taken.
template <class T>
index_t dual(MatrixView<const T> x, const Duals& problem);
template <class T>
index_t csr_dual(const CsrView<T>& x, const Duals& problem);

}  // namespace kernelmill::coordinate
