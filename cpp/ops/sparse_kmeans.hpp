// k-means on CSR rows: the C++ twins of python/kernelmill/ops/sparse_kmeans.py.
#pragma once

#include <cstdint>  // std::int32_t
#include <span>     // std::span

#include "core/matrix.hpp"  // MatrixView, index_t

namespace kernelmill {

// Row i holds data[indptr[i] .. indptr[i + 1]) in columns indices[...]; repeated columns add up.
template <class T, class Index>
struct CsrView {
  std::span<const T> data;
  std::span<const Index> indices;
  std::span<const Index> indptr;

  index_t rows() const { return static_cast<index_t>(indptr.size()) - 1; }
};

template <class T, class Index>
void sparse_assign(const CsrView<T, Index>& x, MatrixView<const double> centers,
                   std::span<std::int32_t> labels, std::span<T> squared_distances);

// Fills sums (k, d), weights (k) and labels; returns the inertia.
template <class T, class Index>
double sparse_lloyd_step(const CsrView<T, Index>& x, MatrixView<const double> centers,
                         std::span<const T> weight, double* sums, double* weights,
                         std::span<std::int32_t> labels);

}  // namespace kernelmill
