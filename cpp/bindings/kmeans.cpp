#include "ops/kmeans.hpp"

#include <algorithm>  // std::copy
#include <stdexcept>  // std::out_of_range

#include "bindings/family.hpp"
#include "core/error.hpp"  // invalid

namespace kernelmill {

namespace {

using Centers = MatrixView<const double>;

void copy(Centers from, double* to) {
  for (index_t j = 0; j < from.rows; ++j) {
    for (index_t p = 0; p < from.cols; ++p) *to++ = from(j, p);
  }
}

// Throws std::out_of_range (IndexError) unless all rows are below n.
template <class Rows>
void check_rows(const std::string& argument, const Rows& rows, index_t n) {
  for (const std::int64_t row : rows) {
    if (row < 0 || row >= n) {
      throw std::out_of_range(argument + " must lie in [0, " + std::to_string(n) + "), got " +
                              std::to_string(row));
    }
  }
}

template <class T>
std::tuple<index_t, double, index_t> lloyd_slice(MatrixView<const T> x, Centers centers,
                                                 std::span<std::int32_t> labels,
                                                 std::span<T> bounds, std::span<const T> weight,
                                                 index_t n_steps, double tol, double* new_centers,
                                                 std::span<double> weights) {
  for (const std::int32_t label : labels) {
    if (label < -1 || label >= centers.rows) {
      invalid("kmeans.lloyd", "labels must lie in [-1, ", centers.rows, "), got ", label);
    }
  }
  copy(centers, new_centers);
  std::fill(weights.begin(), weights.end(), 0.0);
  const LloydSlice slice = lloyd<T>(x, new_centers, weights.data(), centers.rows, labels.data(),
                                    bounds.empty() ? nullptr : bounds.data(), weight, n_steps, tol);
  return {slice.steps, slice.shift, static_cast<index_t>(slice.status)};
}

template <class T>
void runs(MatrixView<const T> x, DenseView<std::int64_t> starts, std::span<const T> weight,
          index_t max_steps, double tol, double* centers, std::int32_t* labels, T* squared,
          std::int64_t* steps, std::int32_t* status) {
  const index_t r = starts.shape[0], k = starts.shape[1];
  check_rows("kmeans.restarts: starts", std::span(starts.data, static_cast<std::size_t>(r * k)),
             x.rows);
  restarts<T>(x, dense(starts.data, r, k), weight, max_steps, tol, centers, labels, squared, steps,
              status);
}

template <class T>
void seedings(MatrixView<const T> x, DenseView<double> uniforms, std::span<const T> weight,
              std::int64_t* indices, T* squared) {
  const index_t r = uniforms.shape[0];
  plus_plus<T>(x, dense(uniforms.data, r * uniforms.shape[1], uniforms.shape[2]), r, weight,
               indices, squared);
}

template <class T>
double batch(MatrixView<const T> x, std::span<const std::int64_t> rows, Centers centers,
             std::span<const double> weight_sums, std::span<const T> weight, double* new_centers,
             double* new_sums) {
  check_rows("kmeans.minibatch_step: rows", rows, x.rows);
  copy(centers, new_centers);
  std::copy(weight_sums.begin(), weight_sums.end(), new_sums);
  return minibatch_step<T>(x, rows, new_centers, new_sums, centers.rows, weight);
}

}  // namespace

void bind_kmeans(Family family) {
  family.op<assign<float>, assign<double>>("assign")
      .with_csr<csr_assign<float>, csr_assign<double>>();
  family.op<lloyd_step<float>, lloyd_step<double>>("lloyd_step")
      .with_csr<csr_lloyd_step<float>, csr_lloyd_step<double>>();
  family.op<lloyd_slice<float>, lloyd_slice<double>>("lloyd");
  family.op<runs<float>, runs<double>>("restarts");
  family.op<seedings<float>, seedings<double>>("plus_plus");
  family.op<batch<float>, batch<double>>("minibatch_step");
}

}  // namespace kernelmill
