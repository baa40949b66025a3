#include "ops/coordinate.hpp"

#include "bindings/family.hpp"

namespace kernelmill {

namespace {

// Arguments in the order of the signature; rows are `X` or the CSR matrix.
template <class Rows, auto function>
index_t run(Rows x, std::span<const double> y, std::span<const double> price,
            std::span<const double> squares, DenseView<std::int64_t> order,
            StridedView<double, 3> weights, double* beta, std::uint8_t* settled, double* state,
            std::span<const double> settings) {
  return function(
      x, {y, price, squares, dense(order.data, order.shape[0], order.shape[1]), weights.data, beta,
          settled, state, settings, weights.shape[0], weights.shape[1], weights.shape[2]});
}

template <class Rows, auto function>
index_t run_joint(Rows x, std::span<const double> y, std::span<const double> price,
                  std::span<const double> squares, DenseView<std::int64_t> order,
                  StridedView<double, 3> weights, std::span<double> intercepts, double* beta,
                  std::uint8_t* settled, double* state, double constant, double tol,
                  bool shrinking) {
  return function(x, {y, price, squares, dense(order.data, order.shape[0], order.shape[1]),
                      weights.data, intercepts, beta, settled, state, constant, tol, shrinking,
                      weights.shape[0], weights.shape[1], weights.shape[2]});
}

template <class T>
constexpr auto joint_rows = run_joint<MatrixView<const T>, coordinate::joint<T>>;
template <class T>
constexpr auto csr_joint_rows = run_joint<CsrView<T>, coordinate::csr_joint<T>>;
template <class T>
constexpr auto rows = run<MatrixView<const T>, coordinate::dual<T>>;
template <class T>
constexpr auto csr_rows = run<CsrView<T>, coordinate::csr_dual<T>>;

}  // namespace

void bind_coordinate(Family family) {
  family.op<coordinate::descent>("descent");
  family.op<joint_rows<float>, joint_rows<double>>("joint")
      .with_csr<csr_joint_rows<float>, csr_joint_rows<double>>();
  family.op<coordinate::lassos>("lassos");
  family.op<coordinate::path>("path");
  family.op<coordinate::pursuits>("pursuits");
  family.op<rows<float>, rows<double>>("dual").with_csr<csr_rows<float>, csr_rows<double>>();
}

}  // namespace kernelmill
