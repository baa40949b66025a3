// Twins of python/kernelmill/ops/reduction.py.
#pragma once

#include <span>    // std::span
#include <vector>  // axes

#include "ops/reduction_rules.hpp"  // Kind

namespace kernelmill::reduction {

// Axes of an array: sizes, and strides in bytes.
struct Axes {
  std::vector<index_t> sizes, strides;

  void add(index_t size, index_t stride) {
    sizes.push_back(size);
    strides.push_back(stride);
  }
  index_t count() const;
  // Without axes of size 1, neighbours merged where one stride serves both; at least one axis.
  Axes merged() const;
  index_t offset(index_t index) const;
};

// out[o] = the reduction over all `reduced` of the elements at kept + reduced offsets of x; `kept`
// in C order. `out` holds T, or int64 for argmax and argmin, which count `reduced` in C order. T is
// float or double.
template <class T>
void run(Kind kind, const T* x, const Axes& kept, const Axes& reduced, double ddof, void* out);

}  // namespace kernelmill::reduction
