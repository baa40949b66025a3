// Passes for independent components, nonnegative factors and topics; contract:
// python/kernelmill/ops/decomposition.py.
#pragma once

#include <cstdint>  // std::int64_t
#include <span>     // vectors
#include <tuple>    // results

#include "core/csr.hpp"     // CsrView
#include "core/matrix.hpp"  // MatrixView, index_t

namespace kernelmill::decomposition {

template <class T>
void contrasts(MatrixView<const T> Z, MatrixView<const double> W, index_t contrast, double alpha,
               MatrixView<double> products, std::span<double> slopes);

template <class T>
double nonnegative(MatrixView<const T> G, MatrixView<const T> Q,
                   std::span<const std::int64_t> order, MatrixView<T> W);

template <class T>
std::tuple<index_t, double, double> alternations(MatrixView<const T> X,
                                                 std::span<const double> penalties,
                                                 MatrixView<const std::int64_t> orders,
                                                 double first, double tol, MatrixView<T> W,
                                                 MatrixView<T> H);

template <class T>
double multiplicative(MatrixView<const T> X, MatrixView<const T> W, MatrixView<const T> H,
                      double beta, std::span<const double> penalties, bool costs,
                      MatrixView<T> new_W, MatrixView<T> above, MatrixView<T> below);

template <class T>
void scores(MatrixView<const T> X, std::span<const double> mean, MatrixView<const T> axes,
            MatrixView<T> Z);

template <class T>
void topics(MatrixView<const T> X, MatrixView<const double> topics, std::span<const double> prior,
            MatrixView<double> gamma, double tol, index_t most, MatrixView<double> statistics);
template <class T>
void csr_topics(const CsrView<T>& X, MatrixView<const double> topics, std::span<const double> prior,
                MatrixView<double> gamma, double tol, index_t most, MatrixView<double> statistics);

// Steps for one direction beside the rows of found: how many, and the last angle.
template <class T>
std::tuple<index_t, double> deflation(MatrixView<const T> Z, MatrixView<const double> found,
                                      std::span<double> w, index_t contrast, double alpha,
                                      index_t most, double tol);

// The k largest eigenvalues of a symmetric matrix, or 0: not found.
index_t leading(MatrixView<const double> K, std::span<const double> start, index_t k, index_t most,
                double tol, std::span<double> values, MatrixView<double> vectors);

}  // namespace kernelmill::decomposition
