#include "ops/linear.hpp"

#include "bindings/family.hpp"

namespace kernelmill {

namespace {

template <class T>
void forward(MatrixView<const T> x, MatrixView<const T> weight, std::span<const T> bias,
             index_t activation, double parameter, bool evaluate, MatrixView<T> y,
             MatrixView<T> z) {
  linear::forward<T>(x, weight, bias, activation, static_cast<T>(parameter), y,
                     evaluate ? MatrixView<T>{} : z);
}

template <class T>
void backward(MatrixView<const T> dout, MatrixView<const T> x, MatrixView<const T> weight,
              bool skip_x, bool skip_weight, bool skip_bias, MatrixView<T> dx,
              MatrixView<T> dweight, T* dbias) {
  linear::backward<T>(dout, x, weight, skip_x ? MatrixView<T>{} : dx,
                      skip_weight ? MatrixView<T>{} : dweight, skip_bias ? nullptr : dbias);
}

}  // namespace

void bind_linear(Family family) {
  family.op<forward<float>, forward<double>>("forward");
  family.op<backward<float>, backward<double>>("backward");
}

}  // namespace kernelmill
