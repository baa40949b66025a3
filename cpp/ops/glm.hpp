// Value, gradient and Hessian of the loss of a generalised linear model, in one pass over the rows:
// see python/kernelmill/ops/glm.py.
#pragma once

#include <span>  // targets, weights

#include "core/csr.hpp"     // CsrView
#include "core/matrix.hpp"  // MatrixView, index_t

namespace kernelmill::glm {

struct Model {
  MatrixView<const double> coef;      // k x d
  std::span<const double> intercept;  // k
  std::span<const double> shift;      // d
  index_t loss;
  double parameter;
};

// The number of the loss of several outputs: the losses of the table come before it.
index_t multinomial();

// The sum of the losses. `hessian`, k x k x (d + 1) x (d + 1), may be null.
template <class T>
double pass(MatrixView<const T> x, std::span<const double> y, const Model& model,
            std::span<const T> sample_weight, MatrixView<double> gradient, double* hessian);
template <class T>
double csr_pass(CsrView<T> x, std::span<const double> y, const Model& model,
                std::span<const T> sample_weight, MatrixView<double> gradient, double* hessian);

}  // namespace kernelmill::glm
