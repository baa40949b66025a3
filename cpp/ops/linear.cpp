#include "ops/linear.hpp"

#include "ops/linear_activations.hpp"  // activation_at
#include "ops/matmul.hpp"              // matmul, matmul_with_sums, sum_rows

namespace kernelmill::linear {

template <class T>
void forward(MatrixView<const T> x, MatrixView<const T> weight, std::span<const T> bias,
             index_t activation, T parameter, MatrixView<T> y, MatrixView<T> z) {
  const MatrixView<const T> rows{bias.data(), y.rows, y.cols, 0, 1};
  matmul<T>(x, weight.transposed(), y, T{1}, T{0},
            Finish<T>{rows, activation_at<T>(activation), parameter, z});
  if (bias.data() != nullptr || activation_at<T>(activation) != nullptr) return;
  for (index_t i = 0; i < z.rows && z.data != nullptr; ++i) {  // a product alone keeps nothing else
    for (index_t j = 0; j < z.cols; ++j) z(i, j) = y(i, j);
  }
}

template <class T>
void backward(MatrixView<const T> dout, MatrixView<const T> x, MatrixView<const T> weight,
              MatrixView<T> dx, MatrixView<T> dweight, T* dbias) {
  if (dx.data != nullptr) matmul<T>(dout, weight, dx);
  if (dweight.data != nullptr && dbias != nullptr) {
    return matmul_with_sums<T>(dout.transposed(), x, dweight, dbias);
  }
  if (dweight.data != nullptr) matmul<T>(dout.transposed(), x, dweight);
  if (dbias != nullptr) sum_rows<T>(dout.transposed(), dbias);
}

KERNELMILL_LINEAR(, float)
KERNELMILL_LINEAR(, double)

}  // namespace kernelmill::linear
