#include "ops/glm.hpp"

#include <algorithm>  // std::any_of

#include "bindings/family.hpp"
#include "core/error.hpp"

namespace kernelmill {

namespace {

using glm::Model;

Model model_of(const char* op, std::span<const double> y, DenseView<double> coef,
               std::span<const double> intercept, std::span<const double> shift, index_t loss,
               double parameter) {
  const Model model{dense(coef.data, coef.shape[0], coef.shape[1]), intercept, shift, loss,
                    parameter};
  const index_t k = model.coef.rows;
  const bool several = loss == glm::multinomial();
  if (several != (k > 1)) {
    invalid(op, "coef must have 1 row, or several for the multinomial loss, got ", k, " rows");
  }
  const auto outside = [k](double c) { return !(c >= 0.0 && c < static_cast<double>(k)); };
  if (several && std::any_of(y.begin(), y.end(), outside)) {
    invalid(op, "y must be in [0, ", k, ") for the multinomial loss");
  }
  return model;
}

template <class Rows, class T, auto pass>
double gradient(Rows x, std::span<const double> y, DenseView<double> coef,
                std::span<const double> intercept, std::span<const double> shift, index_t loss,
                double parameter, std::span<const T> sample_weight, MatrixView<double> slopes) {
  return pass(x, y, model_of("glm.gradient", y, coef, intercept, shift, loss, parameter),
              sample_weight, slopes, nullptr);
}

template <class Rows, class T, auto pass>
double hessian(Rows x, std::span<const double> y, DenseView<double> coef,
               std::span<const double> intercept, std::span<const double> shift, index_t loss,
               double parameter, std::span<const T> sample_weight, MatrixView<double> slopes,
               double* squares) {
  return pass(x, y, model_of("glm.hessian", y, coef, intercept, shift, loss, parameter),
              sample_weight, slopes, squares);
}

template <class T>
constexpr auto slopes = gradient<MatrixView<const T>, T, glm::pass<T>>;
template <class T>
constexpr auto csr_slopes = gradient<CsrView<T>, T, glm::csr_pass<T>>;
template <class T>
constexpr auto squares = hessian<MatrixView<const T>, T, glm::pass<T>>;
template <class T>
constexpr auto csr_squares = hessian<CsrView<T>, T, glm::csr_pass<T>>;

}  // namespace

void bind_glm(Family family) {
  family.op<slopes<float>, slopes<double>>("gradient")
      .with_csr<csr_slopes<float>, csr_slopes<double>>();
  family.op<squares<float>, squares<double>>("hessian")
      .with_csr<csr_squares<float>, csr_squares<double>>();
}

}  // namespace kernelmill
