// The CUDA twins of python/kernelmill/ops/kernels.py, whose docstrings are the contract.
#pragma once

#include "core/call.hpp"    // Call, Arena, DeviceRows
#include "ops/kernels.hpp"  // Function

namespace kernelmill {

// out, with rows of y.n entries: k(x_i, y_j) in row i, or in row places[i].
template <class T>
void kernel_rows(const Call& call, const DeviceRows<T>& x, const DeviceRows<T>& y,
                 const kernels::Function& f, const index_t* places, T* out);

// A block of the Gram matrix.
template <class T>
struct KernelSumsSpace {
  KernelSumsSpace(Arena& arena, index_t n, index_t m);

  index_t rows;
  T* block;  // (rows, m)
};

// sums (x.n, k, dense) = K(x, y) coef, with coef (y.n, k, dense).
template <class T>
void kernel_sums(const Call& call, const DeviceRows<T>& x, const DeviceRows<T>& y,
                 const double* coef, index_t k, const kernels::Function& f, double* sums,
                 const KernelSumsSpace<T>& space);

}  // namespace kernelmill
