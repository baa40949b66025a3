// k-means: the C++ twins of python/kernelmill/ops/kmeans.py, whose docstrings are the contract.
//
// Symbols: x is (n, d) data, centers (k, d) float64, weight (n) or empty for all ones.
#pragma once

#include <cstdint>  // std::int32_t
#include <span>     // std::span

#include "core/csr.hpp"     // CsrView
#include "core/matrix.hpp"  // MatrixView, index_t

namespace kernelmill {

template <class T>
void assign(MatrixView<const T> x, MatrixView<const double> centers, std::span<std::int32_t> labels,
            std::span<T> squared_distances);

// Fills sums (k, d) and weights (k); returns the inertia.
template <class T>
double lloyd_step(MatrixView<const T> x, MatrixView<const double> centers,
                  std::span<const T> weight, double* sums, double* weights);

// The same for rows in CSR form.
template <class T>
void csr_assign(const CsrView<T>& x, MatrixView<const double> centers,
                std::span<std::int32_t> labels, std::span<T> squared_distances);
template <class T>
double csr_lloyd_step(const CsrView<T>& x, MatrixView<const double> centers,
                      std::span<const T> weight, double* sums, double* weights);

enum class LloydStatus : int { running = 0, same_labels = 1, small_shift = 2, empty_cluster = 3 };

struct LloydSlice {
  index_t steps = 0;
  double shift = 0;
  LloydStatus status = LloydStatus::running;
};

// centers (k, d, dense) and weights (k) are read and replaced; labels and bounds are kept between
// slices; bounds is null to compare every center in every step.
template <class T>
LloydSlice lloyd(MatrixView<const T> x, double* centers, double* weights, index_t k,
                 std::int32_t* labels, T* bounds, std::span<const T> weight, index_t n_steps,
                 double tol);

// Runs from rows starts (r, k) of x; centers is (r, k, d), labels and squared_distances (r, n), the
// others (r).
template <class T>
void restarts(MatrixView<const T> x, MatrixView<const std::int64_t> starts,
              std::span<const T> weight, index_t max_steps, double tol, double* centers,
              std::int32_t* labels, T* squared_distances, std::int64_t* steps,
              std::int32_t* status);

// r seedings: uniforms is (r * k, trials); indices (r, k); squared_distances (r, n).
template <class T>
void plus_plus(MatrixView<const T> x, MatrixView<const double> uniforms, index_t r,
               std::span<const T> weight, std::int64_t* indices, T* squared_distances);

// Replaces centers (k, d, dense) and weight_sums (k); returns the inertia of the batch.
template <class T>
double minibatch_step(MatrixView<const T> x, std::span<const std::int64_t> rows, double* centers,
                      double* weight_sums, index_t k, std::span<const T> weight);

}  // namespace kernelmill
