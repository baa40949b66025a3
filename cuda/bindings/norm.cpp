#include "ops/norm.cuh"

#include "bindings/device.hpp"
#include "core/error.hpp"  // invalid

namespace kernelmill {

namespace {

using norm::Gradient;

void check_groups(const Call& call, index_t channels, index_t groups) {
  if (groups < 1 || channels % groups != 0) {
    invalid(call.op, "groups must divide ", channels, " channels, got ", groups);
  }
}

template <class T>
void group(const Call& call, CubeView<const T> x, const Acc<T>* weight, const Acc<T>* bias,
           index_t groups, double eps, bool centered, CubeView<T> y, double* mean,
           double* inverse) {
  check_groups(call, x.shape[1], groups);
  norm::forward<T>(call, x, groups, eps, centered, {weight, bias}, {mean, nullptr, inverse}, y);
}

template <class T>
void group_backward(const Call& call, CubeView<const T> dout, CubeView<const T> x,
                    DenseView<double> mean, const double* inverse, const Acc<T>* weight,
                    bool centered, CubeView<T> dx, Acc<T>* dweight, Acc<T>* dbias) {
  check_groups(call, x.shape[1], mean.shape[1]);
  norm::backward<T>(call, dout, x, mean.shape[1], mean.data, inverse, weight,
                    centered ? Gradient::centered : Gradient::uncentered, dx, dweight, dbias);
}

template <class T>
void batch(const Call& call, CubeView<const T> x, const Acc<T>* weight, const Acc<T>* bias,
           double eps, CubeView<T> y, double* mean, double* variance, double* inverse) {
  norm::forward<T>(call, x, 0, eps, true, {weight, bias}, {mean, variance, inverse}, y);
}

template <class T>
void batch_evaluate(const Call& call, CubeView<const T> x, const double* mean,
                    const double* inverse, const Acc<T>* weight, const Acc<T>* bias,
                    CubeView<T> y) {
  norm::evaluate<T>(call, x, mean, inverse, {weight, bias}, y);
}

template <class T>
void batch_backward(const Call& call, CubeView<const T> dout, CubeView<const T> x,
                    const double* mean, const double* inverse, const Acc<T>* weight, bool evaluate,
                    CubeView<T> dx, Acc<T>* dweight, Acc<T>* dbias) {
  norm::backward<T>(call, dout, x, 0, mean, inverse, weight,
                    evaluate ? Gradient::given : Gradient::centered, dx, dweight, dbias);
}

}  // namespace

void bind_norm(Family family) {
  family.op<KERNELMILL_STORED(group)>("group");
  family.op<KERNELMILL_STORED(group_backward)>("group_backward");
  family.op<KERNELMILL_STORED(batch)>("batch");
  family.op<KERNELMILL_STORED(batch_evaluate)>("batch_evaluate");
  family.op<KERNELMILL_STORED(batch_backward)>("batch_backward");
}

}  // namespace kernelmill
