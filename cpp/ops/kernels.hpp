// Kernel functions of the rows of two matrices, as blocks of the Gram matrix; contract:
// python/kernelmill/ops/kernels.py.
//
//   linear     x.y                          sigmoid    tanh(gamma x.y + coef0)
//   poly       (gamma x.y + coef0)^degree   laplacian  exp(-gamma sum_p |x_p - y_p|)
//   rbf        exp(-gamma |x - y|^2)        chi2       exp(-gamma sum_p (x_p - y_p)^2 / (x_p +
//   y_p))
//
// The first four are functions of the product x.y (and of squared norms), so a block of them is one
// tile product with the function as its epilogue. Distances are expanded about an origin near the
// rows, and entries that cancellation would spoil, |x - y|^2 <= (|x - o|^2 + |y - o|^2) / 64, are
// summed from differences: a distance has a relative error of at most about 64 (d + 4) eps however
// far the rows lie from zero, and k(x, y) has the bits of k(y, x).
#pragma once

#include <cstdint>  // std::int32_t
#include <memory>   // std::unique_ptr
#include <vector>   // numbers of rows

#include "core/csr.hpp"     // CsrView
#include "core/matrix.hpp"  // MatrixView, index_t

namespace kernelmill::kernels {

enum class Kind : int { linear, poly, rbf, sigmoid, laplacian, chi2 };

struct Function {
  Kind kind;
  double gamma, coef0, degree;
};

// Whether powers are taken by squaring; the same on both devices.
constexpr bool is_whole(double degree) {
  return degree >= 0 && degree <= 64 && degree == static_cast<double>(static_cast<int>(degree));
}

// x^e for a whole number e >= 0, by squaring.
template <class T>
constexpr T whole_power(T x, std::uint32_t e) {
  T power = 1;
  for (; e != 0; e >>= 1, x *= x) power = (e & 1) != 0 ? power * x : power;
  return power;
}

// All rows of Y, prepared as the columns of blocks.
template <class T>
class Columns {
 public:
  virtual ~Columns() = default;
  virtual index_t count() const = 0;
  // out[r][j - begin] = k(y_numbers[r], y_j) for columns [begin, end). Serial or, with `parallel`,
  // over columns; the same bits either way.
  virtual void rows(const std::int32_t* numbers, index_t rows, T* const* out) const = 0;
};

// y must outlive the result.
template <class T>
std::unique_ptr<Columns<T>> columns_of(MatrixView<const T> y, const Function& f);
template <class T>
std::unique_ptr<Columns<T>> columns_of(const CsrView<T>& y, const Function& f);

// K(i, j) = k(x_i, y_j). Parallel; the same bits at any thread count.
template <class T>
void matrix(MatrixView<const T> x, MatrixView<const T> y, const Function& f, MatrixView<T> out);
template <class T>
void matrix(const CsrView<T>& x, const CsrView<T>& y, const Function& f, MatrixView<T> out);

// out(i, c) = sum_j k(x_i, y_j) coef(j, c), summed in double, a block of K at a time.
template <class T>
void apply(MatrixView<const T> x, MatrixView<const T> y, MatrixView<const double> coef,
           const Function& f, MatrixView<double> out);
template <class T>
void apply(const CsrView<T>& x, const CsrView<T>& y, MatrixView<const double> coef,
           const Function& f, MatrixView<double> out);

}  // namespace kernelmill::kernels
