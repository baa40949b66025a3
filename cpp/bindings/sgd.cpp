#include "ops/sgd.hpp"

#include "bindings/family.hpp"

namespace kernelmill {

namespace {

// Arguments in the order of the signature; rows are `X` or the CSR matrix.
template <class Rows, class T, auto function>
index_t run(Rows x, std::span<const double> y, DenseView<std::int64_t> order,
            MatrixView<double> weights, MatrixView<double> state, MatrixView<double> applied,
            MatrixView<double> averages, std::span<const double> settings,
            std::span<const T> sample_weight) {
  return function(x, y, dense(order.data, order.shape[0], order.shape[1]),
                  {weights, state, applied, averages}, {"sgd.epochs", settings}, sample_weight);
}

index_t judge(DenseView<double> weights, MatrixView<double> state,
              std::span<const double> settings) {
  return sgd::judge(dense(weights.data, weights.shape[0], weights.shape[1]), state,
                    {"sgd.judge", settings});
}

template <class T>
constexpr auto rows = run<MatrixView<const T>, T, sgd::epochs<T>>;
template <class T>
constexpr auto csr_rows = run<CsrView<T>, T, sgd::csr_epochs<T>>;

}  // namespace

void bind_sgd(Family family) {
  family.op<rows<float>, rows<double>>("epochs").with_csr<csr_rows<float>, csr_rows<double>>();
  family.op<judge>("judge");
}

}  // namespace kernelmill
