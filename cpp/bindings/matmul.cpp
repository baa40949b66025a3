#include "ops/matmul.hpp"

#include "bindings/family.hpp"
#include "core/error.hpp"  // invalid

namespace kernelmill {

template <class T>
static void scaled_product(MatrixView<const T> a, MatrixView<const T> b, MatrixView<const T> c,
                           double alpha, double beta, MatrixView<T> out) {
  if (beta != 0) {
    if (c.data == nullptr) {
      invalid("matmul.matmul", "C must be given when beta is not 0, got None");
    }
    for (index_t i = 0; i < out.rows; ++i) {
      for (index_t j = 0; j < out.cols; ++j) out(i, j) = c(i, j);
    }
  }
  matmul<T>(a, b, out, static_cast<T>(alpha), static_cast<T>(beta));
}

void bind_matmul(Family family) {
  family.op<scaled_product<float>, scaled_product<double>>("matmul");
}

}  // namespace kernelmill
