#include "ops/linear.hpp"

#include "ops/elementwise_functions.hpp"  // row_<name>
#include "ops/matmul.hpp"                 // matmul, Finish
#include "ops/reduction.hpp"              // column sums

namespace kernelmill::linear {
namespace {

template <class T>
using Activate = void (*)(T*, index_t, T);

template <class T, class F>
KERNELMILL_INLINE void apply(T* values, index_t count, F f) {
#pragma omp simd
  for (index_t i = 0; i < count; ++i) values[i] = f(values[i]);
}

template <class T, T (*f)(T)>
void activate(T* values, index_t count, T) {
  apply(values, count, [](T x) { return f(x); });
}
template <class T, T (*f)(T, T)>
void activate(T* values, index_t count, T parameter) {
  apply(values, count, [parameter](T x) { return f(x, parameter); });
}

// In the order of ACTIVATIONS.
template <class T>
constexpr Activate<T> kActivations[] = {
    nullptr,
    activate<T, elementwise::row_relu<T>>,
    activate<T, elementwise::row_logistic<T>>,
    activate<T, elementwise::row_tanh<T>>,
    activate<T, elementwise::row_gelu<T>>,
    activate<T, elementwise::row_gelu_tanh<T>>,
    activate<T, elementwise::row_silu<T>>,
    activate<T, elementwise::row_leaky_relu<T>>,
    activate<T, elementwise::row_elu<T>>,
    activate<T, elementwise::row_selu<T>>,
    activate<T, elementwise::row_softplus<T>>,
    activate<T, elementwise::row_log_sigmoid<T>>,
};

}  // namespace

template <class T>
void forward(MatrixView<const T> x, MatrixView<const T> weight, std::span<const T> bias,
             index_t activation, T parameter, MatrixView<T> y, MatrixView<T> z) {
  const MatrixView<const T> rows{bias.data(), y.rows, y.cols, 0, 1};
  matmul<T>(x, weight.transposed(), y, T{1}, T{0},
            Finish<T>{rows, kActivations<T>[activation], parameter, z});
}

template <class T>
void backward(MatrixView<const T> dout, MatrixView<const T> x, MatrixView<const T> weight,
              MatrixView<T> dx, MatrixView<T> dweight, T* dbias) {
  if (dx.data != nullptr) matmul<T>(dout, weight, dx);
  if (dweight.data != nullptr) matmul<T>(dout.transposed(), x, dweight);
  if (dbias != nullptr) {
    constexpr index_t item = sizeof(T);
    reduction::Axes kept, reduced;
    kept.add(dout.cols, dout.col_stride * item);
    reduced.add(dout.rows, dout.row_stride * item);
    reduction::run<T>(reduction::Kind::sum, dout.data, kept, reduced, 0, dbias);
  }
}

KERNELMILL_LINEAR(, float)
KERNELMILL_LINEAR(, double)

}  // namespace kernelmill::linear
