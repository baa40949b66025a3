// Sums over the rows of each class, in one pass over all rows: labels say which class a row is of.
//
//   class_products   W_c = sum w,  s_c = sum w z,  S_c = sum w z z'   with z = x - o_c
//   class_squares    the same of single features, where NaN is left out
//   class_sums       W_c and sum w x, or how often x is above a threshold
//   class_tallies    how often feature p has the value v, for whole numbers v
//
// Every class has an origin o_c of its own, so classes that lie far apart cost no digits. Sums are
// float64. Labels must lie in [0, k): `check_labels` is the caller's first call.
#pragma once

#include <cstdint>  // std::int64_t
#include <span>     // labels, weights

#include "core/csr.hpp"     // CsrView
#include "core/matrix.hpp"  // MatrixView, index_t

namespace kernelmill::moments {

using Labels = std::span<const std::int64_t>;

// S has k matrices, or one sum of all where `pooled`.
template <class T>
void class_products(MatrixView<const T> x, Labels labels, MatrixView<const double> origins,
                    bool pooled, std::span<const T> sample_weight, std::span<double> weights,
                    MatrixView<double> sums, double* squares);

template <class T>
void class_squares(MatrixView<const T> x, Labels labels, MatrixView<const double> origins,
                   std::span<const T> sample_weight, MatrixView<double> weights,
                   MatrixView<double> sums, MatrixView<double> squares);

// Returns the least entry, of CSR rows the least stored one, at most 0. No threshold is NaN.
template <class T>
double class_sums(MatrixView<const T> x, Labels labels, index_t k, double threshold,
                  std::span<const T> sample_weight, std::span<double> weights,
                  MatrixView<double> sums);
template <class T>
double csr_class_sums(CsrView<T> x, Labels labels, index_t k, double threshold,
                      std::span<const T> sample_weight, std::span<double> weights,
                      MatrixView<double> sums);

// Adds to `tallies`. The values of feature p stand at starts[p] to starts[p + 1]; others are
// passed over.
template <class T>
void class_tallies(MatrixView<const T> x, Labels labels, std::span<const std::int64_t> starts,
                   MatrixView<double> tallies, std::span<const T> sample_weight);

}  // namespace kernelmill::moments
