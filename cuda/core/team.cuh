// Sums and maxima of many sets of elements by blocks of threads: `side` sets lie side by side in a
// block, and kThreads / side threads share each.
//
// Where the elements of a set are adjacent in memory a block takes one set; where the sets are
// adjacent, neighbouring threads take neighbouring sets. Either way a warp reads adjacent elements,
// and partial results are joined in an order that depends on shapes alone.
#pragma once

#include <algorithm>  // std::clamp

#include "core/launch.cuh"  // launch

namespace kernelmill {

struct Team {
  static constexpr int kThreads = 256;
  int side;

  // `side_by_side`: whether the sets, rather than the elements of one, are adjacent.
  Team(index_t size, bool side_by_side) {
    const index_t most = side_by_side ? 8 : kThreads;  // threads of a set
    side = kThreads / power_of_two(std::clamp<index_t>(div_up(size, 4), 1, most));
  }
  dim3 grid(index_t sets) const { return grid_for(sets * (kThreads / side), kThreads); }

  __device__ int place() const { return static_cast<int>(threadIdx.x) % side; }
  __device__ int lane() const { return static_cast<int>(threadIdx.x) / side; }
  __device__ int lanes() const { return kThreads / side; }

  // All threads of the block call it; each gets what the threads of its set bring, joined.
  // `shared` holds kThreads values.
  template <class Join>
  __device__ double join(double x, double* shared, Join rule) const {
    const int thread = static_cast<int>(threadIdx.x);
    shared[thread] = x;
    __syncthreads();
    for (int step = kThreads / 2; step >= side; step /= 2) {
      if (thread < step) shared[thread] = rule(shared[thread], shared[thread + step]);
      __syncthreads();
    }
    const double joined = shared[thread % side];
    __syncthreads();
    return joined;
  }
  __device__ double sum(double x, double* shared) const {
    return join(x, shared, [](double a, double b) { return a + b; });
  }
  // NaN is passed over, as fmax does.
  __device__ double largest(double x, double* shared) const {
    return join(x, shared, [](double a, double b) { return ::fmax(a, b); });
  }
};

// The place of an element of a cube.
template <class T>
__device__ index_t offset_of(const CubeView<T>& view, index_t i, index_t c, index_t j) {
  return i * view.strides[0] + c * view.strides[1] + j * view.strides[2];
}

}  // namespace kernelmill
