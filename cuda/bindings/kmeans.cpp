#include "ops/kmeans.cuh"

#include <tuple>  // numbers among the results

#include "bindings/device.hpp"

namespace kernelmill {

namespace {

template <class T>
void nearest(const Call& call, Scratch* scratch, DeviceRows<T> x, DeviceRows<double> centers,
             std::int32_t* labels, T* squared) {
  assign<T>(call, x, centers, nullptr, {labels, nullptr, squared, nullptr},
            scratch->make<PreparedCenters<T>>(x.d, centers.n));
}

template <class T>
double statistics(const Call& call, Scratch* scratch, DeviceRows<T> x, DeviceRows<double> centers,
                  const T* weight, double* sums, double* weights) {
  return lloyd_step<T>(call, x, centers, weight, sums, weights,
                       scratch->make<LloydSpace<T>>(call, x.n, x.d, centers.n));
}

// Results that begin as copies of arguments.
void copy(const Call& call, double* to, const double* from, index_t count) {
  const std::size_t bytes = sizeof(double) * static_cast<std::size_t>(count);
  if (count == 0) return;
  check(call, "copy", cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, call.stream));
}

template <class T>
std::tuple<index_t, double, index_t> slice_of(const Call& call, Scratch* scratch, DeviceRows<T> x,
                                              DenseView<double> centers, std::int32_t* labels,
                                              std::span<T> bounds, const T* weight, index_t n_steps,
                                              double tol, double* new_centers, double* weights) {
  const index_t k = centers.shape[0];
  copy(call, new_centers, centers.data, k * x.d);
  zero(call, weights, sizeof(double) * static_cast<std::size_t>(k));
  const LloydSlice slice =
      lloyd<T>(call, x, new_centers, weights, k, labels, bounds.empty() ? nullptr : bounds.data(),
               weight, n_steps, tol, scratch->make<LloydSpace<T>>(call, x.n, x.d, k));
  return {slice.steps, slice.shift, slice.status};
}

template <class T>
void seedings(const Call& call, Scratch* scratch, DeviceRows<T> x, DenseView<double> uniforms,
              const T* weight, std::int64_t* indices, T* squared) {
  const auto [r, k, t, unused] = uniforms.shape;
  const auto& space = scratch->make<SeedingSpace<T>>(x.n, t);
  for (index_t i = 0; i < r; ++i) {
    plus_plus<T>(call, x, uniforms.data + i * k * t, k, t, weight, indices + i * k,
                 squared + i * x.n, space);
  }
}

template <class T>
double batch(const Call& call, Scratch* scratch, DeviceRows<T> x, DenseView<std::int64_t> rows,
             DenseView<double> centers, const double* weight_sums, const T* weight,
             double* new_centers, double* new_sums) {
  const index_t k = centers.shape[0], stored = x.n;
  copy(call, new_centers, centers.data, k * x.d);
  copy(call, new_sums, weight_sums, k);
  x.n = rows.shape[0];
  x.order = rows.data;
  return minibatch_step<T>(call, x, stored, new_centers, new_sums, k, weight,
                           scratch->make<LloydSpace<T>>(call, x.n, x.d, k));
}

}  // namespace

void bind_kmeans(Family family) {
  family.op<nearest<float>, nearest<double>>("assign");
  family.op<statistics<float>, statistics<double>>("lloyd_step");
  family.op<slice_of<float>, slice_of<double>>("lloyd");
  family.op<seedings<float>, seedings<double>>("plus_plus");
  family.op<batch<float>, batch<double>>("minibatch_step");
}

}  // namespace kernelmill
