#include "ops/kernels.cuh"

#include "bindings/device.hpp"

namespace kernelmill {

namespace {

template <class T>
void matrix(const Call& call, DeviceRows<T> x, DeviceRows<T> y, index_t kind, double gamma,
            double coef0, double degree, T* out) {
  kernel_rows<T>(call, x, y, {static_cast<kernels::Kind>(kind), gamma, coef0, degree}, nullptr,
                 out);
}

template <class T>
void apply(const Call& call, Scratch* scratch, DeviceRows<T> x, DeviceRows<T> y,
           DenseView<double> coef, index_t kind, double gamma, double coef0, double degree,
           double* sums) {
  kernel_sums<T>(call, x, y, coef.data, coef.shape[1],
                 {static_cast<kernels::Kind>(kind), gamma, coef0, degree}, sums,
                 scratch->make<KernelSumsSpace<T>>(x.n, y.n));
}

}  // namespace

void bind_kernels(Family family) {
  family.op<matrix<float>, matrix<double>>("matrix");
  family.op<apply<float>, apply<double>>("apply");
}

}  // namespace kernelmill
