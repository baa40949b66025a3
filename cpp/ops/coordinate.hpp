// Coordinate descent of penalised least squares in Gram form, and of linear support vector
// machines: python/kernelmill/ops/coordinate.py.
#pragma once

#include <cstdint>  // std::int64_t
#include <span>     // vectors
#include <tuple>    // results

#include "core/csr.hpp"     // CsrView
#include "core/matrix.hpp"  // MatrixView, index_t

namespace kernelmill::coordinate {

std::tuple<index_t, double> descent(MatrixView<const double> gram, const double* target,
                                    std::span<const std::int64_t> order, MatrixView<double> coef,
                                    double* gradient, std::span<const double> l1,
                                    std::span<const double> l2, double square, double tol,
                                    index_t sweeps, bool positive);

void path(MatrixView<const double> gram, const double* target, std::span<const std::int64_t> order,
          MatrixView<double> coef, double* gradient, std::span<const double> l1,
          std::span<const double> l2, double square, double tol, index_t sweeps, bool positive,
          double* coefs, std::span<double> gaps, std::span<std::int64_t> taken);

std::tuple<index_t, double> lassos(MatrixView<const double> gram, MatrixView<const double> targets,
                                   std::span<const double> squares, MatrixView<double> coef,
                                   double l1, double tol, index_t sweeps, bool positive);

void pursuits(MatrixView<const double> gram, MatrixView<const double> targets,
              std::span<const double> squares, index_t most, double tol, MatrixView<double> coef,
              std::span<std::int64_t> counts);

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

// Arguments of `joint` but for X: weights (blocks, d, 8), intercepts and a row of beta (k), settled
// (n) and state (5).
struct Joint {
  std::span<const double> y, price, squares;
  MatrixView<const std::int64_t> order;
  double* weights;
  std::span<double> intercepts;
  double* beta;
  std::uint8_t* settled;
  double* state;
  double constant, tol;
  bool shrinking;
  index_t blocks, d, width;
};

template <class T>
index_t joint(MatrixView<const T> x, const Joint& problem);
template <class T>
index_t csr_joint(const CsrView<T>& x, const Joint& problem);

}  // namespace kernelmill::coordinate
