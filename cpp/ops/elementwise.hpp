// Twins of python/kernelmill/ops/elementwise.py: out[i] = f(x[i]) by the functions of
// core/math.hpp, in parallel chunks.
#pragma once

#include <span>  // std::span

#include "core/matrix.hpp"  // index_t

namespace kernelmill::elementwise {

// An array of any rank read through strides (in elements, of any sign). Rank 0 is one element.
template <class T>
struct StridedArray {
  const T* data;
  std::span<const index_t> shape;
  std::span<const index_t> strides;
};

// out must have as many elements as x and is written in x's C order; it may be x itself (contiguous
// overload only), but must not overlap it otherwise. T is float or double.
#define KERNELMILL_ELEMENTWISE(name)                 \
  template <class T>                                 \
  void name(std::span<const T> x, std::span<T> out); \
  template <class T>                                 \
  void name(const StridedArray<T>& x, std::span<T> out);
KERNELMILL_ELEMENTWISE(exp)
KERNELMILL_ELEMENTWISE(log)
KERNELMILL_ELEMENTWISE(log1p)
KERNELMILL_ELEMENTWISE(tanh)
KERNELMILL_ELEMENTWISE(erf)
KERNELMILL_ELEMENTWISE(logistic)
#undef KERNELMILL_ELEMENTWISE

}  // namespace kernelmill::elementwise
