// The rows of python/kernelmill/ops/elementwise_table.py as functors, and what they call: the
// accurate functions of the CUDA library (errors of 1 to 2 units in the last place, tables in the
// CUDA programming guide).
#pragma once

#include <cmath>  // the functions

#include "core/launch.cuh"  // __device__

namespace kernelmill::elementwise {

#define KERNELMILL_FUNCTION(name, exact) \
  template <class T>                     \
  __device__ T name(T x) {               \
    return ::exact(x);                   \
  }
KERNELMILL_FUNCTION(abs, fabs)
KERNELMILL_FUNCTION(erf, erf)
KERNELMILL_FUNCTION(exp, exp)
KERNELMILL_FUNCTION(expm1, expm1)
KERNELMILL_FUNCTION(log, log)
KERNELMILL_FUNCTION(log1p, log1p)
KERNELMILL_FUNCTION(sqrt, sqrt)
KERNELMILL_FUNCTION(tanh, tanh)
#undef KERNELMILL_FUNCTION
template <class T>
__host__ __device__ T where(bool condition, T x, T y) {
  return condition ? x : y;
}
template <class T>
__host__ __device__ T maximum(T x, T y) {
  return where(x != x, x, where(x > y, x, y));
}
template <class T>
__host__ __device__ T minimum(T x, T y) {
  return where(x != x, x, where(x < y, x, y));
}
template <class T>
__host__ __device__ T clip(T x, T low, T high) {
  return minimum(maximum(x, low), high);
}
// e^-|x| never overflows, and below zero the result keeps its relative accuracy.
template <class T>
__device__ T logistic(T x) {
  const T z = ::exp(-::fabs(x));
  return where(x < T(0), z, T(1)) / (T(1) + z);
}

#define KERNELMILL_ROW(name, names, kinds, types, result, parameters, expression) \
  template <class T>                                                              \
  struct row_##name {                                                             \
    __device__ result operator() parameters const { return expression; }          \
  };
#include "elementwise_rows.inc"
#undef KERNELMILL_ROW

}  // namespace kernelmill::elementwise
