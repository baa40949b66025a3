// How kernels end a product.
#pragma once

#include "ops/elementwise_functions.cuh"  // activations
#include "ops/linear.cuh"                 // Ending

namespace kernelmill::linear {

template <class T>
__device__ T activate(const Ending<T>& ending, T z) {
  using namespace elementwise;
  switch (ending.activation) {
    case 1:
      return row_relu<T>{}(z);
    case 2:
      return row_logistic<T>{}(z);
    case 3:
      return row_tanh<T>{}(z);
    case 4:
      return row_gelu<T>{}(z);
    case 5:
      return row_gelu_tanh<T>{}(z);
    case 6:
      return row_silu<T>{}(z);
    case 7:
      return row_leaky_relu<T>{}(z, ending.parameter);
    case 8:
      return row_elu<T>{}(z, ending.parameter);
    case 9:
      return row_selu<T>{}(z);
    case 10:
      return row_softplus<T>{}(z);
    case 11:
      return row_log_sigmoid<T>{}(z);
    default:
      return z;
  }
}

template <class T>
__device__ T add_bias(const Ending<T>& ending, T z, index_t column) {
  return ending.bias == nullptr ? z : z + ending.bias[column];
}

}  // namespace kernelmill::linear
