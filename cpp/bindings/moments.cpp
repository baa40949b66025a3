#include "ops/moments.hpp"

#include "bindings/family.hpp"
#include "core/error.hpp"
#include "ops/moments_classes.hpp"
#include "ops/moments_left_out.hpp"

namespace kernelmill {

namespace {

using Doubles = DenseView<double>;

MatrixView<const double> matrix(const Doubles& given) {
  return dense(given.data, given.shape[0], given.shape[1]);
}

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

void check_labels(const char* op, moments::Labels labels, index_t k) {
  for (const auto label : labels) {
    if (label < 0 || label >= k) {
      invalid(op, "labels must be from 0 to ", k - 1, ", got ", label);
    }
  }
}

template <class T>
void class_products(MatrixView<const T> x, moments::Labels labels, Doubles origins, bool pooled,
                    std::span<const T> sample_weight, std::span<double> weights,
                    MatrixView<double> sums, double* squares) {
  check_labels("moments.class_products", labels, origins.shape[0]);
  moments::class_products(x, labels, matrix(origins), pooled, sample_weight, weights, sums,
                          squares);
}

template <class T>
void class_squares(MatrixView<const T> x, moments::Labels labels, Doubles origins,
                   std::span<const T> sample_weight, MatrixView<double> weights,
                   MatrixView<double> sums, MatrixView<double> squares) {
  check_labels("moments.class_squares", labels, origins.shape[0]);
  moments::class_squares(x, labels, matrix(origins), sample_weight, weights, sums, squares);
}

template <class Rows, class T, auto function>
double class_sums(Rows x, moments::Labels labels, index_t k, double threshold,
                  std::span<const T> sample_weight, std::span<double> weights,
                  MatrixView<double> sums) {
  check_labels("moments.class_sums", labels, k);
  return function(x, labels, k, threshold, sample_weight, weights, sums);
}

template <class T>
void class_tallies(MatrixView<const T> x, moments::Labels labels,
                   std::span<const std::int64_t> starts, MatrixView<double> tallies,
                   std::span<const T> sample_weight) {
  constexpr const char* op = "moments.class_tallies";
  check_labels(op, labels, tallies.rows);
  index_t last = 0;
  for (const auto start : starts) {
    if (start < last || start > tallies.cols) {
      invalid(op, "starts must rise from 0 to ", tallies.cols, ", got ", start, " after ", last);
    }
    last = start;
  }
  moments::class_tallies(x, labels, starts, tallies, sample_weight);
}

template <class Rows, class T, auto function>
void left_out(Rows x, MatrixView<const double> y, std::span<const double> origin, Doubles vectors,
              Doubles scales, Doubles right, double share, bool brief,
              std::span<const T> sample_weight, MatrixView<double> errors, double* residuals) {
  if (static_cast<index_t>(origin.size()) != x.cols + y.cols) {
    invalid("moments.left_out", "origin must have shape (d + m,), got (", origin.size(),
            ",) for d = ", x.cols, " and m = ", y.cols);
  }
  function(x, y, {origin, matrix(vectors), matrix(scales), matrix(right), share}, sample_weight,
           errors, brief ? nullptr : residuals);
}

template <class T>
constexpr auto left = left_out<MatrixView<const T>, T, moments::left_out<T>>;
template <class T>
constexpr auto csr_left = left_out<CsrView<T>, T, moments::csr_left_out<T>>;
template <class T>
constexpr auto sums = class_sums<MatrixView<const T>, T, moments::class_sums<T>>;
template <class T>
constexpr auto csr_sums = class_sums<CsrView<T>, T, moments::csr_class_sums<T>>;

}  // namespace

void bind_moments(Family family) {
  family.op<rows<float>, rows<double>>("products").with_csr<csr_rows<float>, csr_rows<double>>();
  family.op<left<float>, left<double>>("left_out").with_csr<csr_left<float>, csr_left<double>>();
  family.op<class_products<float>, class_products<double>>("class_products");
  family.op<class_squares<float>, class_squares<double>>("class_squares");
  family.op<sums<float>, sums<double>>("class_sums")
      .with_csr<csr_sums<float>, csr_sums<double>>()
      .checks_columns();
  family.op<class_tallies<float>, class_tallies<double>>("class_tallies");
}

}  // namespace kernelmill
