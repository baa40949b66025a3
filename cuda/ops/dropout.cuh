// The CUDA implementation of python/kernelmill/ops/dropout.py.
#pragma once

#include <cstdint>  // std::uint64_t

#include "core/call.hpp"  // Call, MatrixView

namespace kernelmill::dropout {

struct Mask {
  double p;
  std::uint64_t seed, stream;
  bool rows;
};

// y = kept ? scale x + shift : dropped; y is dense.
template <class T>
void dropout(const Call& call, MatrixView<const T> x, const Mask& mask, Acc<T> scale, Acc<T> shift,
             Acc<T> dropped, T* y);

}  // namespace kernelmill::dropout
