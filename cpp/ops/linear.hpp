// Dense layers: products with bias and activation, and their gradients.
#pragma once

#include <span>  // std::span

#include "core/matrix.hpp"  // MatrixView

namespace kernelmill::linear {

// y = f(z), z = x weight' + bias for x (n x i), weight (o x i), bias of o values or none. f is the
// activation at that place of ACTIVATIONS in python/kernelmill/ops/linear.py. z is written unless
// it is null.
template <class T>
void forward(MatrixView<const T> x, MatrixView<const T> weight, std::span<const T> bias,
             index_t activation, T parameter, MatrixView<T> y, MatrixView<T> z);

// dx = dout weight, dweight = dout' x, dbias = column sums of dout in float64; each unless null.
template <class T>
void backward(MatrixView<const T> dout, MatrixView<const T> x, MatrixView<const T> weight,
              MatrixView<T> dx, MatrixView<T> dweight, T* dbias);

#define KERNELMILL_LINEAR(linkage, T)                                                              \
  linkage template void forward<T>(MatrixView<const T>, MatrixView<const T>, std::span<const T>,   \
                                   index_t, T, MatrixView<T>, MatrixView<T>);                      \
  linkage template void backward<T>(MatrixView<const T>, MatrixView<const T>, MatrixView<const T>, \
                                    MatrixView<T>, MatrixView<T>, T*);
KERNELMILL_LINEAR(extern, float)
KERNELMILL_LINEAR(extern, double)

}  // namespace kernelmill::linear
