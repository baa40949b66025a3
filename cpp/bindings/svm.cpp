#include "ops/svm.hpp"

#include "bindings/family.hpp"

namespace kernelmill {

namespace {

// X is read as rows of stride 1 where it is the kernel.
template <class X, class T>
index_t solve(X x, std::span<const std::int32_t> rows, std::span<const index_t> spans,
              std::span<const double> lower, std::span<const double> upper,
              std::span<const double> settings, index_t most_rounds, std::span<double> beta,
              std::span<double> gradient, MatrixView<T> cache, MatrixView<index_t> slots,
              MatrixView<std::int32_t> working, MatrixView<double> state) {
  return svm::solve(x, svm::Solving<T>{rows, spans, lower, upper, settings, most_rounds, beta,
                                       gradient, cache, slots, working, state});
}

template <class T>
index_t solve_dense(DenseView<T> x, std::span<const std::int32_t> rows,
                    std::span<const index_t> spans, std::span<const double> lower,
                    std::span<const double> upper, std::span<const double> settings,
                    index_t most_rounds, std::span<double> beta, std::span<double> gradient,
                    MatrixView<T> cache, MatrixView<index_t> slots,
                    MatrixView<std::int32_t> working, MatrixView<double> state) {
  return solve<MatrixView<const T>, T>(dense(x.data, x.shape[0], x.shape[1]), rows, spans, lower,
                                       upper, settings, most_rounds, beta, gradient, cache, slots,
                                       working, state);
}

template <class T>
void products(DenseView<T> k, std::span<const std::int32_t> rows, std::span<const index_t> spans,
              std::span<const std::int32_t> used, std::span<const index_t> ends,
              DenseView<double> coef, MatrixView<double> sums) {
  svm::products<T>(dense(k.data, k.shape[0], k.shape[1]), rows, spans, used, ends,
                   dense(coef.data, coef.shape[0], coef.shape[1]), sums);
}

}  // namespace

void bind_svm(Family family) {
  family.op<solve_dense<float>, solve_dense<double>>("solve")
      .with_csr<solve<CsrView<float>, float>, solve<CsrView<double>, double>>();
  family.op<products<float>, products<double>>("products");
}

}  // namespace kernelmill
