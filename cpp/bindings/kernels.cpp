#include "ops/kernels.hpp"

#include "bindings/family.hpp"

namespace kernelmill {

namespace {

template <class X, class T>
void matrix(X x, X y, index_t kind, double gamma, double coef0, double degree, MatrixView<T> out) {
  kernels::matrix(x, y, {static_cast<kernels::Kind>(kind), gamma, coef0, degree}, out);
}

template <class X>
void apply(X x, X y, MatrixView<const double> coef, index_t kind, double gamma, double coef0,
           double degree, MatrixView<double> out) {
  kernels::apply(x, y, coef, {static_cast<kernels::Kind>(kind), gamma, coef0, degree}, out);
}

template <class T>
using Dense = MatrixView<const T>;
template <class T>
using Csr = CsrView<T>;

}  // namespace

void bind_kernels(Family family) {
  family.op<matrix<Dense<float>, float>, matrix<Dense<double>, double>>("matrix")
      .with_csr<matrix<Csr<float>, float>, matrix<Csr<double>, double>>();
  family.op<apply<Dense<float>>, apply<Dense<double>>>("apply")
      .with_csr<apply<Csr<float>>, apply<Csr<double>>>();
}

}  // namespace kernelmill
