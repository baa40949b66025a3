// Coordinate descent of penalised least squares in Gram form: python/kernelmill/ops/coordinate.py.
#pragma once

#include <cstdint>  // std::int64_t
#include <span>     // vectors
#include <tuple>    // results

#include "core/matrix.hpp"  // MatrixView, index_t

namespace kernelmill::coordinate {

std::tuple<index_t, double> descent(MatrixView<const double> gram, MatrixView<const double> target,
                                    std::span<const std::int64_t> order, MatrixView<double> coef,
                                    MatrixView<double> gradient, std::span<const double> l1,
                                    std::span<const double> l2, double square, double tol,
                                    index_t sweeps, bool positive);

std::tuple<index_t, double> lassos(MatrixView<const double> gram, MatrixView<const double> targets,
                                   std::span<const double> squares, MatrixView<double> coef,
                                   double l1, double tol, index_t sweeps, bool positive);

void pursuits(MatrixView<const double> gram, MatrixView<const double> targets,
              std::span<const double> squares, index_t most, double tol, MatrixView<double> coef,
              std::span<std::int64_t> counts);

}  // namespace kernelmill::coordinate
