#include "ops/linear.hpp"

#include "ops/linear_activations.hpp"  // kActivations
#include "ops/matmul.hpp"              // matmul, Finish
#include "ops/reduction.hpp"           // column sums

namespace kernelmill::linear {

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
