// Stands in for CUDA's language: a block's threads are fibers on one host thread, blocks run one
// after another. Threads run until they meet a barrier; in which order is drawn anew for every
// barrier from KERNELMILL_EMULATOR_SEED, so a missing barrier shows as a wrong result under some
// seed, and one that not all threads reach as an error.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>    // std::min, std::max
#include <cmath>        // isfinite
#include <functional>   // std::function
#include <type_traits>  // std::is_trivially_copyable_v

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __launch_bounds__(...)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

using std::isfinite;
using std::max;
using std::min;

namespace emulator {

cudaError_t run(dim3 grid, dim3 block, const std::function<void()>& kernel);
void block_barrier();
void warp_barrier();
unsigned char* warp_slot(int lane);  // 16 bytes that the lanes of this warp exchange values in
void exchanged();
int lane();

template <class T>
T exchange(T value, int from) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 16);
  std::memcpy(warp_slot(lane()), &value, sizeof(T));
  warp_barrier();
  std::memcpy(&value, warp_slot(from), sizeof(T));
  exchanged();
  return value;
}

}  // namespace emulator

inline void __syncthreads() { emulator::block_barrier(); }
inline void __syncwarp() { emulator::warp_barrier(); }

template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return emulator::exchange(value, emulator::lane() ^ mask);
}
inline bool __all_sync(unsigned, bool value) {
  for (int step = 16; step > 0; step /= 2) {
    const bool other = emulator::exchange(value, emulator::lane() ^ step);
    value = value && other;
  }
  return value;
}
template <class T>
T __shfl_sync(unsigned, T value, int from) {
  return emulator::exchange(value, from);
}
template <class T>
T __shfl_up_sync(unsigned, T value, int step) {
  const int from = emulator::lane() - step;
  return emulator::exchange(value, from < 0 ? emulator::lane() : from);
}
template <class T>
T atomicAdd(T* at, T value) {
  const T before = *at;
  *at = before + value;
  return before;
}
inline void atomicMin(long long* at, long long value) { *at = std::min(*at, value); }
inline void atomicMax(long long* at, long long value) { *at = std::max(*at, value); }

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments... arguments) {
  return emulator::run(config->gridDim, config->blockDim, [&] { kernel(arguments...); });
}
