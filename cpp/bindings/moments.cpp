#include "ops/moments.hpp"

#include "bindings/family.hpp"
#include "core/error.hpp"

namespace kernelmill {

namespace {

template <class Rows, class T, auto function>
void run(Rows x, MatrixView<const double> y, std::span<const double> origin,
         std::span<const T> sample_weight, MatrixView<double> out) {
  if (static_cast<index_t>(origin.size()) != x.cols + y.cols) {
    invalid("moments.products", "origin must have shape (d + m,), got (", origin.size(),
            ",) for d = ", x.cols, " and m = ", y.cols);
  }
  function(x, y, origin, sample_weight, out);
}

template <class T>
constexpr auto rows = run<MatrixView<const T>, T, moments::products<T>>;
template <class T>
constexpr auto csr_rows = run<CsrView<T>, T, moments::csr_products<T>>;

}  // namespace

void bind_moments(Family family) {
  family.op<rows<float>, rows<double>>("products").with_csr<csr_rows<float>, csr_rows<double>>();
}

}  // namespace kernelmill
