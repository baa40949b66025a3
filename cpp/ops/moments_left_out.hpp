// Residuals of rows that are left out one at a time, for some ridge penalties at once.
//
// Let C = V diag(v) V' be the weighted products of the centred rows, t = V'X'W(y - mean), and s_a =
// 1 / (v + alpha_a). With z = V'(x - mean), the fit with all rows leaves a row
//
//   e_a = y - mean - sum_q z_q s_aq t_q,   and has there the leverage   h_a = c + sum_q s_aq z_q^2,
//
// c = 1 / sum w for the intercept. Without the row it would leave e_a / (1 - w h_a): the inverse of
// a matrix less w x x' (Sherman and Morrison). So one product with V serves all penalties: rows run
// along lanes, and while a tile of z is in registers it is added to the sums of all e_a and h_a.
#pragma once

#include <span>  // weights

#include "core/csr.hpp"     // CsrView
#include "core/matrix.hpp"  // MatrixView, index_t

namespace kernelmill::moments {

struct Penalties {
  std::span<const double> origin;    // (d + m)
  MatrixView<const double> vectors;  // V (d, r)
  MatrixView<const double> scales;   // s (a, r)
  MatrixView<const double> right;    // t (r, m)
  double share;                      // c
};

// errors (a, m) = sum w e^2 of the rows left out, and e itself as residuals (a, n, m) unless null.
template <class T>
void left_out(MatrixView<const T> x, MatrixView<const double> y, const Penalties& given,
              std::span<const T> sample_weight, MatrixView<double> errors, double* residuals);
template <class T>
void csr_left_out(CsrView<T> x, MatrixView<const double> y, const Penalties& given,
                  std::span<const T> sample_weight, MatrixView<double> errors, double* residuals);

}  // namespace kernelmill::moments
