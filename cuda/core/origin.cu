#include "core/origin.hpp"

#include <limits>  // infinity

#include "core/launch.cuh"  // launch

namespace kernelmill {
namespace {

constexpr int kSample = 64;  // most rows that choose the origin

// Block p takes column p.
template <class T>
__global__ void origin_kernel(DeviceRows<double> rows, T* origin) {
  __shared__ double value[kSample];
  const index_t p = blockIdx.x;
  const int count = static_cast<int>(min(rows.n, static_cast<index_t>(kSample)));
  const int own = static_cast<int>(threadIdx.x);
  if (own < count && p < rows.d) {
    const double c = rows.data[own * rows.n / count * rows.stride + p];
    value[own] = c == c ? c : std::numeric_limits<double>::infinity();
  }
  __syncthreads();
  if (p >= rows.d) {
    if (own == 0) origin[p] = 0;  // padding
    return;
  }
  if (own >= count) return;
  int rank = 0;
  for (int other = 0; other < count; ++other) {
    if (value[other] < value[own] || (value[other] == value[own] && other < own)) ++rank;
  }
  if (rank == count / 2) {  // ranks are a permutation: one thread writes
    const T median = static_cast<T>(value[own]);
    origin[p] = isfinite(median) ? median : T(0);
  }
}

}  // namespace

template <class T>
void median_origin(const Call& call, const DeviceRows<double>& rows, index_t columns, T* origin) {
  if (columns == 0) return;
  launch(call, origin_kernel<T>, dim3(static_cast<unsigned>(columns)), kSample, rows, origin);
}

KERNELMILL_FOR_FLOATS(median_origin)

}  // namespace kernelmill
