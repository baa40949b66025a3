// The CUDA twin of python/kernelmill/ops/pairwise.py, whose docstrings are the contract.
#pragma once

#include "core/call.hpp"  // Call, DeviceRows

namespace kernelmill {

// out (x.n, y.n, dense) = ||x_i - y_j||, or its square.
template <class T>
void euclidean(const Call& call, const DeviceRows<T>& x, const DeviceRows<T>& y, bool squared,
               T* out);

}  // namespace kernelmill
