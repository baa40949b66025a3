// The CUDA twin of python/kernelmill/ops/silhouette.py, whose docstrings are the contract.
#pragma once

#include "core/call.hpp"  // Call, DeviceRows

namespace kernelmill {

// sums (x.n, k, dense): distances from each row of x to the rows offsets[g] .. offsets[g + 1] of y.
template <class T>
void cluster_distance_sums(const Call& call, const DeviceRows<T>& x, const DeviceRows<T>& y,
                           const index_t* offsets, index_t k, double* sums);

}  // namespace kernelmill
