// What follows the products of dense layers and convolutions, which are cuBLAS.
#pragma once

#include "core/call.hpp"  // Call

namespace kernelmill::linear {

// f(z + bias), for ops/linear_ending.cuh; f is the activation at that place of ACTIVATIONS in
// python/kernelmill/ops/linear.py.
template <class T>
struct Ending {
  const T* bias;  // null for none
  index_t activation;
  T parameter;
};

// y = f(z + bias) for dense matrices of n rows; z becomes z + bias where it is not y.
template <class T>
void finish(const Call& call, index_t n, index_t columns, const Ending<Acc<T>>& ending, T* z, T* y);

}  // namespace kernelmill::linear
