// The rows of elementwise_table.py as scalar functions row_<name>, for loops that do more than one
// function alone.
#pragma once

#include <cmath>  // std::fabs, std::sqrt

#include "core/math.hpp"  // the functions

namespace kernelmill::elementwise {

// What expressions may call besides core/math.hpp.
template <class T>
KERNELMILL_INLINE T where(bool condition, T x, T y) {
  return condition ? x : y;
}
template <class T>
KERNELMILL_INLINE T maximum(T x, T y) {
  const T larger = x > y ? x : y;
  return x != x ? x : larger;
}
template <class T>
KERNELMILL_INLINE T minimum(T x, T y) {
  const T smaller = x < y ? x : y;
  return x != x ? x : smaller;
}
template <class T>
KERNELMILL_INLINE T clip(T x, T low, T high) {
  return minimum(maximum(x, low), high);
}
template <class T>
KERNELMILL_INLINE T abs(T x) {
  return std::fabs(x);
}
template <class T>
KERNELMILL_INLINE T sqrt(T x) {
  return std::sqrt(x);
}

#define KERNELMILL_ROW(name, names, kinds, types, result, parameters, expression) \
  template <class T>                                                              \
  KERNELMILL_INLINE result row_##name parameters {                                \
    return expression;                                                            \
  }
#include "elementwise_rows.inc"
#undef KERNELMILL_ROW

}  // namespace kernelmill::elementwise

#include "ops/elementwise_gelu.hpp"  // row_gelu<float> and its gradient, in fewer operations
