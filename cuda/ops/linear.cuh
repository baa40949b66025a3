// What follows the products of dense layers and convolutions, which are cuBLAS.
#pragma once

#include "core/call.hpp"                  // Call
#include "ops/elementwise_functions.cuh"  // activations

namespace kernelmill::linear {

// f(z + bias); f is the activation at that place of ACTIVATIONS in python/kernelmill/ops/linear.py.
template <class T>
struct Ending {
  const T* bias;  // null for none
  index_t activation;
  T parameter;

  __device__ T add(T z, index_t column) const { return bias == nullptr ? z : z + bias[column]; }
  __device__ T activate(T z) const {
    using namespace elementwise;
    switch (activation) {
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
        return row_leaky_relu<T>{}(z, parameter);
      case 8:
        return row_elu<T>{}(z, parameter);
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
};

// y = f(z + bias) for dense matrices of n rows; z becomes z + bias where it is not y.
template <class T>
void finish(const Call& call, index_t n, index_t columns, const Ending<T>& ending, T* z, T* y);

}  // namespace kernelmill::linear
