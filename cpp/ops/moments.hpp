// Second moments of rows z = (x - o, y - o', 1) under weights w, summed in float64:
//
//   S = sum_i w_i z_i z_i',   so S_(p,p) is the weight, S_(p,.) the sums, and the rest the
//   products.
//
// x enters as float64 about an origin o, so that offsets of columns cost no digits: the moments
// about the mean follow from S by one correction, which is small where o is near the mean. Only
// tiles on and below the diagonal are multiplied; the other half is copied.
#pragma once

#include <span>  // origin, weights

#include "core/csr.hpp"     // CsrView
#include "core/matrix.hpp"  // MatrixView, index_t

namespace kernelmill::moments {

// S of all rows.
template <class T>
void products(MatrixView<const T> x, MatrixView<const double> y, std::span<const double> origin,
              std::span<const T> sample_weight, MatrixView<double> out);
template <class T>
void csr_products(CsrView<T> x, MatrixView<const double> y, std::span<const double> origin,
                  std::span<const T> sample_weight, MatrixView<double> out);

}  // namespace kernelmill::moments
