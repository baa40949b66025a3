// Gaussian mixtures: the C++ twins of python/kernelmill/ops/mixture.py, whose docstrings are the
// contract.
//
// Symbols: x is (n, d) data; component j of k has mean m_j, whitening factor P_j (P_j P_j' is the
// inverse covariance) and offset c_j.
#pragma once

#include <span>  // std::span

#include "core/matrix.hpp"  // MatrixView, index_t

namespace kernelmill {

// k Gaussians as the ops take them; factors are dense.
struct GaussiansView {
  MatrixView<const double> means;   // (k, d)
  const double* factors = nullptr;  // (factor_count, d, d), or (k, d) when diagonal
  index_t factor_count = 0;         // k, or 1 when all components share one
  bool diagonal = false;
  std::span<const double> offsets;  // (k)
};

// Which second moments to take: of each component, of single features, or over all components.
enum class Second { full, diag, pooled };

// Where moments about the means go: weights (k), sums (k, d), squares as `Second` says.
struct MomentsOut {
  double* weights;
  double* sums;
  double* squares;
};

// out (n, k), dense.
template <class T>
void log_joint(MatrixView<const T> x, const GaussiansView& gaussians, T* out);

// share (n, k), dense; log_prob (n).
template <class T>
void responsibilities(MatrixView<const T> log_joint, T* log_prob, T* share);

template <class T>
void mixture_moments(MatrixView<const T> x, MatrixView<const double> share,
                     MatrixView<const double> means, Second second, const MomentsOut& out);

// Returns the log-likelihood. `weight` (n) may be empty: all ones.
template <class T>
double mixture_step(MatrixView<const T> x, const GaussiansView& gaussians,
                    std::span<const T> weight, const MomentsOut& out);

}  // namespace kernelmill
